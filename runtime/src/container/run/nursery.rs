//! The daemon's side of the process that shims are born from.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

/// Starts shims. Its process is started with the first of them, and anew when it was killed.
#[derive(Debug)]
pub(crate) struct Nursery {
    command: Vec<OsString>,
    /// The program on a read-only mount, if the kernel can; executed by the path of the descriptor.
    sealed: Option<OwnedFd>,
    home: Mutex<Option<Home>>,
}

/// The process. It ends with the connection.
#[derive(Debug)]
struct Home {
    orders: OwnedFd,
    process: Child,
}

impl Nursery {
    pub(crate) fn new(command: Vec<OsString>, sealed: Option<OwnedFd>) -> Self {
        Self { command, sealed, home: Mutex::default() }
    }

    /// Has a shim born for the container with that run directory; `control` is its end of the connection to the daemon.
    ///
    /// # Errors
    /// When the nursery cannot be started. What happens to the shim is told by the connection.
    pub(crate) fn bear(&self, run_dir: &Path, control: &OwnedFd) -> io::Result<()> {
        let mut home = self.home.lock();
        if home.as_ref().is_some_and(|home| home.order(run_dir, control).is_ok()) {
            return Ok(());
        }
        let fresh = self.found()?;
        fresh.order(run_dir, control)?;
        *home = Some(fresh);
        Ok(())
    }

    /// Ends the process; the next shim starts it anew. Shims that were born go on.
    pub(crate) fn close(&self) {
        self.home.lock().take();
    }

    fn found(&self) -> io::Result<Home> {
        let (program, leading) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (orders, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let sealed = self.sealed.as_ref().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let mut command = Command::new(sealed.map_or_else(|| program.clone(), Into::into));
        // Known by its own name, wherever it was executed from.
        command.arg0("skep").args(leading).env_clear().stdin(far).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Home { orders, process: command.spawn()? })
    }
}

impl Home {
    fn order(&self, run_dir: &Path, control: &OwnedFd) -> io::Result<()> {
        let rights = [control.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        assert!(attached.push(SendAncillaryMessage::ScmRights(&rights)), "there is space for one descriptor");
        let path = [IoSlice::new(run_dir.as_os_str().as_bytes())];
        sendmsg(&self.orders, &path, &mut attached, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Drop for Home {
    /// It holds nothing that could be lost: shims are their own.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
