//! The connection to a shim.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

use crate::shim::protocol::{self, DATAGRAM_MAX, Reply, Request, file};

/// Longest wait for a shim's answer. Each takes milliseconds; on a machine so overloaded that this is not enough, the
/// operation fails and says so instead of holding a thread for ever.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The same where there is another way than through the shim: for SIGKILL. And for a connection, which the kernel makes at once
/// unless those waiting to be accepted are too many already, because the shim hangs.
const SHORT_ANSWER_MAX: Duration = Duration::from_secs(5);

/// A socket on which one datagram is one message.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// A new pair: this side, and the shim's standard input.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::bounded(near)?, far))
    }

    /// Connects to the shim that listens in `run_dir`.
    pub(crate) fn connect(run_dir: &Path) -> io::Result<Self> {
        // Through a descriptor, because the whole path may not fit into an address.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, run_dir, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), file::SOCKET);
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(SHORT_ANSWER_MAX))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Self::bounded(socket)
    }

    fn bounded(socket: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_MAX))?;
        Ok(Self(socket))
    }

    pub(crate) fn receive(&self) -> io::Result<Reply> {
        let mut datagram = [0; DATAGRAM_MAX];
        let (length, _) =
            rustix::io::retry_on_intr(|| rustix::net::recv(self.0.as_fd(), &mut datagram[..], RecvFlags::empty()))?;
        match (length, Reply::decode(&datagram[..length])) {
            (0, _) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shim has ended")),
            (_, None) => Err(io::Error::new(io::ErrorKind::InvalidData, "the shim's answer is not understood")),
            (_, Some(reply)) => Ok(reply),
        }
    }

    /// Sends what the shim is to make.
    pub(crate) fn send_bundle(&self, bundle: &[u8]) -> io::Result<()> {
        protocol::pieces(bundle).try_for_each(|piece| {
            rustix::net::send(self.0.as_fd(), &piece, SendFlags::NOSIGNAL)?;
            Ok(())
        })
    }

    /// Says that nobody will ever own the container, and waits until shim and init have gone, which closes their side. One that
    /// does not go within the bound hangs in the kernel; the removal of its groups kills it.
    pub(crate) fn hang_up(self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
        while self.receive().is_ok() {}
    }

    pub(crate) fn ask(&self, request: Request) -> io::Result<Reply> {
        let kills = request == Request::Signal(libc::SIGKILL);
        set_socket_timeout(&self.0, Timeout::Recv, Some(if kills { SHORT_ANSWER_MAX } else { ANSWER_MAX }))?;
        rustix::net::send(self.0.as_fd(), &request.encode(), SendFlags::NOSIGNAL)?;
        self.receive()
    }
}
