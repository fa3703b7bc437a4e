//! The bytes of a small log, which must never change: whoever has a proof of it must be able to check that proof.

use std::fmt::Write as _;
use std::fs;

use counterfoil::digest::Sha256;

use crate::place::{Keeper, entry};

#[test]
fn a_log_of_260_entries() {
    let keeper = Keeper::new();
    keeper.append((0..3).map(entry));
    keeper.append((3..260).map(entry));
    let mut found = String::new();
    for file in walkdir::WalkDir::new(keeper.log()).sort_by_file_name() {
        let file = file.unwrap();
        let path = file.path().strip_prefix(keeper.log()).unwrap().display().to_string();
        if file.file_type().is_file() {
            let bytes = fs::read(file.path()).unwrap();
            writeln!(found, "{path} {} {}", bytes.len(), Sha256::of(&bytes)).unwrap();
        }
    }
    found += &keeper.place.read("LOG/checkpoint");
    found += &keeper.place.succeeds(&["log", "prove", "LOG", "--index", "258"]).stdout;
    assert_eq!(found, include_str!("golden.txt"), "{found}");
}
