//! What was published with a release, read back: from its directory, and from a log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result, in_one_line};
use crate::input::bounded;
use crate::launch::record::Disclosure;
use crate::layout;
use crate::log::entry::Entry;
use crate::log::reader::Reader;
use crate::log::submit::statement_path;
use crate::log::tile::WIDTH;
use crate::log::tree::Tree;
use crate::log::{Note, Proof, merkle, prove};
use crate::names::VolumeName;
use crate::published::{self, Document, Known, Publication, Trust, View};
use crate::release::open::Release;
use crate::release::subjects::sha256;
use crate::report::Time;
use crate::statement::bundle::{self, Bundle};
use crate::statement::dsse::{Envelope, MAX_PAYLOAD};
use crate::statement::intoto::Statement;
use crate::statement::launch::measurements;
use crate::statement::provenance::{Provenance, REBUILD};

/// The most files of one kind that are read, and the most bytes of them: they are held at once.
const MOST_FILES: usize = 1024;
const MOST_BYTES: u64 = 256 << 20;

const BUNDLE: &str = ".sigstore.json";

/// The most entries of a log: it is read from its first to its last.
const MOST_ENTRIES: u64 = 1 << 30;

/// What stands in the release at `root`. Whether any of it holds is for [`crate::published`] to say.
///
/// # Errors
/// When something that is there cannot be read, or `statement.json` is not what was signed.
pub fn read(root: &Path) -> Result<Publication> {
    let statement = root.join(layout::STATEMENT_BUNDLE);
    let statement = statement.symlink_metadata().is_ok();
    let statement = statement.then(|| document(root, layout::STATEMENT_BUNDLE)).transpose()?;
    let rebuilds = bundles(root, layout::REBUILDS)?.into_iter().map(|name| document(root, &name));
    let mut publication = Publication {
        statement,
        words: words(root)?,
        rebuilds: rebuilds.collect::<Result<_>>()?,
        ..Publication::default()
    };
    for name in bundles(root, layout::STATEMENTS)? {
        match Bundle::from_json(&file(root, &name)?) {
            Ok(bundle) => publication.others.push(bundle.envelope),
            // Anybody can put a file there.
            Err(error) => publication.notes.push(format!("{name}: {}", in_one_line(&error))),
        }
    }
    Ok(publication)
}

/// The words of the statement: people read and pass on these.
fn words(root: &Path) -> Result<Option<Vec<u8>>> {
    let is_there = root.join(layout::STATEMENT).symlink_metadata().is_ok();
    is_there.then(|| file(root, layout::STATEMENT)).transpose()
}

/// The bundles in a directory of the release, by name and in order.
fn bundles(root: &Path, directory: &str) -> Result<Vec<String>> {
    let path = root.join(directory);
    let entries = walkdir::WalkDir::new(&path).min_depth(1).max_depth(1).sort_by_file_name();
    let (mut found, mut size) = (Vec::new(), 0);
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            // A release without rebuilds is one.
            Err(_) if !path.exists() => return Ok(found),
            Err(error) => {
                let message = format!("failed reading `{}`", path.display());
                return Err(Error::caused(Kind::Environment, message, error));
            }
        };
        let name = entry.file_name().to_string_lossy();
        if name.ends_with(BUNDLE) {
            found.push(format!("{directory}/{name}"));
        }
        size += entry.metadata().map_or(0, |metadata| metadata.len());
        if found.len() > MOST_FILES || size > MOST_BYTES {
            let message = format!(
                "`{}` has more than {MOST_FILES} bundles, or more than {} MiB of files",
                path.display(),
                MOST_BYTES >> 20
            );
            return Err(Error::new(Kind::Malformed, message)
                .hint("take away what is not needed: one bundle a builder is enough"));
        }
    }
    Ok(found)
}

fn document(root: &Path, name: &str) -> Result<Document> {
    let stem = name.strip_suffix(BUNDLE).unwrap_or(name);
    let proof = format!("{stem}.tlog-proof");
    let has_proof = root.join(&proof).symlink_metadata().is_ok();
    Ok(Document {
        name: name.to_owned(),
        bundle: file(root, name)?,
        proof: has_proof.then(|| file(root, &proof)).transpose()?,
    })
}

/// A file of the release. A link leads out of it, and a pipe would be waited for.
fn file(root: &Path, name: &str) -> Result<Vec<u8>> {
    let path = root.join(name);
    let mut above = path.ancestors().skip(1).take_while(|above| *above != root);
    let linked = above.any(|above| above.symlink_metadata().is_ok_and(|it| it.is_symlink()));
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() || linked => {
            let message = format!("`{}` is not a regular file of the release", path.display());
            Err(Error::new(Kind::Malformed, message).hint("a release holds files and no links"))
        }
        _ => bounded::at_most(&path, bundle::MAX_BYTES),
    }
}

