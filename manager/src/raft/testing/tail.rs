//! What is found at the end of a log's file after the power went: the real format, written to memory and read back.

use super::disk::Remnant;
use crate::raft::record::frame;
use crate::raft::saved::Saved;
use crate::raft::seal::{DataKey, FileKey, KEY_LEN};
use crate::raft::segment::{HEADER_LEN, Header, scan};

/// What a disk writes as a whole; of several of them any may be missing after a crash. Real ones are larger, records here are small.
const PIECE: usize = 64;

/// Zeros that were written ahead of the last record.
const ZEROS: usize = 256;

/// Records that a start finds in a file with these, of which the last was being written.
pub(super) fn survivors(records: &[Saved], remnant: Remnant) -> Vec<Saved> {
    let (mut bytes, places, key) = written(records);
    let last = places.last().copied().unwrap_or(bytes.len());
    damage(&mut bytes[last..], remnant);
    bytes.resize(bytes.len() + ZEROS, 0);
    read(&bytes, &key)
}

/// What a start reads from a file with these records after that bit has flipped before the last of them; `None` when it refuses the file.
pub(super) fn read_after_rot(records: &[Saved], bit: u64) -> Option<Vec<Saved>> {
    let (mut bytes, places, key) = written(records);
    let last = places.last().copied().filter(|last| *last > HEADER_LEN)?;
    damage(&mut bytes[HEADER_LEN..last], Remnant::Flipped(bit));
    bytes.resize(bytes.len() + ZEROS, 0);
    let header = Header::decode(&bytes).expect("it is not what was damaged");
    scan(&bytes, &header, None).is_ok().then(|| read(&bytes, &key))
}

/// A file with these records, and where each begins.
fn written(records: &[Saved]) -> (Vec<u8>, Vec<usize>, FileKey) {
    let header = Header { sequence: 3, first: 7, salt: [5; KEY_LEN] };
    let key = DataKey::new(&[9; KEY_LEN]).file_key(&header.salt);
    let (mut bytes, mut places) = (header.encode().to_vec(), Vec::new());
    for (ordinal, saved) in (header.first..).zip(records) {
        places.push(bytes.len());
        bytes.extend(framed(&key, ordinal, saved));
    }
    (bytes, places, key)
}

fn framed(key: &FileKey, ordinal: u64, saved: &Saved) -> Vec<u8> {
    let mut body = Vec::new();
    saved.encode_into(&mut body);
    key.seal(ordinal, &mut body);
    frame(ordinal, &body)
}

fn damage(record: &mut [u8], remnant: Remnant) {
    match remnant {
        Remnant::All => {}
        Remnant::Nothing => record.fill(0),
        Remnant::Pieces(which) => {
            let missing = record.chunks_mut(PIECE).enumerate().filter(|(place, _)| (which >> (place % 64)) & 1 == 0);
            missing.for_each(|(_, piece)| piece.fill(0));
        }
        Remnant::Flipped(bit) => {
            let bit = usize::try_from(bit).unwrap_or(0) % (record.len() * 8);
            record[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

fn read(bytes: &[u8], key: &FileKey) -> Vec<Saved> {
    let header = Header::decode(bytes).expect("the header was synced long ago");
    let found = scan(bytes, &header, None).expect("what is behind the last good record is one write, and no damage");
    let open = |(ordinal, body): (u64, std::ops::Range<usize>)| {
        let mut body = bytes[body].to_vec();
        let plain = key.open(ordinal, &mut body).expect("its checksum is right");
        Saved::decode(plain).expect("it was written so")
    };
    found.records.into_iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, HardState};

    use super::*;

    #[test]
    fn whatever_is_left_of_the_last_record_those_before_it_are_found() {
        let saved = |index| Saved {
            hard_state: HardState { term: 2, vote: 1, commit: index, ..HardState::default() },
            entries: vec![Entry { index, term: 2, data: vec![7; 200].into(), ..Entry::default() }],
        };
        let records = [saved(4), saved(5), saved(6)];
        assert_eq!(survivors(&records, Remnant::All), records);
        assert_eq!(survivors(&records, Remnant::Nothing), records[..2]);
        for number in 0..2_000 {
            assert_eq!(survivors(&records, Remnant::Pieces(number)).get(..2), records.get(..2), "{number}");
            assert_eq!(survivors(&records, Remnant::Flipped(number)).get(..2), records.get(..2), "{number}");
        }
        assert_eq!(survivors(&records, Remnant::Pieces(u64::MAX)), records);
        assert_eq!(survivors(&records, Remnant::Pieces(0b1101)), records[..2]);
        assert_eq!(survivors(&records, Remnant::Flipped(40)), records[..2]);
    }

    #[test]
    fn a_bit_that_flips_before_the_last_record_is_damage() {
        let saved = |index| Saved {
            hard_state: HardState { term: 2, vote: 1, commit: index, ..HardState::default() },
            entries: vec![Entry { index, term: 2, data: vec![7; 20].into(), ..Entry::default() }],
        };
        let records = [saved(4), saved(5), saved(6)];
        let read: Vec<_> = (0..3_000).map(|bit| read_after_rot(&records, bit)).collect();
        assert!(read.iter().flatten().all(|read| *read == records), "zeros that fill a record up say nothing");
        assert!(read.iter().filter(|read| read.is_none()).count() > 2_500);
    }
}
