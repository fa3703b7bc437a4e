//! What was published with a release, read back: from its directory, and from a log.

use std::collections::BTreeMap;
use std::path::Path;

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::launch::record::Disclosure;
use crate::log::entry::Entry;
use crate::log::reader::Reader;
use crate::log::submit::statement_path;
use crate::log::tile::WIDTH;
use crate::log::tree::Tree;
use crate::log::{Checkpoint, Note, Proof, merkle};
use crate::names::VolumeName;
use crate::published::{Document, Known, Publication, Trust, View};
use crate::release::layout;
use crate::release::open::Release;
use crate::statement::bundle::Bundle;
use crate::statement::dsse::Envelope;
use crate::statement::launch::measurements;

/// The largest bundle or proof that is read.
const MOST: u64 = 64 << 20;

/// The most files of one kind that are read.
const MOST_FILES: usize = 1024;

const BUNDLE: &str = ".sigstore.json";

/// What stands in the release at `root`. Whether any of it holds is for [`crate::published`] to say.
///
/// # Errors
/// When something that is there cannot be read.
pub fn read(root: &Path) -> Result<Publication> {
    let statement = root.join(layout::STATEMENT_BUNDLE);
    let statement = statement.is_file().then(|| document(root, layout::STATEMENT_BUNDLE));
    let rebuilds = bundles(root, layout::REBUILDS)?.into_iter().map(|name| document(root, &name));
    let others = bundles(root, layout::STATEMENTS)?.into_iter().map(|name| {
        let bytes = bounded::at_most(&root.join(&name), MOST)?;
        let bundle = Bundle::from_json(&bytes)
            .context(Kind::Malformed, || format!("`{}`", root.join(&name).display()))?;
        Ok(bundle.envelope)
    });
    Ok(Publication {
        statement: statement.transpose()?,
        rebuilds: rebuilds.collect::<Result<_>>()?,
        others: others.collect::<Result<_>>()?,
    })
}

/// The bundles in a directory of the release, by name and in order.
fn bundles(root: &Path, directory: &str) -> Result<Vec<String>> {
    let path = root.join(directory);
    let entries = walkdir::WalkDir::new(&path).min_depth(1).max_depth(1).sort_by_file_name();
    let mut found = Vec::new();
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
        if entry.file_type().is_file() && name.ends_with(BUNDLE) {
            found.push(format!("{directory}/{name}"));
        }
        if found.len() > MOST_FILES {
            let message = format!("`{}` has more than {MOST_FILES} bundles", path.display());
            return Err(Error::new(Kind::Malformed, message));
        }
    }
    Ok(found)
}

fn document(root: &Path, name: &str) -> Result<Document> {
    let path = root.join(name);
    let stem = name.strip_suffix(BUNDLE).unwrap_or(name);
    let proof = root.join(format!("{stem}.tlog-proof"));
    let proof = proof.symlink_metadata().is_ok().then(|| bounded::at_most(&proof, MOST));
    Ok(Document {
        name: name.to_owned(),
        bundle: bounded::at_most(&path, MOST)?,
        proof: proof.transpose()?,
    })
}

/// The release as its files say it. The large ones count by the digests that its launch record has of them; that
/// they are these is checked by [`Release::check_artifacts`].
///
/// # Errors
/// When a file cannot be read.
pub fn known(release: &Release) -> Result<Known> {
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
    let igvm = release.path(layout::IGVM_RECORD);
    if igvm.is_file() {
        files.insert(layout::IGVM_RECORD.to_owned(), Sha256::of(bounded::whole(&igvm)?));
    }
    let measurements = measurements(record, release.igvm.as_ref())
        .context(Kind::Malformed, || format!("`{}`", release.root.display()))?;
    Ok(Known { files, measurements })
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
/// entries by publishers say, which is added to the publication.
///
/// # Errors
/// When the log cannot be read, or is damaged.
pub fn look(place: &str, trust: &Trust, publication: &mut Publication) -> Result<Looked> {
    let reader = Reader::open(place)?;
    let note = reader.checkpoint()?;
    let head = Checkpoint::parse(&note.text)
        .context(Kind::Malformed, || format!("`{}`", reader.name("checkpoint")))?;
    let mut tree = Tree::open(&reader, &head)?;
    let mut roots = BTreeMap::new();
    for size in sizes(publication) {
        if size <= head.size {
            roots.insert(size, merkle::root(&mut tree, size)?);
        }
    }
    let own = publication.statement.as_ref().and_then(|document| {
        Bundle::from_json(&document.bundle).ok().map(|bundle| bundle.envelope)
    });
    for index in 0..head.size.div_ceil(u64::from(WIDTH)) {
        for body in tree.entries(index)? {
            // Entries of other kinds are other people's.
            let Ok(entry) = Entry::from_body(&body) else { continue };
            if !trust.publishers.values().any(|key| *key == entry.key) {
                continue;
            }
            let envelope = served(&reader, &entry)?;
            if own.as_ref() != Some(&envelope) {
                publication.others.push(envelope);
            }
        }
    }
    Ok(Looked { note, roots })
}

/// What was signed, of an entry that a publisher made. A log that does not show it may hide a revocation.
fn served(reader: &Reader, entry: &Entry) -> Result<Envelope> {
    let path = statement_path(&entry.digest);
    let not_there = |what: &str| {
        Error::new(Kind::CannotDecide, format!("`{}` {what}", reader.name(&path))).hint(
            "the log has an entry of this publisher, and does not show what was said: it may be a revocation",
        )
    };
    let payload = reader.get(&path, MOST)?.ok_or_else(|| not_there("is not there"))?;
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