/// The release as its files say it. The large ones count by the digests that its launch record has of them; that
/// they are these is checked by [`Release::check_artifacts`], and `is_read` says whether it was.
///
/// # Errors
/// When a file cannot be read.
pub fn known(release: &Release, is_read: bool) -> Result<Known> {
    let record = &release.record;
    let mut files = BTreeMap::new();
    let small = [
        layout::RECORD,
        layout::INVENTORY,
        layout::SBOM,
        layout::THREAT_MODEL,
        layout::MANIFEST,
        layout::LOCK,
    ];
    for name in small {
        files.insert(name.to_owned(), Sha256::of(bounded::whole(&release.path(name))?));
    }
    files.insert(layout::FIRMWARE.to_owned(), record.firmware.sha256);
    if let Some(boot) = &record.boot {
        files.insert(layout::KERNEL.to_owned(), boot.kernel.sha256);
        if let Some(initrd) = &boot.initrd {
            files.insert(layout::INITRD.to_owned(), initrd.sha256);
        }
        files.insert(layout::CMDLINE.to_owned(), Sha256::of(&boot.cmdline));
    }
    for volume in &record.volumes {
        let Ok(name) = volume.name.parse::<VolumeName>() else { continue };
        let path = layout::volume_record(&name);
        if volume.disclosure != Disclosure::None && release.path(&path).is_file() {
            files.insert(path.clone(), Sha256::of(bounded::whole(&release.path(&path))?));
        }
    }
    if is_read {
        // No record has the digests of these; a volume's root hash is in its record.
        let volumes = record.volumes.iter().filter(|it| it.disclosure == Disclosure::Public);
        let volumes = volumes.filter_map(|it| it.name.parse().ok()).map(|it| layout::volume(&it));
        for name in volumes.chain([layout::IGVM.to_owned()]) {
            let path = release.path(&name);
            if path.is_file() {
                files.insert(name, sha256(&path)?);
            }
        }
    }
    let igvm = release.path(layout::IGVM_RECORD);
    if igvm.is_file() {
        files.insert(layout::IGVM_RECORD.to_owned(), Sha256::of(bounded::whole(&igvm)?));
    }
    let measurements = measurements(record, release.igvm.as_ref())
        .context(Kind::Malformed, || format!("`{}`", release.root.display()))?;
    Ok(Known { files, measurements, is_read })
}

/// A log that is looked into beside a release.
pub struct Looked {
    note: Note,
    /// The roots of those of its earlier trees that were asked for, as far as it shows them.
    roots: BTreeMap<u64, Sha256>,
}

impl View for Looked {
    fn checkpoint(&self) -> &Note {
        &self.note
    }

    fn root(&self, size: u64) -> Option<Sha256> {
        self.roots.get(&size).copied()
    }
}

/// Looks into the log at `place`: which trees it shows of the sizes in the publication's proofs, and what its
/// entries by publishers and builders say, which is added to the publication. A log whose checkpoint is none to go
/// by at that time is not looked into any further.
///
/// # Errors
/// When the log cannot be read, or is damaged, or does not show what somebody whose word counts has signed.
pub fn look(
    place: &str,
    trust: &Trust,
    release: &Known,
    at: Time,
    publication: &mut Publication,
) -> Result<Looked> {
    let reader = Reader::open(place)?;
    let note = reader.checkpoint()?;
    let mut roots = BTreeMap::new();
    let Some(head) = published::to_go_by(&note, trust, at) else {
        return Ok(Looked { note, roots });
    };
    let mut tree = Tree::open(&reader, &head)?;
    // What is found in the log below is proved by the tree that it shows.
    for size in sizes(publication).into_iter().chain([head.size]) {
        if size <= head.size {
            roots.insert(size, merkle::root(&mut tree, size)?);
        }
    }
    if head.size > MOST_ENTRIES {
        let message = format!("`{place}` has more than {MOST_ENTRIES} entries, and all are read");
        return Err(Error::new(Kind::Environment, message));
    }
    // Whatever a directory has under a builder's name counts there only if it is signed by him.
    let mut known: BTreeSet<(Sha256, String)> =
        publication.rebuilds.iter().filter_map(|document| signed(document, trust)).collect();
    let mut size = 0;
    for tile in 0..head.size.div_ceil(u64::from(WIDTH)) {
        let bodies = tree.entries(tile)?;
        for (index, body) in (tile * u64::from(WIDTH)..).zip(bodies) {
            // Entries of other kinds are other people's.
            let Ok(entry) = Entry::from_body(&body) else { continue };
            let own = (entry.digest, entry.key.to_string());
            if trust.publishers.values().any(|key| *key == entry.key) {
                if known.insert(own) {
                    let envelope = served(&reader, &entry)?;
                    size += envelope.payload.len() as u64;
                    publication.others.push(envelope);
                }
            } else if trust.builders.values().any(|builder| builder.key == entry.key) {
                if known.contains(&own) {
                    continue;
                }
                let envelope = served(&reader, &entry)?;
                // A rebuild that somebody has left out of the directory.
                if is_on(&envelope.payload, release) && known.insert(own) {
                    size += envelope.payload.len() as u64;
                    let proof = prove::inclusion(&mut tree, &note, index)?;
                    publication.rebuilds.push(from_log(envelope, &entry, trust, proof)?);
                }
            }
            if size > MOST_BYTES {
                let message = format!(
                    "`{place}` has statements of more than {} MiB by those whom the policy names",
                    MOST_BYTES >> 20
                );
                return Err(Error::new(Kind::Malformed, message));
            }
        }
    }
    Ok(Looked { note, roots })
}

