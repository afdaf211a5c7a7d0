//! The process that shims are born from: one a daemon, with nothing in it but what every shim needs.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{failed, send};
use crate::security::CapabilitySet;
use crate::security::seccomp::{Instruction, filter};
use crate::shim::protocol::{DATAGRAM_MAX, Reply};
use crate::shim::sys::{self, Cloned};

/// A shim to be born.
pub(super) struct Order {
    /// The container's run directory.
    pub(super) dir: PathBuf,
    /// The shim's end of the connection to the daemon.
    pub(super) control: OwnedFd,
}

/// What every shim is born with: found out once, and not for each container.
pub(super) struct Heritage {
    /// The daemon keeps itself, and with it whom it starts, from the out-of-memory killer.
    pub(super) is_protected: bool,
    /// The system call filter of containers with the capabilities that nobody asked to change.
    filter: (CapabilitySet, Vec<Instruction>),
}

impl Heritage {
    fn new() -> Self {
        let capabilities = CapabilitySet::default();
        // A file that cannot be read leaves the doubt on the safe side.
        let is_protected = fs::read("/proc/self/oom_score_adj").map_or(true, |score| score != b"0\n");
        Self { is_protected, filter: (capabilities, filter(capabilities)) }
    }

    /// The filter for a container with these capabilities.
    pub(super) fn filter(&self, capabilities: CapabilitySet) -> Cow<'_, [Instruction]> {
        if self.filter.0 == capabilities { (&self.filter.1).into() } else { filter(capabilities).into() }
    }
}

/// Where orders come from: what was standard input, which is nothing from here on.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn open() -> io::Result<OwnedFd> {
    let _ = rustix::thread::set_name(c"skep:nursery");
    let _ = rustix::process::setsid();
    sys::reset_signals();
    sys::ignore_signals();
    sys::forget_children();
    let orders = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(orders)
}

/// Gives birth until the daemon is gone. Returns in each child, with its order.
pub(super) fn serve(orders: OwnedFd) -> Option<(Order, Heritage)> {
    let heritage = Heritage::new();
    loop {
        let order = receive(&orders).ok().flatten()?;
        match sys::clone_shim() {
            Ok(Cloned::Child) => return Some((order, heritage)),
            Ok(Cloned::Parent(..)) => {}
            Err(e) => send(&order.control, &Reply::Failed(failed("clone the shim")(e))),
        }
    }
}

/// The next order; `None` when there will be none.
fn receive(orders: &OwnedFd) -> io::Result<Option<Order>> {
    let (mut path, mut space) = ([0; DATAGRAM_MAX], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut path)];
    let length =
        rustix::io::retry_on_intr(|| recvmsg(orders, &mut parts, &mut attached, RecvFlags::CMSG_CLOEXEC))?.bytes;
    let control = attached.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(control.map(|control| Order { dir: PathBuf::from(OsStr::from_bytes(&path[..length])), control }))
}
