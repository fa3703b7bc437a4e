//! The system calls that rustix does not offer as safe functions. All of PID 1's `unsafe` is here
//! and in `start.rs`.
#![allow(unsafe_code)]

use core::arch::asm;

use counterfoil_init::plan;
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

const IOCTL: usize = 16;
const RT_SIGPROCMASK: usize = 14;
const SETSOCKOPT: usize = 54;
const BIND: usize = 49;
const FORK: usize = 57;
const EXECVE: usize = 59;
const KILL: usize = 62;
const SIGNALFD4: usize = 289;

/// One system call.
///
/// # Safety
/// As the system call: pointers among the arguments must be what it reads and writes.
unsafe fn syscall(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the registers are those of the system call convention; the kernel keeps all but
    // `rax`, `rcx` and `r11`. The rest is the caller's to hold.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    match result {
        // Error numbers are 1 to 4095.
        -4095..0 => Err(Errno::from_raw_os_error(-(result as i32))),
        _ => Ok(result as usize),
    }
}

/// Blocks the signals of `set`, and no others. (The kernel leaves SIGKILL and SIGSTOP out.)
pub(crate) fn block_signals(set: u64) {
    const SIG_SETMASK: usize = 2;
    // SAFETY: the kernel reads eight bytes, the size of its signal set, from `set`, and writes
    // nothing, since the pointer for the old set is null. It cannot fail.
    let _ = unsafe {
        syscall(RT_SIGPROCMASK, [SIG_SETMASK, (&raw const set).expose_provenance(), 0, 8, 0])
    };
}

/// A queue of the signals of `set`, that does not block and is closed on `execve`.
pub(crate) fn signalfd(set: u64) -> Result<OwnedFd, Errno> {
    const NONBLOCK_CLOEXEC: usize = 0o2_004_000;
    // SAFETY: the kernel reads eight bytes, the size of its signal set, from `set`.
    let fd = unsafe {
        syscall(
            SIGNALFD4,
            [usize::MAX, (&raw const set).expose_provenance(), 8, NONBLOCK_CLOEXEC, 0],
        )?
    };
    // SAFETY: the kernel has just made this descriptor, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Forks; `None` is the child.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: there is one thread and no lock, and the child has its own copy of all memory, so
    // it may go on as the parent does. Both own their copies of the descriptors.
    let pid = unsafe { syscall(FORK, [0; 5])? };
    Ok(Pid::from_raw(pid as i32))
}

/// Sends a signal to every process but PID 1 itself.
pub(crate) fn kill_all(signal: i32) {
    // SAFETY: no pointers. If there is nobody to kill, that is well.
    let _ = unsafe { syscall(KILL, [usize::MAX, signal as usize, 0, 0, 0]) };
}

/// Becomes another program; returns only if it cannot.
pub(crate) fn execve(path: &Strings, arguments: &Strings, environment: &Strings) -> Errno {
    let arguments = arguments.pointers();
    let environment = environment.pointers();
    let call = [
        path.bytes.as_ptr().expose_provenance(),
        arguments.as_ptr().expose_provenance(),
        environment.as_ptr().expose_provenance(),
        0,
        0,
    ];
    // SAFETY: `path` is at least one string with a NUL at its end. The vectors are of pointers to
    // such strings, which live as long as the borrows of `Strings`, and each vector ends in null.
    match unsafe { syscall(EXECVE, call) } {
        Err(errno) => errno,
        Ok(_) => Errno::INVAL,
    }
}

/// Strings in a row, each with its NUL, in a buffer of fixed size: there is no allocator.
pub(crate) struct Strings {
    bytes: [u8; plan::MAX_BYTES],
    length: usize,
    count: usize,
}

