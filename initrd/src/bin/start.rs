//! What a program needs that has neither libc nor std under it: an entry, memory functions, a way
//! out, a clock, and a panic that says so. Shared by the programs of the guest.
//!
//! The programs are linked at fixed addresses, not as static-pie. A position-independent program
//! must relocate itself before any of its data can be trusted, in code that only it has; and what
//! would be gained is a random base for two small programs that are safe Rust wherever they read
//! what others wrote. The stack and the mappings are random all the same.
#![allow(unsafe_code)]

use core::arch::asm;
#[cfg(counterfoil_guest)]
use core::arch::global_asm;
use core::ffi::{CStr, c_char};
#[cfg(counterfoil_guest)]
use core::fmt::Write as _;

use rustix::fd::{BorrowedFd, RawFd};

#[cfg(counterfoil_guest)]
global_asm!(
    ".globl _start",
    ".section .text._start,\"ax\",@progbits",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry,
);

// The compiler calls these by name, and for this target brings none of its own.
#[cfg(counterfoil_guest)]
global_asm!(
    ".section .text.memory,\"ax\",@progbits",
    ".globl memcpy",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    ".globl memmove",
    "memmove:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "mov r8, rdi",
    "sub r8, rsi",
    "cmp r8, rdx",
    "jb 2f", // the end of the source is the start of the destination: backwards
    "rep movsb",
    "ret",
    "2:",
    "lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    ".globl memset",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    ".globl memcmp",
    ".globl bcmp",
    "memcmp:",
    "bcmp:",
    "mov rcx, rdx",
    "xor eax, eax",
    "cmp rax, rax", // nothing to compare is equal
    "repe cmpsb",
    "je 3f",
    "movzx eax, byte ptr [rdi - 1]",
    "movzx ecx, byte ptr [rsi - 1]",
    "sub ecx, eax",
    "mov eax, ecx",
    "3:",
    "ret",
    ".globl strlen",
    "strlen:",
    "xor eax, eax",
    "4:",
    "cmp byte ptr [rdi + rax], 0",
    "je 5f",
    "inc rax",
    "jmp 4b",
    "5:",
    "ret",
);

/// Where the kernel's call arrives, with the stack as the kernel laid it out.
#[cfg(counterfoil_guest)]
extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: `_start` hands over the stack pointer that the kernel gave the program, which points
    // to the number of arguments; that many pointers to strings follow it. Nothing moves them.
    let args = unsafe { core::slice::from_raw_parts(stack.add(1).cast::<*const c_char>(), *stack) };
    exit(crate::run(Args { pointers: args }))
}

/// The argument vector.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    pointers: &'static [*const c_char],
}

impl Args {
    /// No arguments, not even a name.
    #[cfg(not(counterfoil_guest))]
    pub(crate) const NONE: Self = Self { pointers: &[] };

    /// One argument; the first is the program's name.
    #[allow(dead_code, reason = "PID 1 looks at no argument")]
    pub(crate) fn nth(&self, index: usize) -> Option<&'static CStr> {
        // SAFETY: only `entry` makes a non-empty vector, of the kernel's strings: they end in NUL
        // and stay where they are.
        self.pointers.get(index).map(|pointer| unsafe { CStr::from_ptr(*pointer) })
    }
}

/// A descriptor that whoever started the program left open for it.
#[allow(dead_code, reason = "of the evidence agent alone")]
pub(crate) fn inherited(number: RawFd) -> Option<BorrowedFd<'static>> {
    // What stands below is the program's own input and outputs.
    if number < 3 {
        return None;
    }
    // SAFETY: no program of the guest closes a descriptor that it did not open itself, so this one stays as
    // it is. Whether it was left open at all is asked first; to ask is harmless if not.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(descriptor).ok().map(|_| descriptor)
}

/// Ends the program.
#[allow(dead_code, reason = "on top of std, only PID 1 calls it")]
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: `exit_group` takes no pointer and does not return.
    unsafe {
        asm!("syscall", in("rax") 231, in("rdi") status, options(noreturn, nostack));
    }
}

/// Writes to the standard error. Nobody is left to tell if that fails.
#[allow(unused_unsafe, reason = "rustix has this function unsafe only where there is no std")]
pub(crate) fn complain(bytes: &[u8]) {
    // SAFETY: no program of the guest closes its standard error, and if it was started without
    // one, the write fails.
    let stderr = unsafe { rustix::stdio::stderr() };
    let _ = rustix::io::write(stderr, bytes);
}

/// Milliseconds since some time before the program started; never goes back.
pub(crate) fn milliseconds() -> u64 {
    let mut time = [0_i64; 2];
    // SAFETY: `clock_gettime` writes two 64-bit numbers to its second argument, which has room for
    // them. (It cannot fail: `CLOCK_MONOTONIC`, 1, is always there.)
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") 228_usize => _,
            in("rdi") 1,
            in("rsi") time.as_mut_ptr(),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // The kernel's clock starts at zero.
    time[0].unsigned_abs() * 1000 + time[1].unsigned_abs() / 1_000_000
}

/// Says what went wrong, without the place: a place would put source paths into the program.
#[cfg(counterfoil_guest)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    struct Stderr;
    impl core::fmt::Write for Stderr {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            complain(s.as_bytes());
            Ok(())
        }
    }
    let _ = writeln!(Stderr, "{}: panic: {}", crate::NAME, info.message());
    exit(101)
}
