use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const SMALL: &str = "counterfoil-plan 1\nuser 1000 1000\noutput console\nexec /bin/hello\n\
                     arg hello\non-exit poweroff\n";

const FULL: &str = "counterfoil-plan 1\nhostname guest\nmodule /lib/failover.ko\n\
                    module /lib/net_failover.ko\nsysctl net.ipv6.conf.all.disable_ipv6 1\n\
                    sysctl net.ipv4.ping_group_range 0\t1\nlatch-modules\n\
                    volume model /models\nvolume b /srv/b\nscratch work /srv/work\nnetwork dhcp\nroot read-only\nevidence /lib/agent\nevidence-http 8001\nevidence-vsock 70000\nuser 65534 65534\nworkdir /srv/model\noutput discard\n\
                    exec /bin/server\narg server\narg --name= a b \narg \narg x\r\n\
                    env A=\nenv B=c=d\non-exit restart\ngrace 30\n";

#[test]
fn a_full_plan_reads_as_written() {
    let plan = Plan::parse(FULL).unwrap();
    assert_eq!(plan.hostname.unwrap().as_str(), "guest");
    assert!(plan.latch_modules && plan.network_dhcp && plan.root_read_only);
    assert_eq!((plan.uid.as_u32(), plan.gid.as_u32()), (65534, 65534));
    assert_eq!(plan.workdir.as_str(), "/srv/model");
    assert_eq!(plan.output, Output::Discard);
    assert_eq!(plan.exec.as_str(), "/bin/server");
    assert_eq!(plan.on_exit, OnExit::Restart);
    assert_eq!(plan.grace.as_u16(), 30);
    let modules: Vec<_> = plan.modules().map(|path| path.as_str()).collect();
    assert_eq!(modules, ["/lib/failover.ko", "/lib/net_failover.ko"]);
    let sysctls: Vec<_> =
        plan.sysctls().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(sysctls[1], ("net.ipv4.ping_group_range", "0\t1"));
    let volumes: Vec<_> =
        plan.volumes().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    assert_eq!(volumes, [("model", "/models"), ("b", "/srv/b")]);
    let scratch: Vec<_> =
        plan.scratch().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    assert_eq!(scratch, [("work", "/srv/work")]);
    let evidence = plan.evidence.unwrap();
    assert_eq!(evidence.program.as_str(), "/lib/agent");
    assert_eq!(evidence.http.unwrap().as_u16(), 8001);
    assert_eq!(evidence.vsock.unwrap().as_u32(), 70000);
    let args: Vec<_> = plan.args().map(|text| text.as_str()).collect();
    assert_eq!(args, ["server", "--name= a b ", "", "x\r"]);
    let env: Vec<_> = plan.env().map(|variable| variable.as_str()).collect();
    assert_eq!(env, ["A=", "B=c=d"]);
}

#[test]
fn a_small_plan_has_the_documented_defaults() {
    let plan = Plan::parse(SMALL).unwrap();
    assert!(!plan.latch_modules && !plan.network_dhcp && !plan.root_read_only);
    assert_eq!((plan.hostname, plan.evidence), (None, None));
    assert_eq!(plan.workdir.as_str(), "/");
    assert_eq!(plan.grace, DEFAULT_GRACE);
}