impl Strings {
    /// `None` if there are too many or they are too long. A plan never has such.
    pub(crate) fn collect<'a>(strings: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut all = Self { bytes: [0; plan::MAX_BYTES], length: 0, count: 0 };
        for string in strings {
            let end = all.length + string.len();
            all.bytes.get_mut(all.length..end)?.copy_from_slice(string.as_bytes());
            // The buffer was zero; what matters is that this byte is inside it.
            all.bytes.get(end)?;
            all.length = end + 1;
            all.count += 1;
        }
        (all.count <= plan::MAX_STRINGS).then_some(all)
    }

    fn pointers(&self) -> [*const u8; plan::MAX_STRINGS + 1] {
        let mut pointers = [core::ptr::null(); plan::MAX_STRINGS + 1];
        let strings = self.bytes[..self.length].split_inclusive(|byte| *byte == 0);
        for (pointer, string) in pointers[..plan::MAX_STRINGS].iter_mut().zip(strings) {
            *pointer = string.as_ptr();
        }
        pointers
    }
}

/// An `ioctl` of a network socket whose argument is a `struct ifreq`, read and written in place.
pub(crate) fn interface_ioctl(
    socket: BorrowedFd<'_>,
    request: InterfaceRequest,
    argument: &mut [u8; 40],
) -> Result<(), Errno> {
    let fd = socket.as_raw_fd() as usize;
    let argument = argument.as_mut_ptr().expose_provenance();
    // SAFETY: every request of the enumeration takes a `struct ifreq`, which has 40 bytes, any of
    // which are valid, and in none of these is there a pointer.
    unsafe { syscall(IOCTL, [fd, request as usize, argument, 0, 0]) }.map(|_| ())
}

/// Those `ioctl`s.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum InterfaceRequest {
    GetFlags = 0x8913,
    SetFlags = 0x8914,
    SetAddress = 0x8916,
    SetNetmask = 0x891c,
    GetHardwareAddress = 0x8927,
}

/// Adds a route through the interface of this name.
pub(crate) fn add_route(
    socket: BorrowedFd<'_>,
    route: &Route,
    interface: &[u8; 16],
) -> Result<(), Errno> {
    const SIOCADDRT: usize = 0x890b;
    // A name of sixteen bytes would run on into whatever follows.
    if interface[15] != 0 {
        return Err(Errno::INVAL);
    }
    let entry = RouteEntry {
        pad1: 0,
        destination: route.destination,
        gateway: route.gateway,
        mask: route.mask,
        flags: route.flags,
        rest: [0; 11],
        metric: 0,
        device: interface.as_ptr(),
        tail: [0; 3],
    };
    let entry = (&raw const entry).expose_provenance();
    // SAFETY: `entry` is a `struct rtentry`, of which the kernel reads all, and through its only
    // pointer a name that ends in NUL.
    unsafe { syscall(IOCTL, [socket.as_raw_fd() as usize, SIOCADDRT, entry, 0, 0]) }.map(|_| ())
}

/// What of a route can be chosen; addresses are `struct sockaddr_in`.
pub(crate) struct Route {
    pub(crate) destination: [u8; 16],
    pub(crate) gateway: [u8; 16],
    pub(crate) mask: [u8; 16],
    pub(crate) flags: u16,
}

/// `struct rtentry` of `linux/route.h`.
#[repr(C)]
struct RouteEntry {
    pad1: usize,
    destination: [u8; 16],
    gateway: [u8; 16],
    mask: [u8; 16],
    flags: u16,
    rest: [u16; 11],
    metric: i16,
    device: *const u8,
    tail: [usize; 3],
}

/// Lets a socket send and receive through one interface only.
pub(crate) fn bind_to_device(socket: impl AsFd, interface: &[u8; 16]) -> Result<(), Errno> {
    const SOL_SOCKET: usize = 1;
    const SO_BINDTODEVICE: usize = 25;
    let fd = socket.as_fd().as_raw_fd() as usize;
    let name = interface.as_ptr().expose_provenance();
    // SAFETY: the kernel reads sixteen bytes, the length that it is told.
    unsafe { syscall(SETSOCKOPT, [fd, SOL_SOCKET, SO_BINDTODEVICE, name, interface.len()]) }
        .map(|_| ())
}

