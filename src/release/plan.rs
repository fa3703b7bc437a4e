//! The guest's plan: what PID 1 does, written from the manifest with the code that PID 1 reads it by.

use counterfoil_init::evidence::PROGRAM;
use counterfoil_init::plan::{
    self, AbsolutePath, Directive, Hostname, Id, Output as PlanOutput, Port, Seconds, SysctlKey,
    Text, ValueError, Variable, VsockPort,
};
use counterfoil_init::volume::VolumeName;

use crate::error::{Context as _, Error, Kind, Result};
use crate::manifest::Manifest;
use crate::manifest::types::{Network, OnExit, Output};
use crate::names::GuestPath;

pub use counterfoil_init::plan::PATH;

/// The plan of `manifest`'s guest, which loads `modules` in this order; `latch` is for a kernel that
/// could load others.
///
/// # Errors
/// [`Kind::Malformed`] when the manifest asks for something that no plan can say.
pub fn write<'a>(manifest: &'a Manifest, modules: &'a [GuestPath], latch: bool) -> Result<String> {
    let init = &manifest.init;
    let wrong = |what: &str, value: &str, error: ValueError| {
        Error::new(Kind::Malformed, format!("`init.{what}`: `{value}`: {error}"))
    };
    let path = |what, path: &'a str| AbsolutePath::new(path).map_err(|e| wrong(what, path, e));
    let id = |id| Id::new(id).map_err(|error| wrong("user", &id.to_string(), error));

    let hostname = init.hostname.as_str();
    let mut directives = vec![Directive::Hostname(
        Hostname::new(hostname).map_err(|error| wrong("hostname", hostname, error))?,
    )];
    for module in modules {
        directives.push(Directive::Module(path("modules", module.as_str())?));
    }
    for (key, value) in &init.sysctl {
        let (key, value) = (key.as_str(), value.as_str());
        let key = SysctlKey::new(key).map_err(|error| wrong("sysctl", key, error))?;
        let value = Text::new(value).map_err(|error| wrong("sysctl", value, error))?;
        directives.push(Directive::Sysctl { key, value });
    }
    directives.extend(latch.then_some(Directive::LatchModules));
    for (name, volume) in &manifest.volumes {
        let name = VolumeName::new(name.as_str())
            .map_err(|error| Error::new(Kind::Malformed, format!("volume `{name}`: {error}")))?;
        directives
            .push(Directive::Volume { name, path: path("volumes", volume.mount.value.as_str())? });
    }
    for (name, scratch) in &manifest.scratch {
        let name = VolumeName::new(name.as_str())
            .map_err(|error| Error::new(Kind::Malformed, format!("scratch `{name}`: {error}")))?;
        directives.push(Directive::Scratch {
            name,
            path: path("scratch", scratch.mount.value.as_str())?,
        });
    }
    if init.network == Network::Dhcp {
        directives.push(Directive::NetworkDhcp);
    }
    directives.push(Directive::RootReadOnly);
    if let Some(evidence) = &manifest.evidence {
        let wrong = |error| Error::new(Kind::Malformed, format!("`evidence`: {error}"));
        directives.push(Directive::Evidence(AbsolutePath::new(PROGRAM).map_err(wrong)?));
        if let Some(port) = &evidence.http {
            directives.push(Directive::EvidenceHttp(Port::new(port.value).map_err(wrong)?));
        }
        if let Some(port) = &evidence.vsock {
            directives.push(Directive::EvidenceVsock(VsockPort::new(port.value).map_err(wrong)?));
        }
    }
    directives.push(Directive::User { uid: id(init.user.uid)?, gid: id(init.user.gid)? });
    directives.push(Directive::Workdir(path("workdir", init.workdir.as_str())?));
    directives.push(Directive::Output(match init.output {
        Output::Console => PlanOutput::Console,
        Output::Discard => PlanOutput::Discard,
    }));
    let words: Vec<&str> = init.exec.iter().map(|word| word.value.as_str()).collect();
    let program = words.first().copied().unwrap_or_default();
    directives.push(Directive::Exec(
        AbsolutePath::new(program).map_err(|error| wrong("exec", program, error))?,
    ));
    for word in words {
        directives.push(Directive::Arg(Text::new(word).map_err(|e| wrong("exec", word, e))?));
    }
    let variables: Vec<String> =
        init.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    for variable in &variables {
        directives
            .push(Directive::Env(Variable::new(variable).map_err(|e| wrong("env", variable, e))?));
    }
    directives.push(Directive::OnExit(match init.on_exit {
        OnExit::Poweroff => plan::OnExit::Poweroff,
        OnExit::Reboot => plan::OnExit::Reboot,
        OnExit::Panic => plan::OnExit::Panic,
        OnExit::Restart => plan::OnExit::Restart,
    }));
    directives.push(Directive::Grace(Seconds::from_u16(init.grace)));
    let mut text = String::new();
    plan::write(&directives, &mut text)
        .context(Kind::Malformed, || "the guest's plan cannot be written".to_owned())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::load::Loaded;

    const MANIFEST: &str = "
version: 1
name: image
inputs:
  hello: {builtin: hello}
  kernel: {file: vmlinuz}
firmware: {from: kernel}
kernel: {from: kernel}
cmdline: panic=-1
files:
  - {path: /hello, from: hello, mode: \"0755\"}
init: {exec: [/hello], network: dhcp}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
";

    fn plan(more: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.yaml");
        std::fs::write(&path, [MANIFEST, more].concat()).unwrap();
        let manifest = Loaded::read(&path).unwrap().manifest;
        // As a release has it, too.
        assert_eq!(Loaded::released(&manifest.canonical(), "it").unwrap(), manifest);
        write(&manifest, &[], true).unwrap()
    }

    #[test]
    fn a_plan_has_evidence_where_the_manifest_asks_for_it() {
        let without = "counterfoil-plan 1\nhostname guest\nlatch-modules\nnetwork dhcp\nroot read-only\n\
                       user 65534 65534\nworkdir /\noutput discard\nexec /hello\narg /hello\n\
                       on-exit poweroff\ngrace 10\n";
        assert_eq!(plan(""), without);
        for (asked, lines) in [
            ("{}", "evidence /etc/counterfoil/evidence\n"),
            ("{http: 8001}", "evidence /etc/counterfoil/evidence\nevidence-http 8001\n"),
            (
                "{vsock: 70000, http: 1}",
                "evidence /etc/counterfoil/evidence\nevidence-http 1\nevidence-vsock 70000\n",
            ),
        ] {
            let with = without.replace("user 65534", &format!("{lines}user 65534"));
            assert_eq!(plan(&format!("evidence: {asked}\n")), with);
        }
    }
}
