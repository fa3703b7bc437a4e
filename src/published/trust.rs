//! Whom a verifier believes, and how many of them: C2SP's tlog-policy, with lines for publishers and rebuilders
//! beside those for logs and witnesses. It is the verifier's own file: nothing in a release names a key to
//! believe.
//!
//! ```text
//! log <vkey> [<url>]                      a log whose checkpoints count
//! witness <name> <vkey> [<url>]           who watches logs
//! group <name> <k|all|any> <member>...    of witnesses, of builders, or of such groups
//! quorum <name|none>                      whose cosignatures a checkpoint needs
//! publisher <name> <key>                  whose statements count; without any, a release stands on its rebuilders
//! builder <name> <key> [org=<org>]        who rebuilds, and for whom
//! rebuild-quorum <name|none>              whose agreement a release needs; to be said where there are builders
//! on-disagree fail|note                   whether one builder's disagreement rejects (the default) or is told
//! distinct org|tool|org,tool              builders of one group that are alike in this count once
//! max-age <days>d                         how old a rebuild, and a cosignature, may be
//! min-sequence <n>                        the lowest sequence number of a statement
//! ```
//!
//! Keys of logs and witnesses are vkeys (signed-note); a publisher's or builder's is an ECDSA key on P-256, as
//! the base64 of its SubjectPublicKeyInfo: the one line within `BEGIN PUBLIC KEY`.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::log::Quorum;
use crate::log::key::{Algorithm, VerifierKey};
use crate::statement::key::PublicKey;

/// The largest file, and the most lines that define something. (tlog-policy, "Implementation limits", asks for
/// 32 of each kind.)
pub const LARGEST: usize = 1 << 20;
const MOST: usize = 1024;

/// How deep groups may stand in groups.
const DEEPEST: usize = 64;

/// Whom a verifier believes.
#[derive(Clone, Debug)]
pub struct Trust {
    /// SHA-256 of the file, which a summary names.
    pub digest: Sha256,
    /// The logs.
    pub logs: Vec<Log>,
    /// The witnesses, by the names that the file gives them.
    pub witnesses: BTreeMap<String, Witness>,
    /// Whose cosignatures a checkpoint needs.
    pub quorum: Quorum,
    /// The publishers.
    pub publishers: BTreeMap<String, PublicKey>,
    /// The rebuilders.
    pub builders: BTreeMap<String, Builder>,
    /// Whose agreement a release needs.
    pub rebuild_quorum: Quorum,
    /// What a disagreement does.
    pub on_disagree: OnDisagree,
    /// In what builders of one group must differ.
    pub distinct: Distinct,
    /// How old a rebuild and a cosignature may be, in days.
    pub max_age: Option<u32>,
    /// The lowest sequence number of a statement.
    pub min_sequence: u64,
}

/// A log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its key; the key's name is the log's origin.
    pub key: VerifierKey,
    /// Where it is served.
    pub url: Option<String>,
}

/// A witness.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its key.
    pub key: VerifierKey,
    /// Its submission prefix (tlog-witness).
    pub url: Option<String>,
}

/// A rebuilder.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Its key.
    pub key: PublicKey,
    /// For whom it rebuilds.
    pub org: Option<String>,
}

/// What a disagreement does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnDisagree {
    /// It rejects.
    #[default]
    Fail,
    /// It is told.
    Note,
}

/// In what builders of one group must differ to count each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Distinct {
    /// For whom they rebuild.
    pub org: bool,
    /// The program that they rebuild with, by its digest.
    pub tool: bool,
}

