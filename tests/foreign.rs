//! Artifacts that other tools made, opened by `inspect` and `diff`: an initrd of `find | cpio | zstd`, EROFS
//! images of mkfs.erofs, compressed ones too, and a unified kernel image on systemd's stub.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::Instant;

use support::many_files::noise;
use support::place::{Place, Ran};
use support::real;
use support::tools::{file, succeeds, tool};

fn tree(place: &Place) {
    place.write("tree/etc/motd", "hello\n");
    place.write("tree/etc/long", "the same again and again\n".repeat(5000));
    place.write("tree/usr/bin/tool", noise(1, 70_000));
    fs::set_permissions(place.path("tree/usr/bin/tool"), fs::Permissions::from_mode(0o755))
        .unwrap();
    symlink("usr/bin", place.path("tree/bin")).unwrap();
}

/// `find | cpio -o -H newc`, and packed.
fn initrd(place: &Place, name: &str, packer: Option<Command>) {
    let script = "cd tree && find . | sort | cpio --quiet -o -H newc";
    let output =
        Command::new("sh").args(["-c", script]).current_dir(place.root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let Some(mut packer) = packer else { return drop(place.write(name, output.stdout)) };
    let plain = place.write("plain.cpio", output.stdout);
    let packed = packer.stdin(File::open(plain).unwrap()).stdout(Stdio::piped()).output().unwrap();
    assert!(packed.status.success());
    place.write(name, packed.stdout);
}

fn zstd(level: &str) -> Command {
    let mut command = tool("zstd");
    command.args([level, "-c"]);
    command
}

/// An answer, and what is wrong beside it.
#[track_caller]
fn told(ran: &Ran, code: i32, word: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
}

fn differs(place: &Place, one: &str, two: &str) -> Ran {
    let ran = place.run(&["diff", one, two]);
    assert_eq!(ran.code, 10, "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn initrds_of_find_and_cpio() {
    let place = Place::new();
    tree(&place);
    initrd(&place, "one.cpio", None);
    initrd(&place, "one.zst", Some(zstd("-3")));
    initrd(&place, "two.zst", Some(zstd("-19")));
    let shown = place.succeeds(&["inspect", "one.zst"]);
    for expected in ["packed by         zstd", "etc/motd", "3 files, "] {
        assert!(shown.stdout.contains(expected), "{expected}: {}", shown.stdout);
    }
    let ran = differs(&place, "one.zst", "two.zst");
    assert!(ran.stdout.starts_with("[compressor] packed by zstd to "), "{}", ran.stdout);
    let ran = differs(&place, "one.cpio", "one.zst");
    assert!(ran.stdout.starts_with("[compressor] packed by nothing → zstd"), "{}", ran.stdout);
    // An early archive before a packed one, as distributions have their microcode.
    let early =
        [fs::read(place.path("one.cpio")).unwrap(), fs::read(place.path("one.zst")).unwrap()];
    place.write("early.img", early.concat());
    let shown = place.succeeds(&["inspect", "early.img"]);
    assert!(shown.stdout.matches("packed by").count() == 2, "{}", shown.stdout);
    fs::set_permissions(place.path("tree/etc/motd"), fs::Permissions::from_mode(0o664)).unwrap();
    initrd(&place, "umask.zst", Some(zstd("-3")));
    let ran = differs(&place, "one.zst", "umask.zst");
    assert!(ran.stdout.starts_with("[umask] etc/motd: mode 0644 → 0664"), "{}", ran.stdout);

    // What is not unpacked is called so, and what is damaged too.
    place.write("lz4.img", [&[0x02, 0x21, 0x4c, 0x18][..], &noise(1, 500)].concat());
    let early =
        [fs::read(place.path("one.cpio")).unwrap(), fs::read(place.path("lz4.img")).unwrap()];
    place.write("early.lz4", early.concat());
    told(&place.run(&["inspect", "early.lz4"]), 20, "packed by lz4");
    let mut cut = fs::read(place.path("one.cpio")).unwrap();
    cut.truncate(cut.len() / 2);
    place.write("cut.cpio", cut);
    place.run(&["inspect", "cut.cpio"]).is_refusal(30, &["the archive ends at byte"]);
    place.run(&["diff", "one.cpio", "cut.cpio"]).is_refusal(30, &["the archive ends at byte"]);
}

fn mkfs(place: &Place, image: &str, arguments: &[&str]) {
    let mut command = tool("mkfs.erofs");
    command.args(arguments).arg(place.path(image)).arg(place.path("tree"));
    succeeds(&mut command);
}

#[test]
fn images_of_mkfs_erofs() {
    let place = Place::new();
    tree(&place);
    let uuid = "-U00000000-0000-0000-0000-000000000001";
    mkfs(&place, "one.img", &[uuid, "-T0"]);
    mkfs(&place, "uuid.img", &["-U00000000-0000-0000-0000-000000000002", "-T0"]);
    mkfs(&place, "time.img", &[uuid, "-T77"]);
    mkfs(&place, "lz4.img", &[uuid, "-T0", "-zlz4hc"]);
    place.succeeds(&["inspect", "one.img"]);
    for (other, expected) in [
        ("uuid.img", "[uuid] superblock: UUID 00000000-0000-0000-0000-000000000001 → "),
        ("time.img", "[build-time] superblock: build time 0 → 77"),
    ] {
        let ran = differs(&place, "one.img", other);
        assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    }
    let ran = differs(&place, "one.img", "lz4.img");
    assert!(
        ran.stderr.contains("not looked into") && ran.stderr.contains("compressed"),
        "{}",
        ran.stderr
    );
    // Names, modes and sizes are read; that contents are not is said.
    told(&place.run(&["inspect", "lz4.img"]), 20, "compressed");
    fs::write(place.path("tree/etc/motd"), "hallo\n").unwrap();
    mkfs(&place, "text.img", &[uuid, "-T0"]);
    let ran = differs(&place, "one.img", "text.img");
    assert!(
        ran.stdout.starts_with("[content] /etc/motd: line 1: `hello` → `hallo`"),
        "{}",
        ran.stdout
    );
}

/// Four modes in 150 MB: the time and the memory that it takes are printed.
#[test]
fn four_modes_in_a_large_image() {
    let place = Place::new();
    for number in 0..300_u64 {
        place.write(&format!("tree/{:02}/{number}", number % 20), noise(number, 500_000));
    }
    mkfs(&place, "one.img", &["-U00000000-0000-0000-0000-000000000001", "-T0"]);
    for number in [5, 105, 205, 299] {
        let path = place.path(&format!("tree/{:02}/{number}", number % 20));
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    mkfs(&place, "two.img", &["-U00000000-0000-0000-0000-000000000001", "-T0"]);
    assert!(fs::metadata(place.path("two.img")).unwrap().len() > 150_000_000);
    let start = Instant::now();
    let ran = differs(&place, "one.img", "two.img");
    let took = start.elapsed();
    let first = ran.stdout.lines().next().unwrap();
    assert!(first.starts_with("[mode] /05/105: mode 0644 → 0600"), "{first}");
    assert!(first.ends_with("and 3 more like it"), "{first}");
    println!("four modes in 150 MB named in {took:?}: {first}");
}

#[test]
fn a_unified_kernel_image_on_systemds_stub() {
    let place = Place::new();
    tree(&place);
    initrd(&place, "initrd.zst", Some(zstd("-3")));
    let kernel = real::release("hello").join("image/kernel");
    let stub = file("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let make = |name: &str, cmdline: &str, initrd: &str| {
        place.write("cmdline", cmdline);
        place.write("osrel", "ID=example\n");
        let mut command = Command::new("objcopy");
        // Behind the stub's own sections.
        for (section, path, at) in [
            (".osrel", place.path("osrel"), 0x1_4000_0000_u64 + 0x200_0000),
            (".cmdline", place.path("cmdline"), 0x1_4000_0000 + 0x210_0000),
            (".linux", kernel.clone(), 0x1_4000_0000 + 0x300_0000),
            (".initrd", place.path(initrd), 0x1_4000_0000 + 0x600_0000),
        ] {
            command.arg("--add-section").arg(format!("{section}={}", path.display()));
            command.arg("--change-section-vma").arg(format!("{section}={at:#x}"));
        }
        succeeds(command.arg(&stub).arg(place.path(name)));
    };
    make("one.efi", "console=ttyS0", "initrd.zst");
    let shown = place.succeeds(&["inspect", "one.efi"]);
    for expected in ["unified kernel image", "console=ttyS0", ".initrd", "6.", "etc/motd"] {
        assert!(shown.stdout.contains(expected), "{expected}: {}", shown.stdout);
    }
    make("cmdline.efi", "console=ttyS0 quiet", "initrd.zst");
    let ran = differs(&place, "one.efi", "cmdline.efi");
    assert!(
        ran.stdout.starts_with("[cmdline] .cmdline: `quiet` is not in the first"),
        "{}",
        ran.stdout
    );
    fs::write(place.path("tree/etc/motd"), "other\n").unwrap();
    initrd(&place, "other.zst", Some(zstd("-3")));
    make("initrd.efi", "console=ttyS0", "other.zst");
    let ran = differs(&place, "one.efi", "initrd.efi");
    assert!(
        ran.stdout.starts_with("[content] .initrd: etc/motd: line 1: `hello` → `other`"),
        "{}",
        ran.stdout
    );
}

/// Files of two kinds, and a file of none.
#[test]
fn what_cannot_be_compared() {
    let place = Place::new();
    tree(&place);
    initrd(&place, "one.cpio", None);
    place.write("noise", noise(1, 5000));
    let ran = differs(&place, "one.cpio", "noise");
    assert!(ran.stdout.starts_with("[kind] initrd (cpio) → file of no kind"), "{}", ran.stdout);
    let mut other = noise(1, 5000);
    other[4321] ^= 1;
    place.write("other", other);
    let ran = differs(&place, "noise", "other");
    assert!(
        ran.stdout.starts_with("[content] contents, 5000 bytes, first at byte 4321"),
        "{}",
        ran.stdout
    );
    place.run(&["diff", "noise", "tree"]).is_refusal(2, &["cannot be compared with a file"]);
    place.run(&["diff", "tree", "tree"]).is_refusal(20, &["is not a release"]);
    place.run(&["diff", "noise", "/dev/zero"]).is_refusal(1, &["no regular file"]);
    let same = place.succeeds(&["diff", "noise", "noise", "--format", "json"]);
    assert!(same.stdout.contains("\"same\": true"), "{}", same.stdout);
}
