//! Compiling from source: from locked inputs to a result that is pinned like any other input.
//!
//! A result is kept by the digest of everything that shapes it, and taken from there only if this
//! store built it itself: a lock may say what it likes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::fetch::Fetcher;
use crate::input::open::Opener;
use crate::manifest::Manifest;
use crate::manifest::lock::{Lock, LockedBuild, LockedInput};
use crate::manifest::types::{Build, Part};
use crate::names::{GuestPath, Line, Name, Owner};
use crate::room::{self, Work};
use crate::tree::{Entry, Node, Tree};
use crate::yaml::emit;

/// Everything that shapes a result. Its text is what is digested.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Recipe<'a> {
    rules: &'static str,
    room: Vec<Sha256>,
    links: &'a BTreeMap<GuestPath, Line>,
    files: BTreeMap<&'a GuestPath, (Sha256, &'a Option<GuestPath>)>,
    run: &'a [Line],
}

/// The digest of everything that shapes the result of `build`, whose inputs `lock` has.
///
/// # Errors
/// [`Kind::Rejected`] when the lock lacks one.
pub(super) fn recipe(build: &Build, lock: &Lock) -> Result<Sha256> {
    let room = build.room.iter().map(|from| shape(&from.value, lock));
    let files = build
        .files
        .iter()
        .map(|(path, part)| Ok((path, (shape(&part.from.value, lock)?, &part.source))));
    let recipe = Recipe {
        rules: room::EPOCH,
        room: room.collect::<Result<_>>()?,
        links: &build.links,
        files: files.collect::<Result<_>>()?,
        run: &build.run,
    };
    Ok(Sha256::of(emit(&recipe)))
}

/// What an input is, without where it is from.
fn shape(name: &Name, lock: &Lock) -> Result<Sha256> {
    let input = lock.inputs.get(name).ok_or_else(|| {
        Error::new(Kind::Rejected, format!("the lock has no input `{name}`"))
            .hint("run `counterfoil lock` again")
    })?;
    Ok(match input {
        LockedInput::Deb(packages) => {
            let data: Vec<Sha256> = packages.iter().map(|package| package.data.sha256).collect();
            Sha256::of(emit(&data))
        }
        LockedInput::Source(source) => {
            let parts: BTreeMap<_, _> =
                source.parts.iter().map(|(path, part)| (path, part.sha256)).collect();
            Sha256::of(emit(&parts))
        }
        LockedInput::File(object) => object.sha256,
        LockedInput::Url(url) => url.sha256,
        LockedInput::Tar(tar) => tar.data.sha256,
        LockedInput::Sdist(sdist) => sdist.data.sha256,
        LockedInput::Dir(entries) => Sha256::of(emit(entries)),
        LockedInput::Build(build) => build.result.sha256,
        LockedInput::Builtin(program) => {
            lock.builtin.get(program).map(|object| object.sha256).ok_or_else(|| {
                Error::new(Kind::Rejected, format!("the lock does not name `{program}`"))
            })?
        }
    })
}