impl Trust {
    /// Reads the file `name` with this text.
    ///
    /// # Errors
    /// Malformed, with the line.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let trust = Self::of_logs(name, bytes)?;
        if trust.publishers.is_empty() && trust.rebuild_quorum == Quorum::None {
            let says = "it believes nobody: say a `publisher`, or builders and a `rebuild-quorum`";
            return Err(Error::new(Kind::Malformed, format!("{name}: {says}")));
        }
        // Whoever wrote these lines meant them to count.
        if trust.logs.is_empty() && trust.quorum != Quorum::None {
            let says = "it asks for witnesses of no log: say a `log`, or `quorum none`";
            return Err(Error::new(Kind::Malformed, format!("{name}: {says}")));
        }
        Ok(trust)
    }

    /// Reads the same file for its logs and witnesses alone, and so a tlog-policy that names nobody else.
    ///
    /// # Errors
    /// Malformed, with the line.
    pub fn of_logs(name: &str, bytes: &[u8]) -> Result<Self> {
        let malformed = |says: String| Error::new(Kind::Malformed, format!("{name}: {says}"));
        if bytes.len() > LARGEST {
            return Err(malformed(format!("larger than {LARGEST} bytes")));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(format!("not UTF-8 from byte {}", error.valid_up_to())))?;
        let mut reading = Reading::default();
        // A last line without its newline is read like any other.
        for (index, line) in text.split('\n').enumerate() {
            let at_line = |says: String| {
                Error::new(Kind::Malformed, format!("{name}:{}: {says}", index + 1))
                    .hint("the form of the file is in `reproducibility/PUBLISHING.md`")
            };
            if let Some(control) = line.chars().find(|c| c.is_ascii_control() && *c != '\t') {
                let error = at_line(format!("a control character, {control:?}"));
                return Err(match control == '\r' && line.ends_with('\r') {
                    true => error.hint("the file has Windows line ends"),
                    false => error,
                });
            }
            let words: Vec<&str> =
                line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [keyword, rest @ ..] => reading.line(keyword, rest).map_err(at_line)?,
            }
        }
        reading.finish(Sha256::of(bytes)).map_err(malformed)
    }
}

/// What a name in a file stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    Witnesses,
    Builders,
}

/// A file that is being read.
#[derive(Default)]
struct Reading {
    logs: Vec<Log>,
    witnesses: BTreeMap<String, Witness>,
    publishers: BTreeMap<String, PublicKey>,
    builders: BTreeMap<String, Builder>,
    /// Witnesses, builders and groups, which share their names.
    named: BTreeMap<String, Named>,
    /// Those that a group has.
    taken: BTreeSet<String>,
    quorum: Option<Quorum>,
    rebuild_quorum: Option<Quorum>,
    on_disagree: Option<OnDisagree>,
    distinct: Option<Distinct>,
    max_age: Option<u32>,
    min_sequence: Option<u64>,
}

struct Named {
    of: Of,
    rule: Quorum,
    depth: usize,
}

type Said<T> = std::result::Result<T, String>;

impl Reading {
    fn line(&mut self, keyword: &str, words: &[&str]) -> Said<()> {
        match (keyword, words) {
            ("log", [vkey, url @ ..]) if url.len() <= 1 => self.log(vkey, url.first()),
            ("witness", [name, vkey, url @ ..]) if url.len() <= 1 => {
                self.witness(name, vkey, url.first())
            }
            ("group", [name, threshold, members @ ..]) if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ("quorum", [name]) => {
                let rule = self.rule(name, Of::Witnesses)?;
                once(&mut self.quorum, rule, keyword)
            }
            ("publisher", [name, key]) => self.publisher(name, key),
            ("builder", [name, key, org @ ..]) if org.len() <= 1 => {
                self.builder(name, key, org.first().copied())
            }
            ("rebuild-quorum", [name]) => {
                let rule = self.rule(name, Of::Builders)?;
                once(&mut self.rebuild_quorum, rule, keyword)
            }
            ("on-disagree", ["fail"]) => once(&mut self.on_disagree, OnDisagree::Fail, keyword),
            ("on-disagree", ["note"]) => once(&mut self.on_disagree, OnDisagree::Note, keyword),
            ("distinct", [list]) => {
                let mut distinct = Distinct::default();
                for word in list.split(',') {
                    let which = match word {
                        "org" => &mut distinct.org,
                        "tool" => &mut distinct.tool,
                        _ => return Err(format!("`{word}` is neither `org` nor `tool`")),
                    };
                    if std::mem::replace(which, true) {
                        return Err(format!("`{word}` is said twice"));
                    }
                }
                once(&mut self.distinct, distinct, keyword)
            }
            ("max-age", [age]) => {
                let days = age.strip_suffix('d').and_then(number).filter(|days| *days > 0);
                let days = days.ok_or_else(|| format!("`{age}` is no age such as `90d`"))?;
                once(&mut self.max_age, days, keyword)
            }
            ("min-sequence", [text]) => {
                let least = number(text).ok_or_else(|| format!("`{text}` is no number"))?;
                once(&mut self.min_sequence, least, keyword)
            }
            _ => match LINES.iter().find(|(known, _)| *known == keyword) {
                Some((known, form)) => Err(format!("expected `{known} {form}`")),
                None => {
                    let known: Vec<_> = LINES.iter().map(|(known, _)| *known).collect();
                    Err(format!("`{keyword}` is none of {}", known.join(", ")))
                }
            },
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&&str>) -> Said<()> {
        let key = parse_vkey(vkey)?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err("the key of a log is of signature type 1 (Ed25519)".to_owned());
        }
        if self.logs.iter().any(|log| log.key.same_key(&key)) {
            return Err("another log has this key".to_owned());
        }
        self.logs.push(Log { key, url: url.map(|url| (*url).to_owned()) });
        enough(self.logs.len())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&&str>) -> Said<()> {
        let key = parse_vkey(vkey)?;
        if key.algorithm() == Algorithm::Ed25519 {
            return Err(
                "the key of a witness is of signature type 4 or 6 (a cosignature's)".to_owned()
            );
        }
        if self.witnesses.values().any(|witness| witness.key.same_key(&key)) {
            return Err("another witness has this key, and nobody counts twice".to_owned());
        }
        self.name(name, Of::Witnesses, Quorum::Member(name.to_owned()), 0)?;
        let url = url.map(|url| (*url).to_owned());
        self.witnesses.insert(name.to_owned(), Witness { key, url });
        Ok(())
    }

