//! A build that does not come to its end leaves nothing that looks as if it had.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use counterfoil::image::erofs::{Kind, Layout};
use counterfoil::image::verity::Salt;
use counterfoil::input::progress::Silent;
use counterfoil::volume::source::{Rules, members};
use counterfoil::volume::{Order, Salting, build};

use crate::support::many_files::noise;
use crate::support::place::{Place, Ran};

const STAGING: &str = ".counterfoil-volume-";

/// Files in the making.
fn staged(place: &Place) -> usize {
    let entries = walkdir::WalkDir::new(place.root()).into_iter().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(STAGING)).count()
}

/// A model that takes some time: 256 MiB, the same noise over and over.
fn large(place: &Place) {
    let part = noise(1, 1 << 20);
    let mut model = fs::File::create(place.path("model")).unwrap();
    for _ in 0..256 {
        model.write_all(&part).unwrap();
    }
    // Change times move with the kernel's tick.
    sleep(Duration::from_millis(20));
}

/// Starts a build and waits until it writes.
fn begun(place: &Place) -> std::process::Child {
    let mut command =
        place.command(&["volume", "build", "model", "-o", "model.img", "--jobs", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while staged(place) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was begun");
        sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn killed_in_the_middle_it_leaves_no_volume_and_the_next_one_cleans_up() {
    let place = Place::new();
    large(&place);
    place.write("old", "old");
    place.succeeds(&["volume", "build", "old", "-o", "model.img"]);
    let (image, record) = (fs::read(place.path("model.img")).unwrap(), place.read("model.json"));
    let mut child = begun(&place);
    sleep(Duration::from_millis(20));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was quicker than the signal");
    assert!(fs::read(place.path("model.img")).unwrap() == image, "the old volume is still there");
    assert_eq!(place.read("model.json"), record);
    assert_eq!(staged(&place), 1, "which belongs to nobody");
    place.succeeds(&["volume", "build", "model", "-o", "model.img"]);
    assert_eq!(staged(&place), 0);
    place.succeeds(&["volume", "verify", "model.img"]);
}

#[test]
fn two_at_once_do_not_clean_each_other_up() {
    let place = Place::new();
    large(&place);
    place.write("other", "other");
    let child = begun(&place);
    place.succeeds(&["volume", "build", "other", "-o", "other.img"]);
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place.succeeds(&["volume", "verify", "model.img"]);
}

#[test]
fn an_input_that_is_written_to_in_the_middle() {
    let place = Place::new();
    large(&place);
    let child = begun(&place);
    // The same size, other bytes: only times tell.
    let model = fs::File::options().write(true).open(place.path("model")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&model, b"other", 200 << 20).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    ran.is_refusal(
        1,
        &["`/model`", "written to while it was in use", "hint: leave the input alone"],
    );
    assert!(!place.path("model.img").exists() && !place.path("model.json").exists());
    place.is_clean();
}

#[test]
fn an_input_that_changes_between_listing_and_reading() {
    type Change = fn(&Place);
    let changes: [(Change, &str); 4] = [
        (
            |place| drop(place.write("tree/b", "longer than it was")),
            "failed reading the contents of `/b`",
        ),
        (
            |place| fs::remove_file(place.path("tree/b")).unwrap(),
            "failed reading the contents of `/b`",
        ),
        (
            |place| {
                fs::remove_file(place.path("tree/b")).unwrap();
                std::os::unix::fs::symlink("a", place.path("tree/b")).unwrap();
            },
            "failed reading the contents of `/b`",
        ),
        (
            |place| {
                fs::write(place.path("new"), "bbbb").unwrap();
                fs::rename(place.path("new"), place.path("tree/b")).unwrap();
            },
            "failed reading the contents of `/b`",
        ),
    ];
    for (change, words) in changes {
        let place = Place::new();
        place.write("tree/a", "aaaa");
        place.write("tree/b", "bbbb");
        let listed = members(&place.path("tree"), Rules::default()).unwrap();
        assert!(matches!(listed.all()[2].kind, Kind::File { size: 4, .. }));
        assert_eq!(Layout::of(&listed).unwrap().blocks(), 2);
        // Change times move with the kernel's tick.
        sleep(Duration::from_millis(20));
        change(&place);
        let order = Order { salting: Salting::Public(Salt::default()), jobs: 2 };
        let error = build(&listed, &order, &place.path("x.img"), &Silent).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, words);
        assert!(!place.path("x.img").exists() && !place.path("x.json").exists());
        place.is_clean();
    }
}

/// On a file system of four megabytes, where this user may mount one.
#[test]
fn a_disk_that_is_full() {
    let place = Place::new();
    place.write("model", noise(1, 8 << 20));
    fs::create_dir(place.path("disk")).unwrap();
    let script = "mount -t tmpfs -o size=4m tmpfs disk || exit 99\n\
                  \"$0\" volume build model -o disk/model.img; code=$?\n\
                  ls -A disk; exit $code";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_counterfoil"))
        .current_dir(place.root())
        .output();
    let Ok(output) = output else {
        assert!(std::env::var_os("CI").is_none(), "there is no `unshare`");
        eprintln!("skipped: there is no `unshare`");
        return;
    };
    let ran = Ran::of(&output);
    if ran.stderr.contains("unshare:") || ran.code == 99 {
        assert!(std::env::var_os("CI").is_none(), "{}", ran.stderr);
        eprintln!("skipped: no file system can be mounted here: {}", ran.stderr);
        return;
    }
    // `ls` had nothing to say.
    ran.is_refusal(1, &["failed writing `disk/model.img`", "No space left", "hint:", "make room"]);
}