/// Binds a vsock socket to a port of every address that this machine has.
pub(crate) fn bind_vsock(socket: impl AsFd, port: u32) -> Result<(), Errno> {
    const VMADDR_CID_ANY: u32 = u32::MAX;
    let address =
        VsockAddress { family: 40, reserved: 0, port, cid: VMADDR_CID_ANY, flags: 0, zero: [0; 3] };
    let fd = socket.as_fd().as_raw_fd() as usize;
    let length = size_of::<VsockAddress>();
    let address = (&raw const address).expose_provenance();
    // SAFETY: the kernel reads a `struct sockaddr_vm` of the length that it is told.
    unsafe { syscall(BIND, [fd, address, length, 0, 0]) }.map(|_| ())
}

/// `struct sockaddr_vm` (Linux, include/uapi/linux/vm_sockets.h).
#[repr(C)]
struct VsockAddress {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

/// An `ioctl` of `/dev/mapper/control`; the kernel answers in the request.
pub(crate) fn device_mapper(
    control: impl AsFd,
    command: DeviceMapper,
    request: &mut DmRequest,
) -> Result<(), Errno> {
    let fd = control.as_fd().as_raw_fd() as usize;
    let argument = (&raw mut *request).expose_provenance();
    // SAFETY: every command of the enumeration takes a `struct dm_ioctl` and what follows it, and the
    // kernel reads and writes `data_size` bytes, which is the size of the request. Any bytes are valid
    // in it.
    unsafe { syscall(IOCTL, [fd, command as usize, argument, 0, 0]) }.map(|_| ())
}

/// Those `ioctl`s (Linux, include/uapi/linux/dm-ioctl.h): `_IOWR(0xfd, NUMBER, struct dm_ioctl)`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum DeviceMapper {
    Create = 0xc138_fd03,
    /// DM_DEV_SUSPEND, which resumes where the flag for suspending is not set.
    Resume = 0xc138_fd06,
    Load = 0xc138_fd09,
}

/// `struct dm_ioctl`, and behind it room for one `struct dm_target_spec` and its parameters.
#[repr(C)]
pub(crate) struct DmRequest {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; 16],
    parameters: [u8; Self::MAX_PARAMETERS + 1],
}

impl DmRequest {
    /// The most parameters of a target, in bytes, without the NUL that ends them.
    pub(crate) const MAX_PARAMETERS: usize = 671;

    const READ_ONLY: u32 = 1 << 0;
    /// DM_SECURE_DATA_FLAG: the kernel wipes its copies.
    const SECURE_DATA: u32 = 1 << 15;

    /// About the device of this name.
    pub(crate) fn new(name: &str) -> Result<Self, Errno> {
        let mut request = Self {
            // The oldest that has all of it; the kernel takes any of its own major version.
            version: [4, 0, 0],
            data_size: size_of::<Self>() as u32,
            data_start: core::mem::offset_of!(Self, sector_start) as u32,
            target_count: 0,
            open_count: 0,
            flags: 0,
            event_nr: 0,
            padding: 0,
            dev: 0,
            name: [0; 128],
            uuid: [0; 129],
            data: [0; 7],
            sector_start: 0,
            length: 0,
            status: 0,
            next: 0,
            target_type: [0; 16],
            parameters: [0; Self::MAX_PARAMETERS + 1],
        };
        put(&mut request.name, name)?;
        Ok(request)
    }

    pub(crate) fn read_only(&mut self) {
        self.flags |= Self::READ_ONLY;
    }

    pub(crate) fn secret(&mut self) {
        self.flags |= Self::SECURE_DATA;
    }

    /// With a table of one target over this many sectors.
    pub(crate) fn set_target(
        &mut self,
        sectors: u64,
        kind: &str,
        parameters: &str,
    ) -> Result<(), Errno> {
        self.target_count = 1;
        self.length = sectors;
        put(&mut self.target_type, kind)?;
        put(&mut self.parameters, parameters)
    }