    fn publisher(&mut self, name: &str, key: &str) -> Said<()> {
        let key = parse_key(key)?;
        if self.publishers.values().any(|other| *other == key) {
            return Err("another publisher has this key".to_owned());
        }
        if self.publishers.insert(name.to_owned(), key).is_some() {
            return Err(format!("a second publisher `{name}`"));
        }
        enough(self.publishers.len())
    }

    fn builder(&mut self, name: &str, key: &str, org: Option<&str>) -> Said<()> {
        let key = parse_key(key)?;
        let org = org.map(|org| {
            let org = org.strip_prefix("org=").filter(|org| !org.is_empty());
            org.map(str::to_owned).ok_or("expected `org=` and a name behind the key")
        });
        let org = org.transpose()?;
        if self.builders.values().any(|other| other.key == key) {
            return Err("another builder has this key, and nobody counts twice".to_owned());
        }
        self.name(name, Of::Builders, Quorum::Member(name.to_owned()), 0)?;
        self.builders.insert(name.to_owned(), Builder { key, org });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Said<()> {
        let threshold = match threshold {
            "all" => members.len(),
            "any" => 1,
            count => number(count).filter(|count| (1..=members.len()).contains(count)).ok_or_else(
                || format!("`{count}` is not `all`, `any`, or 1 to {}", members.len()),
            )?,
        };
        let mut rules = Vec::new();
        let (mut of, mut depth) = (None, 0);
        for member in members {
            let Some(found) = self.named.get(*member) else {
                return Err(format!("`{member}` is not defined above"));
            };
            if of.replace(found.of).is_some_and(|before| before != found.of) {
                return Err("witnesses and builders cannot stand in one group".to_owned());
            }
            if !self.taken.insert((*member).to_owned()) {
                return Err(format!("`{member}` is in a group already, and nobody counts twice"));
            }
            depth = depth.max(found.depth + 1);
            rules.push(found.rule.clone());
        }
        if depth > DEEPEST {
            return Err(format!("groups stand in groups more than {DEEPEST} deep"));
        }
        let of = of.ok_or("a group has members")?;
        self.name(name, of, Quorum::Group { threshold, members: rules }, depth)
    }

    fn name(&mut self, name: &str, of: Of, rule: Quorum, depth: usize) -> Said<()> {
        if name == "none" {
            return Err("`none` is nobody's name".to_owned());
        }
        if self.named.insert(name.to_owned(), Named { of, rule, depth }).is_some() {
            return Err(format!("`{name}` is defined twice"));
        }
        enough(self.named.len())
    }

    fn rule(&self, name: &str, of: Of) -> Said<Quorum> {
        if name == "none" {
            return Ok(Quorum::None);
        }
        match self.named.get(name) {
            Some(found) if found.of == of => Ok(found.rule.clone()),
            Some(_) if of == Of::Witnesses => Err(format!("`{name}` is of builders")),
            Some(_) => Err(format!("`{name}` is of witnesses")),
            None => Err(format!("`{name}` is not defined above")),
        }
    }

    fn finish(self, digest: Sha256) -> Said<Trust> {
        let Some(quorum) = self.quorum else {
            return Err(
                "there is no `quorum` line: say `quorum none` to need no witness".to_owned()
            );
        };
        if self.rebuild_quorum.is_none() && !self.builders.is_empty() {
            return Err("there are builders and no `rebuild-quorum` line: say `rebuild-quorum none` to need \
                        none of them"
                .to_owned());
        }
        let rebuild_quorum = self.rebuild_quorum.unwrap_or(Quorum::None);
        let own = |(_, witness): &(&String, &Witness)| {
            self.logs.iter().any(|log| log.key.same_key(&witness.key))
        };
        if let Some((name, _)) = self.witnesses.iter().find(own) {
            return Err(format!(
                "the witness `{name}` has a log's key: a log does not watch itself"
            ));
        }
        let own = |(_, builder): &(&String, &Builder)| {
            self.publishers.values().any(|key| *key == builder.key)
        };
        if let Some((name, _)) = self.builders.iter().find(own) {
            return Err(format!(
                "the builder `{name}` has a publisher's key: nobody is a second opinion on himself"
            ));
        }
        let distinct = self.distinct.unwrap_or_default();
        if distinct.org {
            let lacks = |name: &&str| self.builders.get(*name).is_some_and(|it| it.org.is_none());
            if let Some(name) = rebuild_quorum.names().into_iter().find(lacks) {
                return Err(format!("`distinct org` needs `org=` for the builder `{name}`"));
            }
            one_group_each(&rebuild_quorum, &self.builders)?;
        }
        // Which tools there are is known when they vote, and each group counts for itself.
        let nested = |rule: &Quorum| match rule {
            Quorum::Group { members, .. } => {
                members.iter().any(|member| matches!(member, Quorum::Group { .. }))
            }
            Quorum::None | Quorum::Member(_) => false,
        };
        if distinct.tool && nested(&rebuild_quorum) {
            return Err("`distinct tool` needs all builders in one group: a tool of two groups would count twice".to_owned());
        }
        Ok(Trust {
            digest,
            logs: self.logs,
            witnesses: self.witnesses,
            quorum,
            publishers: self.publishers,
            builders: self.builders,
            rebuild_quorum,
            on_disagree: self.on_disagree.unwrap_or_default(),
            distinct,
            max_age: self.max_age,
            min_sequence: self.min_sequence.unwrap_or(0),
        })
    }
}

/// The lines that a file may have.
const LINES: [(&str, &str); 11] = [
    ("log", "<vkey> [<url>]"),
    ("witness", "<name> <vkey> [<url>]"),
    ("group", "<name> <k|all|any> <member>..."),
    ("quorum", "<name|none>"),
    ("publisher", "<name> <key>"),
    ("builder", "<name> <key> [org=<org>]"),
    ("rebuild-quorum", "<name|none>"),
    ("on-disagree", "fail|note"),
    ("distinct", "org|tool|org,tool"),
    ("max-age", "<days>d"),
    ("min-sequence", "<n>"),
];

/// That the builders of one organisation stand in one group: in two, it would count twice.
fn one_group_each(rule: &Quorum, builders: &BTreeMap<String, Builder>) -> Said<()> {
    let mut groups = vec![rule];
    let mut home: BTreeMap<&str, usize> = BTreeMap::new();
    let mut index = 0;
    while let Some(Quorum::Group { members, .. }) = groups.get(index).copied() {
        for member in members {
            let Quorum::Member(name) = member else {
                groups.push(member);
                continue;
            };
            let org = builders.get(name).and_then(|builder| builder.org.as_deref());
            let Some(org) = org else { continue };
            if *home.entry(org).or_insert(index) != index {
                return Err(format!(
                    "builders of the organisation `{org}` stand in two groups, and it would count twice"
                ));
            }
        }
        index += 1;
    }
    Ok(())
}

/// Decimal, without a sign and without leading zeros.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

fn parse_vkey(text: &str) -> Said<VerifierKey> {
    text.parse().map_err(|error| format!("{error}"))
}

fn parse_key(text: &str) -> Said<PublicKey> {
    text.parse().map_err(|error| format!("{error}"))
}

fn enough(count: usize) -> Said<()> {
    (count <= MOST).then_some(()).ok_or_else(|| format!("more than {MOST} of a kind"))
}

fn once<T>(place: &mut Option<T>, value: T, keyword: &str) -> Said<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("a second `{keyword}` line")),
    }
}