/// What a builder has signed, and with which key, if one has.
fn signed(document: &Document, trust: &Trust) -> Option<(Sha256, String)> {
    let envelope = Bundle::from_json(&document.bundle).ok()?.envelope;
    let mut builders = trust.builders.values();
    let builder = builders.find(|builder| envelope.verify(&builder.key).is_ok())?;
    Some((envelope.digest(), builder.key.to_string()))
}

/// Whether it is a rebuild of this release. What cannot be read and names it may be a disagreement.
fn is_on(payload: &[u8], release: &Known) -> bool {
    let Ok(statement) = Statement::<Provenance>::from_json(payload) else {
        return published::may_be_on(payload, release);
    };
    let definition = statement.predicate.build_definition;
    let lock = definition.external_parameters.recipe.lock.sha256;
    definition.build_type == REBUILD && release.files.get(layout::LOCK) == Some(&lock)
}

/// A statement as it would stand in a release.
fn from_log(envelope: Envelope, entry: &Entry, trust: &Trust, proof: Proof) -> Result<Document> {
    let name = format!("entry {} of the log", proof.index);
    let bundle = Bundle::new(envelope, &entry.key);
    let origin = proof.checkpoint.text.lines().next().unwrap_or_default();
    let log = trust.logs.iter().find(|log| log.key.name() == origin);
    let bundle = match log.map(|log| log.key.clone()) {
        Some(log) => bundle.with_proof(entry.key, &log, proof),
        None => Ok(bundle),
    };
    let json = bundle.and_then(|bundle| bundle.to_json());
    Ok(Document { bundle: json.context(Kind::Malformed, || name.clone())?, name, proof: None })
}

/// What was signed, of an entry by somebody whose word counts. A log that does not show it may hide a revocation,
/// or a disagreement.
fn served(reader: &Reader, entry: &Entry) -> Result<Envelope> {
    let path = statement_path(&entry.digest);
    let not_there = |what: &str| {
        Error::new(Kind::CannotDecide, format!("`{}` {what}", reader.name(&path))).hint(
            "the log has an entry of somebody whom the policy names, and does not show what was said: it may be a \
             revocation, or a rebuilder who got something else",
        )
    };
    let payload =
        reader.get(&path, MAX_PAYLOAD as u64)?.ok_or_else(|| not_there("is not there"))?;
    let envelope = Envelope { payload, signature: entry.signature };
    match envelope.digest() == entry.digest {
        true => Ok(envelope),
        false => Err(not_there("is not what was signed")),
    }
}

/// The sizes of the trees in the proofs.
fn sizes(publication: &Publication) -> Vec<u64> {
    let documents = publication.statement.iter().chain(&publication.rebuilds);
    let proofs = documents.flat_map(|document| {
        let beside = document.proof.as_deref().and_then(|bytes| Proof::from_bytes(bytes).ok());
        let within = Bundle::from_json(&document.bundle).ok().and_then(|bundle| bundle.logged);
        beside.into_iter().chain(within.map(|logged| logged.proof))
    });
    proofs.filter_map(|proof| proof.tree_head().ok()).map(|head| head.size).collect()
}
