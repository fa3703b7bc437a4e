//! An append that is killed at any moment leaves the old tree or the new one, loses nothing that it has said to be
//! in the log, and never signs two trees of which neither begins with the other.
//!
//! `COUNTERFOIL_TEST_KILLS=1000` says how many; otherwise it is a few dozen.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{fs, thread};

use counterfoil::digest::Sha256;
use counterfoil::log::directory::Directory;
use counterfoil::log::{Note, Signed};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::naive::{self, Naive};
use crate::place::{Keeper, entry, key};
use crate::support::place::copy;

/// What is known of a log from outside.
#[derive(Default)]
struct Observer {
    naive: Naive,
    entries: Vec<Vec<u8>>,
    /// Every checkpoint that was ever seen.
    seen: BTreeMap<usize, Sha256>,
}

impl Observer {
    /// Reads the log without our code, except for the signature.
    fn look(&mut self, keeper: &Keeper) -> usize {
        let note = fs::read_to_string(keeper.log().join("checkpoint")).unwrap();
        let note = Note::parse(&note).unwrap();
        assert!(matches!(key().verifier().verify(&note), Signed::Good { .. }), "{note}");
        let (size, root) = naive::head(&keeper.log());
        assert!(size >= self.entries.len(), "a rollback from {} to {size}", self.entries.len());
        // The last bundle that was seen may have grown; those before it are read now and then.
        let from = if size.is_multiple_of(7) { 0 } else { self.entries.len() / 256 };
        let read = naive::entries(&keeper.log(), from, size);
        let known = &self.entries[from * 256..];
        assert_eq!(&read[..known.len()], known, "what was in the log is another");
        for entry in &read[known.len()..] {
            self.naive.push(entry);
        }
        self.entries.truncate(from * 256);
        self.entries.extend(read);
        assert_eq!(self.naive.root(size), root, "a checkpoint of another tree, of {size}");
        self.seen.insert(size, root);
        size
    }
}

#[test]
fn killed_at_any_moment() {
    let kills = std::env::var("COUNTERFOIL_TEST_KILLS").map_or(60, |text| text.parse().unwrap());
    let keeper = Keeper::new();
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut observer = Observer::default();
    let (mut killed, mut acknowledged, mut changed, mut longest) = (0, 0, 0, Duration::ZERO);
    let mut run = 0;
    while killed < kills {
        let before = observer.look(&keeper);
        let batch = random.gen_range(1..120);
        let lines: Vec<_> =
            (0..random.gen_range(1..300)).map(|n| format!("run {run} line {n}")).collect();
        run += 1;
        let batch_text = batch.to_string();
        let arguments =
            ["log", "append", "LOG", "--key", "key", "--entries", "-", "--batch", &batch_text];
        let mut child = keeper
            .place
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
        drop(stdin);
        // Some run to their end, so that how long that takes is known.
        let is_killed = run > 3;
        let moment = random.gen_range(0..=u64::try_from(longest.as_micros()).unwrap());
        let moment = Duration::from_micros(moment);
        if is_killed {
            thread::sleep(moment.saturating_sub(begun.elapsed()));
            child.kill().unwrap();
        }
        let (mut said, mut wrong) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut wrong).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(wrong, "");
        // How long an append takes changes with what else the machine does.
        if !is_killed {
            assert!(status.success());
            longest = longest.max(begun.elapsed());
        } else if status.success() {
            longest = longest.min(moment.max(Duration::from_millis(1)));
        } else {
            killed += 1;
            longest = longest.mul_f64(1.1);
        }
        let after = observer.look(&keeper);
        changed += usize::from(after != before);
        // What the process has said to be in the log is there, in its place. A line that is cut off says nothing.
        let mut lines = lines.iter();
        for line in said.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let numbers: Vec<usize> =
                line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            for index in numbers[0]..=*numbers.last().unwrap() {
                assert_eq!(observer.entries[index], lines.next().unwrap().as_bytes());
                acknowledged += 1;
            }
        }
    }
    // Every checkpoint that was ever seen is of a beginning of the last tree.
    let seen = observer.seen.clone();
    for (size, root) in &seen {
        assert_eq!(observer.naive.root(*size), *root);
    }
    let verified = keeper.place.succeeds(&["log", "verify", "LOG", "--log", "vkey"]);
    assert!(verified.stdout.contains("accepted"));
    eprintln!(
        "{killed} kills of {run} appends: {changed} changed the log, {acknowledged} entries acknowledged, {} logged, {} \
         checkpoints seen, 0 forks, 0 lost",
        observer.entries.len(),
        seen.len()
    );
}