impl Fetcher<'_> {
    /// The result of a recipe, which is then in the store. It is compiled only if this store has not
    /// done so before.
    ///
    /// # Errors
    /// As [`room::Room::run`]; nothing is kept then but the log.
    pub(super) fn compile(
        &self,
        name: &Name,
        build: &Build,
        recipe: Sha256,
        lock: &Lock,
        manifest: &Manifest,
        directory: &std::path::Path,
    ) -> Result<Object> {
        let what = format!("input `{name}`");
        if let Some(result) = self.store.built(recipe) {
            self.progress.detail(&format!("{what}: built before, in the store"));
            return Ok(result);
        }
        // Two processes that want the same thing: the second waits, and finds it.
        let guard = self.store.partial(recipe)?;
        if let Some(result) = self.store.built(recipe) {
            return Ok(result);
        }
        for from in build.inputs().map(|from| &from.value) {
            if let Some(input) = lock.inputs.get(from) {
                self.fill_input(from, input, manifest, directory)?;
            }
        }
        let opener = Opener { lock, store: self.store, manifest, directory: Some(directory) };
        let tree = furnished(build, &opener).map_err(|error| error.context(what.clone()))?;
        let log = self.store.log_path(recipe);
        self.progress.begin(&format!("compiling {what}"), None);
        self.progress.detail(&format!("{what}: what the build says goes to `{}`", log.display()));
        let place = self.store.temporary_directory()?;
        let work = Work { tree: &tree, run: &build.run };
        let root = place.path().join("room");
        let made = std::fs::create_dir(&root)
            .context(Kind::Environment, || format!("failed making `{}`", root.display()));
        let result = made.and_then(|()| {
            self.store.put_with(|out| self.room.run(&work, &root, &log, &mut &mut *out))
        });
        self.progress.end();
        let result = result.map_err(|error| error.context(format!("{what} cannot be compiled")))?;
        self.store.note_built(recipe, result)?;
        drop(guard);
        Ok(result)
    }

    /// Sees to it that what a lock says a recipe gives is what it gives.
    ///
    /// # Errors
    /// As [`Fetcher::compile`]; [`Kind::Rejected`] when the two differ.
    pub(super) fn rebuild(
        &self,
        name: &Name,
        build: &Build,
        locked: LockedBuild,
        lock: &Lock,
        manifest: &Manifest,
        directory: &std::path::Path,
    ) -> Result<()> {
        let recipe = recipe(build, lock)?;
        if recipe != locked.recipe {
            let message = format!(
                "input `{name}`: the lock's recipe is {}, its inputs and the manifest make {recipe}",
                locked.recipe
            );
            return Err(Error::new(Kind::Rejected, message)
                .hint("the lock was altered, or made by another counterfoil; lock again"));
        }
        // A script that was changed since is another recipe, whatever the store knows of the locked one.
        let opener = Opener { lock, store: self.store, manifest, directory: Some(directory) };
        for from in build.inputs().map(|from| &from.value) {
            if let Some(LockedInput::File(_) | LockedInput::Dir(_)) = lock.inputs.get(from) {
                opener.open(from)?;
            }
        }
        let result = self.compile(name, build, recipe, lock, manifest, directory)?;
        if result == locked.result {
            return Ok(());
        }
        let message = format!(
            "input `{name}`: compiled here it is sha256 {}, the lock says {}",
            result.sha256, locked.result.sha256
        );
        Err(Error::new(Kind::Rejected, message).hint(format!(
            "the same source and tools gave other bytes: either the lock does not tell the truth or \
             the recipe lets the machine show; what was built is in the store, the log in `{}`",
            self.store.log_path(recipe).display()
        )))
    }
}

/// The room with everything in it.
fn furnished(build: &Build, opener: &Opener<'_>) -> Result<Tree> {
    let mut tree = Tree::default();
    let place = |tree: &mut Tree, path: GuestPath, node: Node| {
        tree.place(path, node)
            .context(Kind::Malformed, || "the room cannot be furnished".to_owned())
    };
    for (link, target) in MERGED.iter().map(|(link, target)| (*link, *target)) {
        let (path, target) = (guest_path(link)?, line(target)?);
        place(&mut tree, path, made(Entry::Symlink(target)))?;
    }
    let root = GuestPath::root();
    for from in &build.room {
        for (path, node) in opener.open(&from.value)?.take(&root, &root)? {
            let Some(path) = kept(&path)? else { continue };
            // Packages disagree on the modes of directories; none of them matters here.
            let node = match node.entry {
                Entry::Directory => made(Entry::Directory),
                _ => node,
            };
            place(&mut tree, path, node)?;
        }
    }
    for (path, target) in &build.links {
        place(&mut tree, path.clone(), made(Entry::Symlink(target.clone())))?;
    }
    for (path, Part { from, source }) in &build.files {
        let opened = opener.open(&from.value)?;
        let source = source.as_ref().unwrap_or(if opened.is_file() { path } else { &root });
        for (path, node) in opened.take(source, path)? {
            place(&mut tree, path, node)?;
        }
    }
    Ok(tree)
}

/// Where a package's path is in the room; `None` for what no build reads.
fn kept(path: &GuestPath) -> Result<Option<GuestPath>> {
    let text = path.as_str();
    let below = |directory: &str| {
        text.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if UNREAD.iter().any(|directory| below(directory))
        || MERGED.iter().any(|(link, _)| text == *link)
    {
        return Ok(None);
    }
    match MERGED.iter().any(|(link, _)| below(link)) {
        true => guest_path(&format!("/usr{text}")).map(Some),
        false => Ok(Some(path.clone())),
    }
}

/// Every Debian since 12 has these (Debian Policy 9.1.1), from a maintainer script.
const MERGED: &[(&str, &str)] =
    &[("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64"), ("/sbin", "usr/sbin")];

const UNREAD: &[&str] = &[
    "/usr/share/doc",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
];

fn made(entry: Entry) -> Node {
    let mode = if matches!(entry, Entry::Symlink(_)) { 0o777 } else { 0o755 };
    Node { entry, mode, owner: Owner::default(), origin: "counterfoil".to_owned() }
}

fn guest_path(text: &str) -> Result<GuestPath> {
    text.parse().context(Kind::Malformed, || format!("`{text}` in the room"))
}

fn line(text: &str) -> Result<Line> {
    text.parse().context(Kind::Malformed, || format!("`{text}` in the room"))
}
