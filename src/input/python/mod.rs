//! Source distributions from a Python package index: where a file is that the manifest pins by digest.
//!
//! Nothing is resolved and nobody is trusted: package, version and SHA-256 stand in the manifest. An
//! index is asked for one page (PEP 503) that says where the file may be had. Which index, the host says.

pub mod config;
pub mod page;

use self::page::Link;
use crate::digest::{Object, Sha256};
use crate::error::{Error, Kind, Result};
use crate::input::fetch::{Fetcher, fetch_error};
use crate::manifest::lock::LockedSdist;
use crate::manifest::types::Sdist;
use crate::names::ProjectName;

/// The largest page of one project that is read, in bytes; those of projects with daily releases have
/// some ten million.
const MAX_PAGE: u64 = 64 << 20;

/// How many versions a message names.
const SHOWN: usize = 8;

impl Fetcher<'_> {
    /// The source distribution that a manifest pins, which is then in the store, unpacked.
    ///
    /// # Errors
    /// [`Kind::CannotDecide`] when no index is configured, or it lacks the file; [`Kind::Rejected`] when
    /// it has another under its name; [`Kind::Malformed`] when what it answers is no page.
    pub(super) fn sdist(&self, sdist: &Sdist, what: &str) -> Result<LockedSdist> {
        let Sdist { package, version, sha256 } = sdist;
        let links = self.links(package, what)?;
        let wanted = page::normalized(package.as_str());
        let of = |link: &Link| {
            let (name, version) = page::sdist(&link.file)?;
            (page::normalized(name) == wanted).then(|| version.to_owned())
        };
        let found = links.iter().find(|link| of(link).as_deref() == Some(version.as_str()));
        let Some(link) = found else {
            let mut versions: Vec<_> = links.iter().filter_map(of).collect();
            let more = if versions.len() > SHOWN { "…, " } else { "" };
            let hint = match versions.split_off(versions.len().saturating_sub(SHOWN)).join(", ") {
                none if none.is_empty() => "it has no .tar.gz of any version".to_owned(),
                last => format!("it has, in its order: {more}{last}"),
            };
            let message =
                format!("{what}: the index has no source distribution of `{package}` {version}");
            return Err(Error::new(Kind::CannotDecide, message).hint(hint));
        };
        must_be(link, *sha256, what)?;
        let object = self.url(&link.url, *sha256, what)?;
        let data = self.unpack_tar(object, what)?;
        Ok(LockedSdist {
            package: package.clone(),
            version: version.clone(),
            // A name that a link has is one line.
            file: link.file.parse().map_err(|error| Error::caused(Kind::Malformed, what, error))?,
            sha256: object.sha256,
            size: object.size,
            data,
        })
    }

    /// Sees to it that a locked source distribution is in the store, as received.
    ///
    /// # Errors
    /// As [`Fetcher::sdist`].
    pub(super) fn locked_sdist(&self, sdist: &LockedSdist, what: &str) -> Result<()> {
        let object = sdist.packed();
        if self.store.contains(object) {
            return Ok(());
        }
        let links = self.links(&sdist.package, what)?;
        let Some(link) = links.iter().find(|link| link.file == sdist.file.as_str()) else {
            let message = format!("{what}: the index has no `{}` any more", sdist.file);
            return Err(lost(Error::new(Kind::CannotDecide, message), object));
        };
        must_be(link, sdist.sha256, what)?;
        self.download(std::slice::from_ref(&link.url), object, what)
    }

    /// Every file that the index has of a project.
    fn links(&self, package: &ProjectName, what: &str) -> Result<Vec<Link>> {
        self.must_be_online(what)?;
        let Some(index) = self.python_index else {
            let message =
                format!("{what}: no Python package index is configured to fetch `{package}` from");
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("say one with `--python-index URL`, in COUNTERFOIL_PYTHON_INDEX, or as pip is told: in PIP_INDEX_URL, or as `index-url` under [global] in pip.conf")
                .hint("`python3 -m pip config list` shows what pip is told; its built-in index is not ours to choose"));
        };
        let mut address =
            format!("{}/{}/", index.trim_end_matches('/'), page::normalized(package.as_str()));
        if address.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
            // As pip has it for indexes on a disk.
            address += "index.html";
        }
        let shown = crate::input::http::without_credentials(&address);
        self.progress.detail(&format!("{what}: asking {shown}"));
        let (address, bytes) =
            self.client.get_page(&address, MAX_PAGE).map_err(|error| fetch_error(error, what))?;
        let links = page::links(&String::from_utf8_lossy(&bytes), &address);
        if links.is_empty() {
            let message = format!(
                "{what}: `{shown}` is no page of a Python package index: it links to no file"
            );
            return Err(Error::new(Kind::Malformed, message).hint(
                "expected HTML as PEP 503 has it; an index's address often ends in `/simple`",
            ));
        }
        Ok(links)
    }
}

/// An index that knows of another file by this name is not asked for it.
fn must_be(link: &Link, sha256: Sha256, what: &str) -> Result<()> {
    match link.sha256.filter(|said| *said != sha256) {
        Some(said) => {
            let message = format!(
                "{what}: expected sha256 {sha256}, the index says that `{}` is {said}",
                link.file
            );
            Err(Error::new(Kind::Rejected, message)
                .hint("either the digest was copied wrong, or the file is not what it was"))
        }
        None => Ok(()),
    }
}

fn lost(error: Error, object: Object) -> Error {
    let Object { sha256, size } = object;
    error
        .hint(format!(
            "if somebody has a bundle of this lock, import it (sha256 {sha256}, {size} bytes)"
        ))
        .hint("or ask another index with `--python-index URL`")
}