#[test]
fn each_fault_is_found_and_names_its_line() {
    let path_of = |len: usize| ["exec /", &"a".repeat(len - 1)].concat();
    let cases: &[(&str, &str, usize, Fault)] = &[
        ("counterfoil-plan 1", "counterfoil-plan 2", 1, Fault::Header),
        ("counterfoil-plan 1", "\u{feff}counterfoil-plan 1", 1, Fault::Header),
        ("user", "\nuser", 2, Fault::UnknownKeyword),
        ("user", "# a comment\nuser", 2, Fault::UnknownKeyword),
        ("user", "User", 2, Fault::UnknownKeyword),
        ("user", " user", 2, Fault::UnknownKeyword),
        ("user 1000 1000", "user 1000", 2, Fault::MissingValue),
        ("user 1000 1000", "user 1000  1000", 2, Fault::Value(ValueError::Id)),
        ("user 1000 1000", "user 1000 1000 ", 2, Fault::Value(ValueError::Id)),
        ("user 1000 1000", "user 01000 1000", 2, Fault::Value(ValueError::Id)),
        ("user 1000 1000", "user +1000 1000", 2, Fault::Value(ValueError::Id)),
        ("user 1000 1000", "user 4294967295 0", 2, Fault::Value(ValueError::Id)),
        ("user 1000 1000", "user 4294967296 0", 2, Fault::Value(ValueError::Id)),
        ("user", "latch-modules now\nuser", 2, Fault::UnexpectedValue),
        ("user", "network static\nuser", 2, Fault::UnknownChoice),
        ("user", "root\nuser", 2, Fault::MissingValue),
        ("user", "hostname -a\nuser", 2, Fault::Value(ValueError::Hostname)),
        ("user", "module lib/a.ko\nuser", 2, Fault::Value(ValueError::Path)),
        ("user", "sysctl kernel..x 1\nuser", 2, Fault::Value(ValueError::SysctlKey)),
        ("user", "sysctl ../x 1\nuser", 2, Fault::Value(ValueError::SysctlKey)),
        ("user", "sysctl kernel.x\nuser", 2, Fault::MissingValue),
        ("user", "volume model\nuser", 2, Fault::MissingValue),
        ("user", "volume Model /m\nuser", 2, Fault::Value(ValueError::VolumeName)),
        ("user", "volume model m\nuser", 2, Fault::Value(ValueError::Path)),
        ("user", "volume a /a\nvolume a /b\nuser", 3, Fault::Duplicate),
        ("user", "volume a /a\nscratch a /b\nuser", 3, Fault::Duplicate),
        ("user", "scratch a /a\nscratch a /b\nuser", 3, Fault::Duplicate),
        ("user", "scratch a /a\nvolume b /b\nuser", 3, Fault::Order),
        ("user", "scratch a\nuser", 2, Fault::MissingValue),
        ("user", "volume a /a\nlatch-modules\nuser", 3, Fault::Order),
        ("user", "root read-only\nnetwork dhcp\nuser", 3, Fault::Order),
        ("user", "evidence\nuser", 2, Fault::MissingValue),
        ("user", "evidence agent\nuser", 2, Fault::Value(ValueError::Path)),
        ("user", "evidence /a\nevidence /b\nuser", 3, Fault::Duplicate),
        ("user", "evidence /a\nroot read-only\nuser", 3, Fault::Order),
        ("user", "evidence-http 1\nuser", 2, Fault::Missing("evidence")),
        ("user", "evidence-vsock 1\nuser", 2, Fault::Missing("evidence")),
        ("user", "evidence-http 1\nevidence /a\nuser", 2, Fault::Missing("evidence")),
        ("user", "evidence /a\nevidence-http 0\nuser", 3, Fault::Value(ValueError::Port)),
        ("user", "evidence /a\nevidence-http 65536\nuser", 3, Fault::Value(ValueError::Port)),
        ("user", "evidence /a\nevidence-http 080\nuser", 3, Fault::Value(ValueError::Port)),
        ("user", "evidence /a\nevidence-http 1\nevidence-http 2\nuser", 4, Fault::Duplicate),
        ("user", "evidence /a\nevidence-vsock 2\nevidence-http 1\nuser", 4, Fault::Order),
        ("user", "evidence /a\nevidence-vsock 0\nuser", 3, Fault::Value(ValueError::VsockPort)),
        (
            "user",
            "evidence /a\nevidence-vsock 4294967295\nuser",
            3,
            Fault::Value(ValueError::VsockPort),
        ),
        ("output console", "output console\noutput discard", 4, Fault::Duplicate),
        ("output console\n", "", 6, Fault::Missing("output")),
        ("arg hello\n", "", 6, Fault::Missing("arg")),
        ("arg hello", "arg", 5, Fault::MissingValue),
        ("arg hello", "arg a\0b", 5, Fault::Value(ValueError::Text)),
        ("exec /bin/hello", "exec /bin/../hello", 4, Fault::Value(ValueError::Path)),
        ("exec /bin/hello", "exec /bin/", 4, Fault::Value(ValueError::Path)),
        ("exec /bin/hello", &path_of(256), 4, Fault::Value(ValueError::Path)),
        ("on-exit", "env =x\non-exit", 6, Fault::Value(ValueError::Variable)),
        ("on-exit", "env A\non-exit", 6, Fault::Value(ValueError::Variable)),
        ("on-exit", "env A=1\nenv B=1\nenv A=2\non-exit", 8, Fault::Duplicate),
        ("on-exit poweroff\n", "on-exit poweroff", 6, Fault::Unterminated),
        ("on-exit poweroff", "on-exit halt", 6, Fault::UnknownChoice),
        ("on-exit poweroff", "on-exit poweroff\ngrace 65536", 7, Fault::Value(ValueError::Seconds)),
        ("on-exit poweroff", "on-exit poweroff\ngrace 1\nuser 0 0", 8, Fault::Order),
    ];
    for &(from, to, line, fault) in cases {
        assert!(SMALL.contains(from), "{from:?}");
        let text = SMALL.replacen(from, to, 1);
        let error = Plan::parse(&text).map(|_| ()).unwrap_err();
        assert_eq!(error, PlanError { line, fault }, "{text}");
    }
    assert!(Plan::parse(&SMALL.replace("/bin/hello", &path_of(255)["exec ".len()..])).is_ok());
    assert!(Plan::parse("").is_err());
}

