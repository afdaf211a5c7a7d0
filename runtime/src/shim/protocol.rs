//! What daemon and shim say to each other: the bundle, the messages, and the files that stay.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::lifeline::Lifeline;
use crate::rootfs::Overlay;
use crate::rootfs::mounts::FILES;
use crate::security::CapabilitySet;

/// Names in a container's run directory.
pub mod file {
    /// Who runs; written by the shim.
    pub const STATE: &str = "state";
    /// How it ended; written by the shim, or by the daemon when the shim was killed.
    pub const EXIT: &str = "exit";
    /// Where the shim takes commands.
    pub const SOCKET: &str = "shim.sock";
    /// What the daemon must know to take the container over again; written by the daemon when the container is made.
    pub const RECORD: &str = "record";
}

/// What a shim is called, for people and for whoever looks for one.
pub const SHIM_NAME: &[u8] = b"skep:shim";

/// Everything the shim needs to make the container; the first thing that it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The root's directories.
    pub overlay: Overlay,
    /// Whether the root is read-only.
    pub read_only: bool,
    /// Where the log files go.
    pub log_dir: PathBuf,
    /// Contents of the generated files, in the order of [`FILES`].
    pub files: [String; FILES.len()],
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`, empty for root.
    pub user: String,
    /// Working directory.
    pub workdir: String,
    /// Hostname.
    pub hostname: String,
    /// What the program may do.
    pub capabilities: CapabilitySet,
    /// Groups to make and join.
    pub groups: Vec<Group>,
    /// What the container's life hangs on.
    #[serde(default)]
    pub tether: Option<Tether>,
}

/// A container's lifeline, and what its shim needs to watch over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tether {
    /// Where it is kept.
    pub path: PathBuf,
    /// In this boot of the machine.
    pub boot_id: String,
    /// For how long it holds.
    pub line: Lifeline,
    /// What asks the program to stop.
    pub stop_signal: i32,
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id in the machine's namespace.
    pub pid: u32,
    /// When it started, clock ticks since boot. *Source:* proc(5), field 22 of `stat`.
    pub start_ticks: u64,
}

/// Contents of [`file::STATE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The shim.
    pub shim: Identity,
    /// The container's init.
    pub init: Identity,
    /// When the program was executed, Unix milliseconds.
    pub started_ms: Option<u64>,
}

/// What failed in shim or init, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done, completing "failed to ...", or the whole sentence if it was executing the program.
    pub text: String,
    /// Exit code as a shell would give it, if it was executing the program.
    pub code: Option<i32>,
}

/// Daemon to shim, a datagram each. Every request is answered by one [`Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Execute the program. Answered when that has worked or failed.
    Start,
    /// Send a signal to the container's init.
    Signal(i32),
}

/// Shim to daemon, a datagram each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Unasked, while the container is made: the init exists, with this process id, and so do its namespaces.
    Cloned(u32),
    /// Unasked: the container is made; only the program's execution is left.
    Created,
    /// Done.
    Done,
    /// Not done.
    Failed(Failure),
}

/// Longest part of a bundle in one datagram, bytes: a small one goes as a whole, and a large one does not need a large socket buffer.
pub const PIECE_MAX: usize = 32 * 1024;

/// A bundle's bytes as datagrams: `L` and the last part, before it `M` and the others.
pub fn pieces(bundle: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let last = bundle.chunks(PIECE_MAX).len().saturating_sub(1);
    let tag = move |number| if number == last { b"L" } else { b"M" };
    bundle.chunks(PIECE_MAX).enumerate().map(move |(number, piece)| [tag(number), piece].concat())
}

/// Adds what a datagram carries; says whether it was the last, `None` for what this version does not know.
#[must_use]
pub fn add_piece(bundle: &mut Vec<u8>, datagram: &[u8]) -> Option<bool> {
    let (tag, piece) = datagram.split_first().filter(|(tag, _)| matches!(tag, b'L' | b'M'))?;
    bundle.extend_from_slice(piece);
    Some(*tag == b'L')
}

/// Longest datagram: the longest failure text with room.
pub const DATAGRAM_MAX: usize = 4096;

/// Longest text of a failure, bytes; the rest is cut off.
const TEXT_MAX: usize = 3500;

impl Request {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Start => vec![b'S'],
            Self::Signal(number) => [&b"K"[..], &number.to_le_bytes()].concat(),
        }
    }

    /// From bytes; `None` for what this version does not know.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'S', []) => Some(Self::Start),
            (b'K', number) => Some(Self::Signal(i32::from_le_bytes(number.try_into().ok()?))),
            _ => None,
        }
    }
}

impl Reply {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cloned(pid) => [&b"P"[..], &pid.to_le_bytes()].concat(),
            Self::Created => vec![b'C'],
            Self::Done => vec![b'D'],
            Self::Failed(failure) => [&b"F"[..], &failure.encode()].concat(),
        }
    }

    /// From bytes; `None` for what this version does not know.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'P', pid) => Some(Self::Cloned(u32::from_le_bytes(pid.try_into().ok()?))),
            (b'C', []) => Some(Self::Created),
            (b'D', []) => Some(Self::Done),
            (b'F', failure) => Some(Self::Failed(Failure::decode(failure)?)),
            _ => None,
        }
    }
}

impl Failure {
    /// As bytes: the code (or -1), then the text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // A character that the cut splits comes out as a replacement character on the other side.
        let end = self.text.len().min(TEXT_MAX);
        [&self.code.unwrap_or(-1).to_le_bytes()[..], &self.text.as_bytes()[..end]].concat()
    }

    /// From bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (code, text) = bytes.split_first_chunk::<4>()?;
        let code = i32::from_le_bytes(*code);
        Some(Self { text: String::from_utf8_lossy(text).into_owned(), code: (code >= 0).then_some(code) })
    }
}

/// Start time of a process, from the text of its `/proc/PID/stat`. The name in it may hold spaces and parentheses.
#[must_use]
pub fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_come_back_as_they_were() {
        for request in [Request::Start, Request::Signal(15)] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let failure = Failure { text: "exec \"x\": permission denied".to_owned(), code: Some(126) };
        let plain = Failure { text: "mount".to_owned(), code: None };
        for reply in [Reply::Cloned(7), Reply::Created, Reply::Done, Reply::Failed(failure), Reply::Failed(plain)] {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    #[test]
    fn longest_failure_fits_a_datagram() {
        let failure = Failure { text: "ä".repeat(DATAGRAM_MAX), code: None };
        assert!(Reply::Failed(failure).encode().len() <= DATAGRAM_MAX);
    }

    #[test]
    fn bundles_of_any_size_arrive_whole() {
        for size in [1, PIECE_MAX, PIECE_MAX + 1, 5 * PIECE_MAX] {
            let (bundle, mut arrived) = (vec![7; size], Vec::new());
            let ends: Vec<_> = pieces(&bundle).map(|piece| add_piece(&mut arrived, &piece)).collect();
            assert_eq!(arrived, bundle);
            assert_eq!(ends.iter().position(|end| *end == Some(true)), Some(ends.len() - 1));
        }
        assert_eq!((add_piece(&mut Vec::new(), b"S"), add_piece(&mut Vec::new(), b"")), (None, None));
    }

    #[test]
    fn start_time_is_found_behind_an_odd_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
        assert_eq!(start_ticks(stat), Some(98765));
        assert_eq!(start_ticks("garbage"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_other_side_panic(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = Request::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }
    }
}
