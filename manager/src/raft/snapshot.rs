//! A snapshot's file: a header, then sealed frames (what the log was, the state's chunks, an end), and when a new one is due.
//!
//! Without the end frame a file is not a snapshot; it cannot come to be under its final name, but a copied file may be cut short.

use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::SnapshotMetadata;

use skep_proto::pb::SnapshotChunk;

use super::seal::KEY_LEN;

/// Magic, index, salt, checksum, zeros.
pub(super) const HEADER_LEN: usize = 64;

const MAGIC: &[u8; 8] = b"skepsnp1";

/// Entries, each of one write or of all that shared it, after which a new snapshot is due if they are as large as the last: some hundred
/// milliseconds of replay at a start when they are small.
const ENTRIES: u64 = 10_000;

/// Entries after which one is due even if they are small beside the state.
const ENTRIES_MAX: u64 = 100_000;

/// Bytes of log after which one is due: what is kept in memory and read at a start.
const BYTES: u64 = 64 << 20;

/// Log files after which one is due: each start leaves one behind.
const FILES: usize = 64;

/// What a file's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Index of the last entry that the snapshot holds.
    pub(super) index: u64,
    /// Makes the file's key.
    pub(super) salt: [u8; KEY_LEN],
}

/// One frame's content.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Frame {
    /// Index, term and members: the first frame.
    About(SnapshotMetadata),
    /// A part of the state.
    Chunk(SnapshotChunk),
    /// The last frame.
    End,
}

/// What was logged since the last snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) files: usize,
    /// Size of the last snapshot.
    pub(super) snapshot_bytes: u64,
}

impl Since {
    /// Whether a new snapshot is due. A large state is not written again for a little log: what is written for snapshots stays within
    /// a few times what is logged.
    pub(super) fn is_due(&self) -> bool {
        let is_worth_it = self.bytes >= self.snapshot_bytes;
        self.entries > 0
            && (self.entries >= ENTRIES_MAX
                || self.files > FILES
                || self.bytes >= BYTES.max(self.snapshot_bytes)
                || (self.entries >= ENTRIES && is_worth_it))
    }
}

impl Header {
    /// As it is written.
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.salt);
        let crc = crc32fast::hash(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads it back; `None` when it is none.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let index = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        let header = Self { index, salt: bytes[16..48].try_into().expect("32 bytes") };
        (header.encode() == *bytes).then_some(header)
    }
}

impl Frame {
    /// As it is sealed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::About(about) => {
                bytes.push(1);
                about.write_to_vec(&mut bytes).expect("writing to memory cannot fail and every field is set");
            }
            Self::Chunk(chunk) => {
                bytes.push(2);
                chunk.encode(&mut bytes).expect("a vector grows as needed");
            }
            Self::End => bytes.push(3),
        }
        bytes
    }

    /// Reads it back; `None` when it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, about) => SnapshotMetadata::parse_from_bytes(about).ok().map(Self::About),
            (2, chunk) => SnapshotChunk::decode(chunk).ok().map(Self::Chunk),
            (3, []) => Some(Self::End),
            _ => None,
        }
    }
}

/// A file's name: its order as text is its order as number.
pub(super) fn name(index: u64) -> String {
    format!("{index:020}.snap")
}

/// Reads a name back.
pub(super) fn index_of(name: &str) -> Option<u64> {
    name.strip_suffix(".snap").filter(|digits| digits.len() == 20)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_entries_bytes_or_files_but_not_for_a_little_log() {
        let mb = 1 << 20;
        let cases = [
            (Since { files: 100, ..Since::default() }, false),
            (Since { entries: 1, files: 65, ..Since::default() }, true),
            (Since { entries: 9_999, bytes: mb, files: 2, snapshot_bytes: mb }, false),
            (Since { entries: 10_000, bytes: mb, files: 2, snapshot_bytes: mb }, true),
            (Since { entries: 10_000, bytes: mb, files: 2, snapshot_bytes: 300 * mb }, false),
            (Since { entries: 100_000, bytes: mb, files: 2, snapshot_bytes: 300 * mb }, true),
            (Since { entries: 10, bytes: 64 * mb, files: 2, snapshot_bytes: mb }, true),
            (Since { entries: 10, bytes: 64 * mb, files: 2, snapshot_bytes: 300 * mb }, false),
        ];
        for (since, due) in cases {
            assert_eq!(since.is_due(), due, "{since:?}");
        }
    }

    #[test]
    fn frames_and_headers_are_read_back() {
        let about = SnapshotMetadata { index: 9, term: 2, ..SnapshotMetadata::default() };
        for frame in [Frame::About(about), Frame::Chunk(SnapshotChunk::default()), Frame::End] {
            assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        }
        let header = Header { index: 5, salt: [7; KEY_LEN] };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!((Frame::decode(&[]), Frame::decode(&[9]), Frame::decode(&[3, 0])), (None, None, None));
    }
}