/// Both wait for each other, and all of both is in.
#[test]
fn several_at_once() {
    let keeper = Keeper::new();
    let lines = |who: usize| (0..90).map(move |n| format!("{who} {n}\n"));
    let children: Vec<_> = (0..4)
        .map(|who| {
            let name = format!("lines{who}");
            keeper.place.write(&name, lines(who).collect::<String>());
            let arguments = [
                "log",
                "append",
                "LOG",
                "--key",
                "key",
                "--entries",
                &name,
                "--batch",
                "9",
                "--quiet",
            ];
            keeper.place.command(&arguments).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut observer = Observer::default();
    assert_eq!(observer.look(&keeper), 360);
    for who in 0..4 {
        let prefix = format!("{who} ");
        let mine = observer.entries.iter().filter(|entry| entry.starts_with(prefix.as_bytes()));
        let mine: Vec<_> =
            mine.map(|entry| String::from_utf8(entry.clone()).unwrap() + "\n").collect();
        assert_eq!(mine, lines(who).collect::<Vec<_>>(), "in their order");
    }
}

/// A checkpoint that was signed and not published is published before anything else is signed: whoever may have
/// seen it must not see another tree.
#[test]
fn what_was_signed_is_not_forgotten() {
    let keeper = Keeper::new();
    keeper.append((0..10).map(entry));
    let ahead = keeper.place.path("ahead");
    copy(&keeper.log(), &ahead);
    let entries =
        (10..15).map(|n| counterfoil::log::append::Entry { bytes: entry(n), ..Default::default() });
    Directory::open(&ahead, key()).unwrap().append(entries).unwrap();
    // What a lost disk cache leaves: files and `.pending` are there, the checkpoint is the old one.
    let published = fs::read(keeper.log().join("checkpoint")).unwrap();
    copy(&ahead, &keeper.log());
    fs::rename(keeper.log().join("checkpoint"), keeper.log().join(".pending")).unwrap();
    fs::write(keeper.log().join("checkpoint"), &published).unwrap();

    let appended = keeper.append([b"other".to_vec()]);
    assert_eq!(appended.first, 15);
    let mut observer = Observer::default();
    observer.look(&keeper);
    assert_eq!(observer.entries[10], entry(10));
    let (size, root) = naive::head(&ahead);
    assert_eq!(observer.naive.root(size), root);
    assert!(!keeper.log().join(".pending").exists());

    // One that does not go on from what is published is not published.
    fs::copy(ahead.join("checkpoint"), keeper.log().join(".pending")).unwrap();
    let ran = keeper.place.run(&["log", "append", "LOG", "--key", "key", "--entries", "key"]);
    ran.is_refusal(10, &[".pending", "log-split-view"]);
}

/// What an append that never came to its end has left is written over, not believed.
#[test]
fn leftovers_are_written_over() {
    let keeper = Keeper::new();
    keeper.append((0..250).map(entry));
    let published = fs::read(keeper.log().join("checkpoint")).unwrap();
    let ahead = keeper.place.path("ahead");
    copy(&keeper.log(), &ahead);
    let wrong = (0..300).map(|n| counterfoil::log::append::Entry {
        bytes: format!("wrong {n}").into(),
        ..Default::default()
    });
    Directory::open(&ahead, key()).unwrap().append(wrong).unwrap();
    copy(&ahead, &keeper.log());
    fs::write(keeper.log().join("checkpoint"), published).unwrap();
    let mut observer = Observer::default();
    assert_eq!(observer.look(&keeper), 250);
    for size in [251, 255, 256, 257, 520, 600] {
        let from = observer.entries.len();
        keeper.append((from..size).map(entry));
        assert_eq!(observer.look(&keeper), size);
        assert_eq!(observer.entries[size - 1], entry(size - 1));
        let verified = keeper.place.succeeds(&["log", "verify", "LOG", "--log", "vkey"]);
        assert!(verified.stdout.contains("accepted"));
    }
}

/// An `init` that was killed between signing and publishing has shown nobody its log, and is done again.
#[test]
fn an_init_that_was_killed_is_done_again() {
    let keeper = Keeper::new();
    let (checkpoint, pending) = (keeper.log().join("checkpoint"), keeper.log().join(".pending"));
    let published = fs::read(&checkpoint).unwrap();
    let init = ["log", "init", "LOG", "--key", "key"];
    fs::rename(&checkpoint, &pending).unwrap();
    keeper.place.succeeds(&init);
    assert_eq!(fs::read(&checkpoint).unwrap(), published);
    assert!(!pending.exists());
    keeper.append([entry(0)]);
    keeper.place.succeeds(&["log", "verify", "LOG", "--log", "vkey"]);

    // A log that has lost its checkpoint was seen by somebody, perhaps.
    fs::rename(&checkpoint, &pending).unwrap();
    keeper.place.refuses(&init, 2, &["there is a log in `LOG`", "`tile`"]);
    fs::rename(keeper.log().join("tile"), keeper.place.path("tile")).unwrap();
    keeper.place.refuses(&init, 2, &["there is a log in `LOG`", "`.pending`"]);
    fs::write(&pending, "nonsense").unwrap();
    keeper.place.refuses(&init, 2, &["there is a log in `LOG`", "`.pending`"]);
    fs::write(&pending, &published).unwrap();
    fs::write(&checkpoint, "nonsense").unwrap();
    keeper.place.refuses(&init, 2, &["there is a log in `LOG`", "`checkpoint`"]);
    assert_eq!(fs::read(&pending).unwrap(), published);
}
