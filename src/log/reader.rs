//! A log's files, from a directory or from wherever it is served. Nothing that comes from here is believed yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::input::http::{self, Client};
use crate::log::note::{self, Note};
use crate::log::reason::Reason;
use crate::log::tile::Tile;

/// The signed tree head (tlog-tiles, Checkpoints).
pub const CHECKPOINT: &str = "checkpoint";

/// Where a log is read from.
#[derive(Clone, Debug)]
pub struct Reader {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    /// The prefix, without its last slash.
    Served(Box<Client>, String),
}

impl Reader {
    /// The log in a directory.
    pub fn directory(path: &Path) -> Self {
        Self { place: Place::Directory(path.to_owned()) }
    }

    /// The log at a URL, or in a directory.
    ///
    /// # Errors
    /// [`Kind::Usage`] when no client can be made.
    pub fn open(place: &str) -> Result<Self> {
        if !place.contains("://") {
            return Ok(Self::directory(Path::new(place)));
        }
        let client = Client::new(&http::Settings::default())
            .context(Kind::Usage, || format!("`{}`", http::without_credentials(place)))?;
        let prefix = place.trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Served(Box::new(client), prefix) })
    }

    /// What to call one of its files in front of a person.
    pub fn name(&self, path: &str) -> String {
        match &self.place {
            Place::Directory(directory) => directory.join(path).display().to_string(),
            Place::Served(_, prefix) => http::without_credentials(&format!("{prefix}/{path}")),
        }
    }

    /// A file that has at most `most` bytes; `None` when there is none.
    ///
    /// # Errors
    /// [`Kind::Environment`] when it cannot be read, [`Kind::Malformed`] when it is larger or no regular file.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(path);
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => bounded::at_most(&path, most).map(Some),
                    // Whoever opens a pipe waits for somebody to write to it.
                    Ok(_) => {
                        let message = format!("`{}` is no regular file", path.display());
                        Err(Error::new(Kind::Malformed, message)
                            .hint("a log is made of files, or links to files: copy it again"))
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                        ) =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(bounded::failed(&path, error)),
                }
            }
            Place::Served(client, prefix) => {
                match client.get_small(&format!("{prefix}/{path}"), most) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(http::Error::NotFound { .. }) => Ok(None),
                    Err(error) => {
                        let kind = match &error {
                            http::Error::TooLarge { .. } => Kind::Malformed,
                            _ => Kind::Environment,
                        };
                        Err(Error::caused(kind, "failed reading the log", error))
                    }
                }
            }
        }
    }

    /// The checkpoint, with all its signatures.
    ///
    /// # Errors
    /// As [`Reader::get`]; [`Kind::Environment`] when there is no log, [`Kind::Malformed`] when it is no note.
    pub fn checkpoint(&self) -> Result<Note> {
        let bytes = self.get(CHECKPOINT, note::MAX_BYTES as u64)?.ok_or_else(|| {
            let message = format!("there is no log: no `{}`", self.name(CHECKPOINT));
            Error::new(Kind::Environment, message)
                .hint("give the directory or the URL below which `checkpoint` and `tile/` are")
                .hint("an empty log is made by `counterfoil log init`")
        })?;
        Note::from_bytes(&bytes)
            .context(Kind::Malformed, || format!("`{}` is no checkpoint", self.name(CHECKPOINT)))
    }

    /// A tile. One that is not full may have gone when the full one came (tlog-tiles, Partial Tiles).
    ///
    /// # Errors
    /// As [`Reader::get`]; [`Kind::CannotDecide`] when it is not there, [`Kind::Rejected`] when it is not as long as
    /// it must be.
    pub fn tile(&self, tile: Tile) -> Result<Vec<u8>> {
        let damaged = |path: String, error| {
            let message = format!("`{}` is damaged: {error}", self.name(&path));
            Error::caused(Kind::Rejected, message, Reason::Damaged)
        };
        let path = tile.to_string();
        if let Some(bytes) = self.read(&path, tile)? {
            let right = match tile.content {
                super::tile::Content::Hashes(_) => tile.hashes(&bytes).map(drop),
                super::tile::Content::Entries => tile.entries(&bytes).map(drop),
            };
            return right.map(|()| bytes).map_err(|error| damaged(path, error));
        }
        let full = tile.full();
        let found = if tile.is_full() { None } else { self.read(&full.to_string(), full)? };
        match found {
            Some(bytes) => tile.cut(&bytes).map_err(|error| damaged(full.to_string(), error)),
            None => {
                let message = format!("`{}` is not there", self.name(&path));
                Err(Error::caused(Kind::CannotDecide, message, Reason::Missing).hint(
                    "the checkpoint promises it: copy the log again, tiles before the checkpoint",
                ))
            }
        }
    }

    fn read(&self, path: &str, tile: Tile) -> Result<Option<Vec<u8>>> {
        match self.get(path, tile.most()) {
            Err(error) if error.kind() == Kind::Malformed => {
                let message =
                    format!("`{}` is damaged: it is too large, or no file", self.name(path));
                Err(Error::caused(Kind::Rejected, message, Reason::Damaged))
            }
            result => result,
        }
    }
}
