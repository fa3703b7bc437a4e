//! Writes a directory as an initrd and prints its SHA-256 and the peak memory it took: what
//! `benches/initrd.sh` times. Only the writer's work is done here: a tree whose contents are read
//! when they are written, hashed once on the way.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::env;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use counterfoil::digest::Sha256;
use counterfoil::image::cpio;
use counterfoil::input::local::{self, Local};
use counterfoil::names::Owner;
use counterfoil::tree::held::{FileRange, Held};
use counterfoil::tree::{Content, Entry, Node, Tree};

fn main() {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (root, out) = (arguments.next().unwrap(), arguments.next().unwrap());
    let mut tree = Tree::default();
    for (path, local) in local::list(&root, "the directory").unwrap() {
        let (entry, mode) = match local {
            Local::Directory => (Entry::Directory, 0o755),
            Local::Symlink(target) => (Entry::Symlink(target), 0o777),
            Local::File { executable } => {
                let held = Held::new(File::open(root.join(path.relative())).unwrap()).unwrap();
                let (size, blob) = (held.size(), Arc::new(FileRange::whole(held)));
                // The digest of each file is the lock's business, not the writer's.
                let content = Content { sha256: Sha256([0; 32]), size, blob };
                (Entry::File(content), if executable { 0o755 } else { 0o644 })
            }
        };
        let node = Node { entry, mode, owner: Owner::default(), origin: String::new() };
        tree.place(path, node).unwrap();
    }
    let mut out = BufWriter::new(File::create(out).unwrap());
    let object = cpio::write(&tree, &mut out).unwrap();
    out.flush().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!(
        "{} {} bytes, peak {}",
        object.sha256,
        object.size,
        peak.split_whitespace().nth(1).unwrap()
    );
}
