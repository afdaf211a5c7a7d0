//! Registers descriptors with tokio, and seals the shim's program.
#![expect(unsafe_code, reason = "a descriptor's owner is promised, and mount_setattr has no wrapper")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for being readable.
///
/// # Errors
/// When the reactor refuses it.
pub(crate) fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` owns a valid descriptor, and nothing replaces or closes it while the result owns it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(registered?)
}

/// Opens a program through a mount of its own that is read-only and in no namespace, to be executed by the path of the descriptor.
///
/// A container's program can reach the file that its process was cloned from (`/proc/self/exe`, as an interpreter for example) and
/// could write to it, which is the host's own binary. Through this mount nobody can. *Source:* CVE-2019-5736.
///
/// # Errors
/// When the kernel refuses, as before version 5.12.
pub(crate) fn sealed(program: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, program, flags)?;
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is an empty C string, `attributes` is valid for `size` bytes, and both outlive the call.
    let code = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size,
        )
    };
    if code == 0 { Ok(tree) } else { Err(io::Error::last_os_error()) }
}
