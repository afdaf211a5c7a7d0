//! Sockets and the network namespace of a thread. Safe wrappers of rustix do all of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_reuseaddr, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::container::Protocol;

/// Longest wait for an answer of the kernel. It answers while it handles the request, so this is never reached; if it
/// were, the operation fails with a timeout and the next reconcile tries again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of one batch that may be under way: 5,000 ports with 10 backends each take a quarter of it. A longer batch is
/// refused by the kernel with "message too long".
const SEND_BUFFER: usize = 16 << 20;

/// Which part of the kernel a netlink socket talks to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    /// Links, addresses, routes.
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// A netlink socket in the thread's network namespace, where it stays.
pub(super) fn netlink(family: Family) -> io::Result<OwnedFd> {
    let protocol = match family {
        Family::Route => None,
        Family::Netfilter => Some(NETFILTER),
    };
    let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    if matches!(family, Family::Netfilter) {
        set_socket_send_buffer_size_force(&fd, SEND_BUFFER)?;
    }
    Ok(fd)
}

/// A socket for links and addresses in another namespace. A thread of its own goes there and ends: a thread that came
/// back could fail to, and would then run other work in the wrong place.
pub(super) fn netlink_in(netns: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    std::thread::scope(|scope| {
        let enter = || {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
            netlink(Family::Route)
        };
        scope.spawn(enter).join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

/// A socket that hears of every change to links and IPv4 addresses of the thread's namespace.
pub(super) fn listen(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

/// Sends all bytes as one datagram.
pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    rustix::net::send(fd, bytes, SendFlags::empty())?;
    Ok(())
}

/// Receives one datagram; `wait` or fail with "would block".
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
    let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let (count, _) = rustix::net::recv(fd, buffer, flags)?;
    Ok(count)
}

/// Binds a port on all IPv4 addresses without listening: nobody else gets it, and nobody is ever answered by it. Reuse
/// is allowed for the binding itself, so that connections of a server that has just ended do not count as use, and
/// forbidden after it: two sockets that both allow it may share a port, and most servers do allow it.
pub(super) fn reserve(protocol: Protocol, port: u16) -> io::Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let fd = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    match protocol {
        Protocol::Tcp => set_socket_reuseaddr(&fd, true)?,
        // Nobody reads from it, so it keeps next to nothing.
        Protocol::Udp => set_socket_recv_buffer_size(&fd, 1)?,
    }
    rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    if matches!(protocol, Protocol::Tcp) {
        set_socket_reuseaddr(&fd, false)?;
    }
    Ok(fd)
}
