use std::fs;

use super::*;
use crate::manifest::load::Loaded;
use crate::yaml::Document;

/// A firmware that is compiled by a tool that is compiled, and one of each other kind.
const MANIFEST: &str = "
version: 1
name: parts
inputs:
  firmware:
    build:
      room: [room, tool]
      files:
        /build/orig.tar.xz: {from: edk2, source: /orig.tar.xz}
        /build/build.sh: {from: script}
      run: [/bin/sh, build.sh]
  tool:
    build:
      room: [room]
      files:
        /build/build.sh: {from: script}
      run: [/bin/sh, build.sh]
  room:
    deb: {suite: trixie, packages: [gcc-14, make]}
  edk2:
    source: {suite: trixie, package: edk2}
  script:
    file: build.sh
  kernel:
    deb: {suite: trixie, packages: [linux-image]}
  weights:
    url: {url: 'https://models.example/weights', sha256: 1111111111111111111111111111111111111111111111111111111111111111}
  hello:
    builtin: hello
firmware: {from: firmware, path: /OVMF.fd}
kernel: {from: kernel}
cmdline: console=ttyS0
files:
  - {path: /weights, from: weights}
  - {path: /hello, from: hello}
init: {exec: [/hello]}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
";

fn lock(manifest: &Manifest, change: impl Fn(&str) -> String) -> Lock {
    let digest = |byte: char| byte.to_string().repeat(64);
    let object = |byte| format!("{{sha256: \"{}\", size: 1}}", digest(byte));
    let package = |name: &str, byte| {
        format!(
            "{{package: {name}, version: \"1-1\", architecture: amd64, suite: trixie, path: p, \
                 sha256: \"{}\", size: 1, data: {}}}",
            digest(byte),
            object(byte)
        )
    };
    let text = format!(
            "version: 1
manifest: \"{}\"
builtin: {{init: {}, hello: {}}}
archives:
  trixie: {{origin: Debian, suite: stable, codename: trixie, date: \"2026-01-01T00:00:00Z\", sha256: \"{}\", signed-by: [A]}}
sources: {{}}
inputs:
  firmware: {{build: {{recipe: \"{}\", result: {}}}}}
  tool: {{build: {{recipe: \"{}\", result: {}}}}}
  room: {{deb: [{}, {}]}}
  edk2: {{source: {{package: edk2, version: \"2025.02-8\", suite: trixie, parts: {{/orig.tar.xz: {{path: p, sha256: \"{}\", size: 1}}}}}}}}
  script: {{file: {}}}
  kernel: {{deb: [{}]}}
  weights: {{url: {{url: 'https://models.example/weights', sha256: \"{}\", size: 1}}}}
  hello: {{builtin: hello}}
",
            manifest.digest(),
            object('2'),
            object('3'),
            digest('4'),
            digest('5'),
            object('6'),
            digest('7'),
            object('8'),
            package("gcc-14", '9'),
            package("make", 'a'),
            digest('b'),
            object('c'),
            package("linux-image", 'd'),
            digest('1'),
        );
    Document { name: "lock", text: &change(&text) }.parse().unwrap()
}

fn written(change: impl Fn(&str) -> String, change_lock: impl Fn(&str) -> String) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("parts.yaml");
    fs::write(&path, change(MANIFEST)).unwrap();
    let manifest = Loaded::read(&path).unwrap().manifest;
    let lock = lock(&manifest, change_lock);
    let mut text = String::new();
    write(&mut text, &manifest, &lock).unwrap();
    text
}

#[test]
fn what_is_compiled_says_which_trust_went_away() {
    let text = written(str::to_owned, str::to_owned);
    let one = |byte: char| byte.to_string().repeat(64);
    for words in [
            "| Firmware | compiled from source | nobody, for its bytes".to_owned(),
            "| Kernel | a package, as it is | Debian's build machines |".to_owned(),
            "| Input `hello` | compiled with counterfoil | nobody".to_owned(),
            "| Input `weights` | a file, as it is | whoever made it |".to_owned(),
            "| Input `tool` | compiled from source | ".to_owned(),
            "**Trust that went away**: for the bytes of firmware and input `tool` nobody".to_owned(),
            "or the build machines of Debian".to_owned(),
            format!("- source package `edk2` 2025.02-8 of Debian `trixie` (`edk2`)\n  - `/orig.tar.xz` `{}`", one('b')),
            format!("- a file that came with the manifest (`script`) `{}`", one('c')),
            "- 2 packages of Debian `trixie` (`room`; `lock.yaml` has the digest of each), among them `gcc-14` 1-1\n".to_owned(),
            format!("- what input `tool` gives, compiled too: `{}`", one('8')),
            format!("is `{}`; what comes out is `{}`", one('5'), one('6')),
            format!("- package `linux-image` 1-1 of Debian `trixie` (`kernel`) `{}`", one('d')),
            format!("- `https://models.example/weights` (`weights`) `{}`", one('1')),
            format!("- counterfoil's own program `hello` (`hello`) `{}`", one('3')),
            "Here the sources above stand behind them".to_owned(),
        ] {
            assert!(text.contains(&words), "`{words}` is not in: {text}");
        }
    assert!(!text.contains("recipe: firmware/amdsev.yaml"), "{text}");
    // Each part has its place, what the image is made of first.
    let titles: Vec<_> = text.lines().filter(|line| line.starts_with("### ")).collect();
    let names = titles.iter().map(|it| it.split(':').next().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        names,
        [
            "### Firmware",
            "### Kernel",
            "### Input `hello`",
            "### Input `weights`",
            "### Input `tool`"
        ]
    );
}

/// The same image with its firmware from a package: the trust is there again, and is said.
#[test]
fn what_is_a_package_says_whom_it_is_taken_from() {
    let from = MANIFEST.find("  firmware:\n    build:").unwrap();
    let to = MANIFEST.find("  kernel:\n").unwrap();
    let package = "  firmware:\n    deb: {suite: trixie, packages: [linux-image]}\n";
    let text = written(
        |text| format!("{}{package}{}", &text[..from], &text[to..]),
        |lock| {
            let of_kernel = lock.lines().find(|line| line.starts_with("  kernel:")).unwrap();
            let kept = |line: &&str| {
                !["  firmware:", "  tool:", "  room:", "  edk2:", "  script:"]
                    .iter()
                    .any(|name| line.starts_with(name))
            };
            let rest: Vec<_> = lock.lines().filter(kept).collect();
            format!("{}\n{}\n", rest.join("\n"), of_kernel.replace("kernel:", "firmware:"))
        },
    );
    for words in [
        "| Firmware | a package, as it is | Debian's build machines |",
        "No part of this image is compiled from source under its lock",
        "- **Trusted**: Debian's build machines, and everybody who could change",
        "such as `recipe: firmware/amdsev.yaml`",
        "such as `recipe: kernels/minimal.yaml`",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    assert!(!text.contains("went away") && !text.contains("No longer trusted"), "{text}");
}
