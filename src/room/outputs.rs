//! What a build left in `/build/out`, as a tar archive: sorted by path, times and owners zero, of the
//! modes only who may execute (POSIX.1-1988 `ustar`).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tar::{EntryType, Header};
use walkdir::WalkDir;

use crate::error::{Context as _, Error, Kind, Result};

pub(super) fn collect(directory: &Path, out: &mut dyn Write) -> Result<()> {
    let mut archive = tar::Builder::new(out);
    let mut files = 0;
    for entry in WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(io::Error::from).context(Kind::Environment, || {
            format!("failed reading the results in `{}`", directory.display())
        })?;
        let path = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let failed = || format!("failed keeping the result `{}`", path.display());
        let metadata =
            entry.metadata().map_err(io::Error::from).context(Kind::Environment, failed)?;
        let mut header = Header::new_ustar();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive
                .append_data(&mut header, path, io::empty())
                .context(Kind::Environment, failed)?;
        } else if metadata.is_file() {
            use std::os::unix::fs::PermissionsExt as _;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if executable { 0o755 } else { 0o644 });
            header.set_size(metadata.len());
            let file = File::open(entry.path()).context(Kind::Environment, failed)?;
            archive.append_data(&mut header, path, file).context(Kind::Environment, failed)?;
            files += 1;
        } else {
            let message = format!(
                "the build left `{}` in `/build/out`, which is neither a file nor a directory",
                path.display()
            );
            return Err(Error::new(Kind::Rejected, message).hint("copy what it leads to"));
        }
    }
    if files == 0 {
        return Err(Error::new(Kind::Rejected, "the build left no file in `/build/out`")
            .hint("a recipe's script copies its results there"));
    }
    archive.finish().context(Kind::Environment, || "failed keeping the results".to_owned())
}
