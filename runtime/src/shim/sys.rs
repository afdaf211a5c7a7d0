//! The system calls of the shim that have no safe wrapper.
#![expect(unsafe_code, reason = "clone3, signal dispositions and pidfd signals have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::c_long;
use rustix::thread::UnshareFlags;

/// Namespaces that a container has from birth. The cgroup namespace comes after it joined its groups.
const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;

/// `CLONE_INTO_CGROUP`, which the libc crate has in too narrow a type.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of the clone this is.
#[derive(Debug)]
pub enum Cloned {
    /// The one that was born.
    Child,
    /// The one that was there, with the child's id in the machine's namespace and a descriptor for it.
    Parent(u32, OwnedFd),
}

/// Clones the calling process into new namespaces, and into the v2 group if there is one.
///
/// # Errors
/// The kernel's refusal.
pub fn clone_init(group: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    clone(NAMESPACES, group)
}

/// Clones the calling process as it is.
///
/// # Errors
/// The kernel's refusal.
pub fn clone_shim() -> io::Result<Cloned> {
    clone(0, None)
}

fn clone(namespaces: i32, group: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid `clone_args`: it asks for nothing.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from((namespaces | libc::CLONE_PIDFD).cast_unsigned());
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(group) = group {
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(group.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM the child gets a copy of this single-threaded process and goes on as after fork, so all of
    // its memory is in a consistent state; `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match u32::try_from(pid) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(0) => Ok(Cloned::Child),
        // SAFETY: the kernel has just put a new descriptor there that nobody else owns.
        Ok(pid) => Ok(Cloned::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// Sends a signal, by number because real-time signals have no name.
///
/// # Errors
/// The kernel's refusal, `ESRCH` when the process is gone.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let (fd, number) = (c_long::from(pidfd.as_raw_fd()), c_long::from(number));
    // SAFETY: takes no pointer but the null one, which asks for the default siginfo.
    let code = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, 0 as c_long, 0 as c_long) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Signals that would end the shim from outside although nobody meant it.
const IGNORED: [i32; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE];

/// Ignores what is sent to whole sessions or services: the shim ends with its container and by nothing else but SIGKILL.
pub fn ignore_signals() {
    for number in IGNORED {
        dispose(number, libc::SIG_IGN);
    }
}

/// Undoes [`ignore_signals`] for the container's program.
pub fn heed_signals() {
    for number in IGNORED {
        dispose(number, libc::SIG_DFL);
    }
}

/// Lets children go without being waited for.
pub fn forget_children() {
    dispose(libc::SIGCHLD, libc::SIG_IGN);
}

/// Undoes [`forget_children`].
pub fn mind_children() {
    dispose(libc::SIGCHLD, libc::SIG_DFL);
}

/// Gives every signal its default back and unblocks all, whatever was inherited.
pub fn reset_signals() {
    for number in 1..=libc::SIGRTMAX() {
        dispose(number, libc::SIG_DFL);
    }
    // SAFETY: all-zero is the empty set on Linux.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` outlives the call; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

/// The kernel's own call, because libc's refuses the two signals that it keeps for itself, and an ignored one of those would
/// stay ignored in the container.
fn dispose(number: i32, how: libc::sighandler_t) {
    // The kernel's `sigaction`: handler, flags, restorer, mask, all but the first empty.
    let action: [libc::sighandler_t; 4] = [how, 0, 0, 0];
    let (number, mask_size) = (c_long::from(number), size_of::<u64>());
    // SAFETY: neither disposition runs code of ours, and `action` outlives the call. SIGKILL and SIGSTOP are refused, which is fine.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, number, action.as_ptr(), 0 as c_long, mask_size) };
}

/// Marks every descriptor above the standard ones to be closed by `execve`.
pub fn close_on_exec() {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: only sets a flag; no descriptor is closed under anyone's hands.
    unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
}

/// Moves the calling process into new namespaces.
///
/// # Errors
/// The kernel's refusal.
pub fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: the process has one thread, so that no other one can be surprised; descriptors are not unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
