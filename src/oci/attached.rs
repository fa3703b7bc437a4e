//! Under which names the files come that are attached to a release, since anybody who may write there may attach
//! one, by any name that such files have.
//!
//! Of those with the same name all are kept: a rebuilder's disagreement must not vanish because another rebuilder
//! has the same name. The newest has the name (by [`CREATED`], and what lacks it is older than all; of two of the
//! same time, the one that was attached last, where that can be known). The others have the beginning of their
//! digest in theirs. A proof and an unsigned verdict follow the bundle that they stood beside ([`BESIDE`]), so that
//! no proof stands beside a bundle of which it proves nothing.
//!
//! What its publisher says of a release has one name in it, and what is beside is of others: of several, the newest
//! is taken for it, and the rest go to `statements`, where `verify` reads what a publisher said besides. Nobody is
//! believed for his place: if the newest is an attacker's, `verify` refuses it, and the publisher's is still there.
//!
//! [`CREATED`]: crate::oci::manifest::CREATED
//! [`BESIDE`]: crate::oci::manifest::BESIDE

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::digest::{Object, Sha256};
use crate::oci::manifest::{File, PROOF, SIGNED, check_path, is_said};
use crate::report::time::Time;

/// A file that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The file, by the name that it was attached with.
    pub file: File,
    /// When it was made.
    pub created: Option<Time>,
    /// Beside which bundle it stood.
    pub beside: Option<Sha256>,
}

/// A file and its name in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The name that it was attached with.
    pub from: String,
    /// The file by its name in the directory; none where it has none there.
    pub file: Option<File>,
}

/// Gives each file a name that no other has. Of those that are attached twice, only one is given back. They come with
/// the one first that was attached last.
pub fn place(mut all: Vec<Attached>) -> Vec<Placed> {
    // Whatever stands beside a bundle comes after it, and what does not say beside which, last.
    all.sort_by_key(|it| {
        let is_bundle = it.file.path.ends_with(SIGNED);
        (!is_bundle, it.beside.is_none(), Reverse(it.created))
    });
    let mut taken: BTreeMap<String, Object> = BTreeMap::new();
    let mut bundles: BTreeMap<(String, Sha256), String> = BTreeMap::new();
    let mut placed = Vec::new();
    for Attached { file, beside, .. } in all {
        let (stem, ending) = split(&file.path);
        let own = file.object.sha256;
        let with = beside.filter(|_| ending != SIGNED);
        let names = match with.and_then(|bundle| bundles.get(&(stem.to_owned(), bundle))) {
            Some(bundle) => names(Some(bundle), bundle, ending, own),
            // It says that it is not of the bundle that has the name.
            None if with.is_some() && taken.contains_key(&format!("{stem}{SIGNED}")) => {
                names(None, stem, ending, own)
            }
            None => names(Some(stem), stem, ending, own),
        };
        let mut names = names.take_while(|name| check_path(name).is_ok() && is_said(name));
        let name = names.find(|name| taken.get(name).is_none_or(|there| *there == file.object));
        if let Some(name) = &name {
            if ending == SIGNED {
                let stem_there = name.strip_suffix(SIGNED).unwrap_or(name).to_owned();
                bundles.entry((stem.to_owned(), own)).or_insert(stem_there);
            }
            if taken.insert(name.clone(), file.object).is_some() {
                continue;
            }
        }
        let there = name.map(|path| File { path, object: file.object });
        placed.push(Placed { from: file.path, file: there });
    }
    placed
}

/// A name without its ending, by which a bundle and what stands beside it belong together.
fn split(path: &str) -> (&str, &'static str) {
    let endings = [SIGNED, PROOF, ".json"];
    let found = endings.into_iter().find_map(|end| Some((path.strip_suffix(end)?, end)));
    found.unwrap_or((path, ""))
}

