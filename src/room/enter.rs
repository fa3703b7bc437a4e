//! Going into the room, in two steps, each in a process of its own: the first leaves the host's
//! namespaces, the second, which is process 1 of the new ones, puts the room in the place of the
//! host's file system and becomes the build.
//!
//! Nothing here outlives whoever asked for it: each process is killed when its parent is, and with
//! process 1 everything in the room.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::fs::Mode;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use crate::error::{Error, Kind};
use crate::lifetime;
use crate::room::BUILD;

/// By whose leave a room is entered. What is built in it is the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Privilege {
    /// Nobody's: in a user namespace.
    User,
    /// The machine's root, who needs none.
    Root,
}

impl Privilege {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Root => "root",
        }
    }

    /// What the word means.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::User, Self::Root].into_iter().find(|one| one.name() == name)
    }
}

/// The host name in the room.
const HOST_NAME: &[u8] = b"room";

/// The devices in the room, the host's own.
const DEVICES: [&str; 5] = ["full", "null", "random", "urandom", "zero"];

/// The first step: leaves the host's namespaces and runs `second` as process 1 of the new ones. Must
/// be called in a process with one thread.
///
/// # Errors
/// When the machine does not allow it, naming the step that failed.
pub fn leave(parent: u32, privilege: Privilege, mut second: Command) -> io::Result<ExitStatus> {
    lifetime::bind_to(parent).map_err(|error| step("binding the room to its parent", error))?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if privilege == Privilege::User {
        flags |= UnshareFlags::NEWUSER;
    }
    #[allow(deprecated, reason = "unsafe only with FILES, which is not among the flags")]
    let left = rustix::thread::unshare(flags);
    left.map_err(|error| step("leaving the host's namespaces", error))?;
    if privilege == Privilege::User {
        // One user, root inside; no other exists there (user_namespaces(7)).
        fs::write("/proc/self/setgroups", "deny")
            .map_err(|error| step("/proc/self/setgroups", error))?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))
            .map_err(|error| step("/proc/self/uid_map", error))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
            .map_err(|error| step("/proc/self/gid_map", error))?;
    }
    second.status().map_err(|error| step("starting the room's first process", error))
}

/// The second step: puts the room at `root` in the place of the host's file system and becomes
/// `command`, in `/build`, with the environment of this process.
///
/// # Errors
/// When a step fails, naming it.
pub fn become_build(root: &Path, command: &[OsString]) -> io::Result<Infallible> {
    // The parent is the first step's process, which these namespaces do not show.
    lifetime::bind().map_err(|error| step("prctl", error))?;
    let [program, arguments @ ..] = command else {
        return Err(io::Error::other("nothing to run"));
    };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
        .map_err(|error| step("making mounts private", error))?;
    rustix::mount::mount_bind(root, root).map_err(|error| step("mounting the room", error))?;
    for device in DEVICES {
        let place = root.join("dev").join(device);
        File::create(&place).map_err(|error| step(device, error))?;
        rustix::mount::mount_bind(Path::new("/dev").join(device), &place)
            .map_err(|error| step(device, error))?;
    }
    rustix::system::sethostname(HOST_NAME).map_err(|error| step("naming the room", error))?;
    rustix::process::chdir(root).map_err(|error| step("entering the room", error))?;
    // The host's root comes to lie on the room's, and is let go from there (pivot_root(2), NOTES).
    rustix::process::pivot_root(".", ".").map_err(|error| step("changing the root", error))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .map_err(|error| step("letting the host's files go", error))?;
    rustix::process::chdir(BUILD).map_err(|error| step(BUILD, error))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::thread::set_no_new_privs(true).map_err(|error| step("no_new_privs", error))?;
    let error = Command::new(program).args(arguments).exec();
    Err(step(&format!("starting `{}` in the room", program.to_string_lossy()), error))
}

fn step(what: &str, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Why there is no room, as a person meets it.
pub(super) fn no_room(reason: &str, privilege: Privilege) -> Error {
    let error = Error::new(Kind::CannotDecide, format!("no room to build in: {reason}"));
    match privilege {
        Privilege::Root => error.hint("`--room root` needs root's rights on this machine"),
        Privilege::User => error
            .hint(
                "user namespaces must be allowed: on Debian `sysctl kernel.unprivileged_userns_clone=1`, \
                 on Ubuntu `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, in a container an \
                 unconfined seccomp and AppArmor profile",
            )
            .hint("or build as root with `--room root`: the result is the same"),
    }
}
