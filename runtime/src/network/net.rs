//! Conversations with the kernel over netlink: one request and its answer, a list, an atomic batch.

use std::io;
use std::os::fd::OwnedFd;

use super::netlink::wire::{NLM_F_ACK, NLM_F_DUMP};
use super::netlink::{Message, replies};
use super::nftables::wire::{NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, bracket};
use super::sys::{self, Family};

/// Largest datagram the kernel writes for a list.
const DATAGRAM_MAX: usize = 32 << 10;

/// How often a list is asked for again because it changed while it was written. Then the caller gets "interrupted", and
/// the next reconcile asks anew.
const LIST_ATTEMPTS: u32 = 16;

/// A netlink socket. One conversation at a time.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one in the thread's network namespace.
    pub(super) fn open(family: Family) -> io::Result<Self> {
        Ok(Self::from_fd(sys::netlink(family)?))
    }

    /// Takes over a socket, perhaps of another namespace.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, sequence: 0, buffer: vec![0; DATAGRAM_MAX] }
    }

    /// Makes one request and waits for its acknowledgement.
    pub(super) fn request(&mut self, message: &Message) -> io::Result<()> {
        self.converse(message, NLM_F_ACK, |_| ())
    }

    /// Asks for one thing; nothing when the kernel says it does not exist.
    pub(super) fn get<T>(&mut self, message: &Message, parse: fn(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let mut found = None;
        match self.converse(message, NLM_F_ACK, |body| found = found.take().or_else(|| parse(body))) {
            Err(error) if is_missing(&error) => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Asks for a list.
    pub(super) fn list<T>(&mut self, message: &Message, parse: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
        for _ in 0..LIST_ATTEMPTS {
            let mut found = Vec::new();
            match self.converse(message, NLM_F_DUMP, |body| found.extend(parse(body))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(|()| found),
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Applies all messages or none. Each has the number of the caller's change it belongs to; a refusal names the
    /// first refused.
    pub(super) fn batch(&mut self, messages: &[(usize, Message)]) -> Result<(), (usize, io::Error)> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = bracket(NFNL_MSG_BATCH_BEGIN).to_bytes(self.next(), 0);
        for (_, message) in messages {
            bytes.extend(message.to_bytes(self.next(), 0));
        }
        bytes.extend(bracket(NFNL_MSG_BATCH_END).to_bytes(self.next(), 0));
        sys::send(&self.fd, &bytes).map_err(|error| (0, error))?;
        let Some((sequence, error)) = self.refusal() else { return Ok(()) };
        let position = usize::try_from(sequence.wrapping_sub(first).saturating_sub(1)).unwrap_or(0);
        Err((messages.get(position).map_or(0, |(change, _)| *change), error))
    }

    /// The kernel has handled a batch when it was sent: what it had to refuse lies there, and an empty queue means
    /// success.
    fn refusal(&mut self) -> Option<(u32, io::Error)> {
        let mut first = None;
        while let Ok(count) = sys::receive(&self.fd, &mut self.buffer, false) {
            let mut refused = replies(&self.buffer[..count]).filter_map(|r| Some((r.sequence, r.end()?.err()?)));
            first = first.or_else(|| refused.next());
        }
        first
    }

    fn converse(&mut self, message: &Message, flags: u16, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let sequence = self.next();
        sys::send(&self.fd, &message.to_bytes(sequence, flags))?;
        let mut interrupted = false;
        loop {
            let count = sys::receive(&self.fd, &mut self.buffer, true)?;
            // Rests of an earlier conversation that failed half-way have another number.
            for reply in replies(&self.buffer[..count]).filter(|r| r.sequence == sequence) {
                interrupted |= reply.interrupted();
                match reply.end() {
                    Some(Ok(())) if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    Some(end) => return end,
                    None => each(reply.body),
                }
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// The kernel's two ways to say that a link, table or set does not exist.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
}

/// Hears of changes to links and addresses, so that a quiet second costs one system call.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// Starts to listen in the thread's network namespace.
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        sys::listen(groups).map(Self)
    }

    /// Whether anything changed since the last call. A full queue counts as a change: the kernel reports it as an error
    /// once.
    pub(super) fn changed(&self) -> bool {
        let mut changed = false;
        let mut buffer = [0; 4096];
        loop {
            match sys::receive(&self.0, &mut buffer, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changed,
                _ => changed = true,
            }
        }
    }
}