/// The names that a file may have, the best first: the plain one, if it may, and others that say which it is.
/// Somebody may have taken those on purpose, so that they have no end.
fn names(
    plain: Option<&str>,
    stem: &str,
    ending: &'static str,
    own: Sha256,
) -> impl Iterator<Item = String> + use<> {
    let digest = &own.to_string()[..12];
    let other = match stem.contains('/') {
        true => format!("{stem}-{digest}"),
        false => format!("statements/{stem}-{digest}"),
    };
    let plain = plain.map(|stem| format!("{stem}{ending}")).into_iter();
    let first = std::iter::once(format!("{other}{ending}"));
    plain.chain(first).chain((2..).map(move |n: u32| format!("{other}-{n}{ending}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(path: &str, content: &str, created: Option<u64>) -> Attached {
        let object = Object { sha256: Sha256::of(content), size: content.len() as u64 };
        let file = File { path: path.to_owned(), object };
        Attached { file, created: created.map(Time::from_unix), beside: None }
    }

    fn beside(path: &str, content: &str, bundle: &str) -> Attached {
        Attached { beside: Some(Sha256::of(bundle)), ..attached(path, content, None) }
    }

    /// Where the contents are then.
    fn names<const N: usize>(all: Vec<Attached>, contents: [&str; N]) -> [String; N] {
        let placed = place(all);
        contents.map(|content| {
            let files = placed.iter().filter_map(|it| it.file.as_ref());
            let mut found = files.filter(|file| file.object.sha256 == Sha256::of(content));
            let name = found.next().map_or("nowhere".to_owned(), |file| file.path.clone());
            assert!(found.next().is_none(), "{content}");
            name
        })
    }

    fn mark(content: &str) -> String {
        Sha256::of(content).to_string()[..12].to_owned()
    }

    #[test]
    fn no_verdict_vanishes_behind_another() {
        let all = vec![
            attached("rebuilds/unnamed.sigstore.json", "agrees", Some(2)),
            attached("rebuilds/unnamed.sigstore.json", "differs", Some(1)),
            attached("rebuilds/unnamed.json", "unsigned", None),
            attached("rebuilds/unnamed.json", "another", None),
            attached("rebuilds/x", "no ending", None),
            attached("rebuilds/x", "none either", None),
        ];
        assert_eq!(
            names(all, ["agrees", "differs", "unsigned", "another", "no ending", "none either"]),
            [
                "rebuilds/unnamed.sigstore.json".to_owned(),
                format!("rebuilds/unnamed-{}.sigstore.json", mark("differs")),
                "rebuilds/unnamed.json".to_owned(),
                format!("rebuilds/unnamed-{}.json", mark("another")),
                "rebuilds/x".to_owned(),
                format!("rebuilds/x-{}", mark("none either")),
            ]
        );
    }

    /// Also when somebody has put others where it would go.
    #[test]
    fn no_name_can_be_taken_away() {
        let name = format!("rebuilds/me-{}", mark("differs"));
        let all = vec![
            attached("rebuilds/me.sigstore.json", "agrees", Some(9)),
            attached(&format!("{name}.sigstore.json"), "1", Some(9)),
            attached(&format!("{name}-2.sigstore.json"), "2", Some(9)),
            attached("rebuilds/me.sigstore.json", "differs", None),
        ];
        assert_eq!(names(all, ["differs"]), [format!("{name}-3.sigstore.json")]);
    }

    #[test]
    fn the_newest_statement_has_the_name_and_its_words_and_proof() {
        let all = vec![
            beside("statement.json", "old words", "old"),
            beside("statement.tlog-proof", "old proof", "old"),
            attached("statement.sigstore.json", "old", Some(1)),
            attached("statement.sigstore.json", "undated", None),
            beside("statement.json", "new words", "new"),
            beside("statement.tlog-proof", "new proof", "new"),
            attached("statement.sigstore.json", "new", Some(2)),
            beside("statement.tlog-proof", "of none", "lost"),
            attached("provenance.sigstore.json", "p2", Some(2)),
            attached("provenance.sigstore.json", "p1", Some(1)),
        ];
        assert_eq!(
            names(
                all,
                [
                    "new",
                    "new words",
                    "new proof",
                    "old",
                    "old proof",
                    "old words",
                    "undated",
                    "of none",
                    "p2",
                    "p1"
                ]
            ),
            [
                "statement.sigstore.json".to_owned(),
                "statement.json".to_owned(),
                "statement.tlog-proof".to_owned(),
                format!("statements/statement-{}.sigstore.json", mark("old")),
                format!("statements/statement-{}.tlog-proof", mark("old")),
                // The bundle has them.
                "nowhere".to_owned(),
                format!("statements/statement-{}.sigstore.json", mark("undated")),
                format!("statements/statement-{}.tlog-proof", mark("of none")),
                "provenance.sigstore.json".to_owned(),
                format!("statements/provenance-{}.sigstore.json", mark("p1")),
            ]
        );
    }

    /// Of the same time, the one that was attached last; and what was pulled and pushed again is not there twice.
    #[test]
    fn once_more() {
        let again = format!("statements/statement-{}.sigstore.json", mark("first"));
        let all = vec![
            attached(&again, "first", Some(1)),
            attached("statement.sigstore.json", "last", Some(1)),
            attached("statement.sigstore.json", "last", None),
            attached("statement.sigstore.json", "first", Some(1)),
            attached("rebuilds/me.sigstore.json", "first", Some(1)),
        ];
        let mut names: Vec<_> =
            place(all).into_iter().map(|it| it.file.map(|file| file.path)).collect();
        names.sort();
        let expected = ["rebuilds/me.sigstore.json", "statement.sigstore.json", &again];
        assert_eq!(names, expected.map(|name| Some(name.to_owned())));
    }
}