    /// Forgets the parameters.
    pub(crate) fn wipe(&mut self) {
        self.parameters = [0; Self::MAX_PARAMETERS + 1];
        core::hint::black_box(&self.parameters);
    }

    /// The minor number of the device that the kernel answers about (`huge_encode_dev`).
    pub(crate) fn minor(&self) -> u64 {
        self.dev & 0xff | self.dev >> 12 & 0xf_ff00
    }
}

/// A string, and at least one NUL behind it.
fn put(field: &mut [u8], text: &str) -> Result<(), Errno> {
    match field.get_mut(..text.len() + 1) {
        Some(place) => {
            place[..text.len()].copy_from_slice(text.as_bytes());
            Ok(())
        }
        None => Err(Errno::NAMETOOLONG),
    }
}

#[cfg(test)]
mod tests {
    use core::ffi::CStr;

    use super::*;

    #[test]
    fn strings_come_out_as_they_went_in() {
        let strings = Strings::collect(["a", "", "b c"].into_iter()).unwrap();
        let pointers = strings.pointers();
        let read: Vec<_> = pointers
            .iter()
            .take_while(|pointer| !pointer.is_null())
            // SAFETY: they point to strings with a NUL, in `strings`.
            .map(|pointer| unsafe { CStr::from_ptr(pointer.cast()) }.to_str().unwrap())
            .collect();
        assert_eq!(read, ["a", "", "b c"]);
    }

    #[test]
    fn strings_have_their_limits() {
        let many = |count| Strings::collect(core::iter::repeat_n("", count));
        assert!(many(plan::MAX_STRINGS).unwrap().pointers()[plan::MAX_STRINGS].is_null());
        assert!(many(plan::MAX_STRINGS + 1).is_none());
        let long = "x".repeat(plan::MAX_BYTES);
        assert!(Strings::collect([&long[1..]].into_iter()).is_some());
        assert!(Strings::collect([&long[..]].into_iter()).is_none());
    }

    #[test]
    fn a_request_of_the_device_mapper_has_the_layout_of_the_kernel() {
        use core::mem::offset_of;
        assert_eq!(offset_of!(DmRequest, dev), 40);
        assert_eq!(offset_of!(DmRequest, name), 48);
        // `struct dm_ioctl` has 312 bytes, as the numbers of the commands say (0x138).
        assert_eq!(offset_of!(DmRequest, sector_start), 312);
        assert_eq!(offset_of!(DmRequest, target_type), 336);
        assert_eq!(offset_of!(DmRequest, parameters), 352);
        assert_eq!(size_of::<DmRequest>(), 1024);
        let mut request = DmRequest::new("model").unwrap();
        request.dev = 0xfd << 8 | 0x12 << 20 | 0x34;
        assert_eq!(request.minor(), 0x1234);
        assert!(DmRequest::new(&"x".repeat(128)).is_err());
        let long = "x".repeat(DmRequest::MAX_PARAMETERS + 1);
        assert!(request.set_target(8, "verity", &long).is_err());
    }

    #[test]
    fn a_vsock_address_has_the_layout_of_the_kernel() {
        assert_eq!(size_of::<VsockAddress>(), 16);
        assert_eq!(core::mem::offset_of!(VsockAddress, port), 4);
        assert_eq!(core::mem::offset_of!(VsockAddress, cid), 8);
    }

    #[test]
    fn the_route_has_the_layout_of_the_kernel() {
        assert_eq!(size_of::<RouteEntry>(), 120);
        assert_eq!(core::mem::offset_of!(RouteEntry, flags), 56);
        assert_eq!(core::mem::offset_of!(RouteEntry, metric), 80);
        assert_eq!(core::mem::offset_of!(RouteEntry, device), 88);
    }
}