#[test]
fn limits_hold_for_reader_and_writer() {
    let arg = Directive::Arg(Text::new("x").unwrap());
    let mut many: Vec<_> = parse(SMALL).map(Result::unwrap).collect();
    many.splice(3..4, std::iter::repeat_n(arg, MAX_STRINGS));
    let mut text = String::new();
    write(&many, &mut text).unwrap();
    assert_eq!(Plan::parse(&text).unwrap().args().count(), MAX_STRINGS);
    many.insert(3, arg);
    assert_eq!(write(&many, &mut String::new()).unwrap_err().fault, Fault::TooMany);
    let text = text.replacen("arg x\n", "arg x\narg x\n", 1);
    assert_eq!(Plan::parse(&text).unwrap_err().fault, Fault::TooMany);

    let long = "x".repeat(MAX_BYTES - SMALL.len() + "hello".len());
    let text = SMALL.replace("arg hello", &["arg ", &long].concat());
    assert_eq!(text.len(), MAX_BYTES);
    let exact: Vec<_> = parse(&text).map(Result::unwrap).collect();
    let mut again = String::new();
    write(&exact, &mut again).unwrap();
    assert_eq!(again, text);
    let text = text.replace("arg x", "arg xx");
    assert_eq!(Plan::parse(&text).unwrap_err(), PlanError { line: 1, fault: Fault::TooLong });
    let longer = ["x", &long].concat();
    let mut over = exact;
    over[3] = Directive::Arg(Text::new(&longer).unwrap());
    assert_eq!(write(&over, &mut String::new()).unwrap_err().fault, Fault::TooLong);
}

#[test]
fn the_reader_stops_at_the_first_error() {
    let mut lines = parse("counterfoil-plan 1\nnonsense\nuser 0 0\n");
    assert!(lines.next().unwrap().is_err());
    assert!(lines.next().is_none());
}

/// A directive of any kind, as its line.
fn line() -> impl Strategy<Value = String> {
    let path = "/[a-z0-9._-]{1,9}x(/[a-z]{1,9}){0,3}";
    prop_oneof![
        "hostname [a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
        path.prop_map(|path| ["module ", &path].concat()),
        "sysctl [a-z_]{1,9}(\\.[a-z0-9_-]{1,9}){0,3} [^\n\0]{0,20}",
        Just("latch-modules".to_string()),
        ("[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", path)
            .prop_map(|(name, path)| std::format!("volume {name} {path}")),
        ("[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", path)
            .prop_map(|(name, path)| std::format!("scratch {name} {path}")),
        Just("network dhcp".to_string()),
        Just("root read-only".to_string()),
        path.prop_map(|path| ["evidence ", &path].concat()),
        (1..=u16::MAX).prop_map(|port| std::format!("evidence-http {port}")),
        (1..u32::MAX).prop_map(|port| std::format!("evidence-vsock {port}")),
        (0..u32::MAX, 0..u32::MAX).prop_map(|(uid, gid)| std::format!("user {uid} {gid}")),
        path.prop_map(|path| ["workdir ", &path].concat()),
        "output (console|discard)",
        path.prop_map(|path| ["exec ", &path].concat()),
        "arg [^\n\0]{0,20}",
        "env [^=\n\0]{1,9}=[^\n\0]{0,20}",
        "on-exit (poweroff|reboot|panic|restart)",
        any::<u16>().prop_map(|seconds| std::format!("grace {seconds}")),
    ]
}

proptest! {
    #[test]
    fn a_line_is_written_as_it_was_read(line in line()) {
        prop_assert_eq!(Directive::parse(&line).unwrap().to_string(), line);
    }

    #[test]
    fn the_writer_writes_what_the_reader_reads_and_nothing_else(
        mut lines in proptest::collection::vec(line(), 0..30),
        sorted in proptest::bool::weighted(0.8),
    ) {
        lines.extend(SMALL.lines().skip(1).map(ToString::to_string));
        let mut directives: Vec<_> = lines.iter().map(|l| Directive::parse(l).unwrap()).collect();
        if sorted {
            directives.sort_by_key(|directive| directive.place().0);
            directives.dedup_by_key(|directive| match directive.place() {
                (_, true) => None,
                (place, false) => Some(place),
            }.map_or_else(|| directive.to_string(), |place| place.to_string()));
        }
        let spelled: String = std::iter::once(HEADER.to_string())
            .chain(directives.iter().map(ToString::to_string))
            .flat_map(|line| [line, "\n".to_string()])
            .collect();
        let mut text = String::new();
        let written = write(&directives, &mut text);
        let read: Result<Vec<_>, _> = parse(&spelled).collect();
        match (written, read) {
            (Ok(()), Ok(read)) => {
                prop_assert_eq!(&text, &spelled);
                prop_assert_eq!(read, directives);
            }
            (written, read) => prop_assert_eq!(written.err(), read.err()),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = Plan::parse(&text);
        let _ = Plan::parse(&[HEADER, "\n", &text].concat());
    }
}
