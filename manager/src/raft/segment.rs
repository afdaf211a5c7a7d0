//! One file of the log: its name, its header, and which of its records count.

use std::ops::Range;

use super::record::{Found, read_at, search};
use super::seal::KEY_LEN;

/// Magic, sequence, first ordinal, salt, checksum, zeros.
pub(super) const HEADER_LEN: usize = 64;

const MAGIC: &[u8; 8] = b"skepwal1";

/// What a file's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Files are numbered without a gap.
    pub(super) sequence: u64,
    /// The ordinal of the first record. Records of earlier files from here on were never acknowledged.
    pub(super) first: u64,
    /// Makes the file's key.
    pub(super) salt: [u8; KEY_LEN],
}

impl Header {
    /// As it is written.
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.salt);
        let crc = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads it back; `None` when it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_LEN>()?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let salt = bytes[24..56].try_into().expect("32 bytes");
        let header = Self { sequence: number(8), first: number(16), salt };
        (header.encode() == *bytes).then_some(header)
    }
}

/// A file's name: its order as text is its order as number.
pub(super) fn name(sequence: u64) -> String {
    format!("{sequence:020}.wal")
}

/// Reads a name back.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".wal").filter(|digits| digits.len() == 20)?.parse().ok()
}

/// Records that count, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Ordinal and place of the body of each.
    pub(super) records: Vec<(u64, Range<usize>)>,
    /// Where the last one ends.
    pub(super) end: usize,
}

/// Damage at this offset that cannot be a torn last write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: usize,
}

/// Finds a file's records from its header's first ordinal up to `limit`, the next file's first; `None` for the last file.
///
/// A file that is not the last must have them all. In the last one, the first thing that is no record ends the log, unless a good
/// record stands behind it.
pub(super) fn scan(bytes: &[u8], header: &Header, limit: Option<u64>) -> Result<Scan, Damage> {
    let mut scan = Scan { records: Vec::new(), end: HEADER_LEN };
    let mut ordinal = header.first;
    while limit.is_none_or(|limit| ordinal < limit) {
        let Found::Record { body, next } = read_at(bytes, scan.end, ordinal) else { break };
        scan.records.push((ordinal, body));
        scan.end = next;
        ordinal += 1;
    }
    let complete = limit.map_or_else(|| search(bytes, scan.end).is_none(), |limit| ordinal == limit);
    if complete { Ok(scan) } else { Err(Damage { offset: scan.end }) }
}

/// Whether a last file whose header cannot be read may be thrown away: it was being made, and nothing was ever written to it.
pub(super) fn is_stillborn(bytes: &[u8]) -> bool {
    bytes.get(HEADER_LEN..).is_none_or(|rest| rest.iter().all(|&byte| byte == 0))
}
