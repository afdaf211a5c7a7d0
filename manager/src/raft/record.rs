//! How a record lies in a file: a header, the sealed body, zeros up to the next multiple of eight.
//!
//! One record is what one sync makes durable, however many proposals it carries. Hence the rule that recovery stands on: a damaged
//! record with a good one behind it was acknowledged once and is real damage; a damaged one with nothing behind it was being written
//! when the power went, and nobody was told that it was stored.
//!
//! The header has a checksum of its own, so that good records are found behind a damaged one without trusting any length.

use std::ops::Range;

/// Length, checksum of the body, ordinal, checksum of these, four zeros.
pub(super) const HEADER_LEN: usize = 24;

/// Records begin at multiples of this.
const ALIGN: usize = 8;

/// Longest body. A proposal may have as much; a length beyond it is damage.
pub(super) const BODY_LEN_MAX: usize = 64 << 20;

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The record that was looked for.
    Record {
        /// Where its body is.
        body: Range<usize>,
        /// Where the next one begins.
        next: usize,
    },
    /// Zeros, the end of the file, or something that is not the record.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    len: usize,
    body_crc: u32,
    ordinal: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")));
        let ordinal = u64::from_le_bytes(bytes.get(8..16)?.try_into().expect("eight bytes"));
        let good = word(16)? == crc32fast::hash(&bytes[..16]) && word(20)? == 0;
        let len = usize::try_from(word(0)?).ok().filter(|len| good && (1..=BODY_LEN_MAX).contains(len))?;
        Some(Self { len, body_crc: word(4)?, ordinal })
    }
}

/// A record ready to be written.
pub(super) fn frame(ordinal: u64, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(framed_len(body.len()));
    record.extend([0; HEADER_LEN]);
    record.extend(body);
    finish(ordinal, &mut record);
    record
}

/// Makes a record of a body that stands behind room for its header.
pub(super) fn finish(ordinal: u64, record: &mut Vec<u8>) {
    let (header, body) = record.split_at_mut(HEADER_LEN);
    let len = u32::try_from(body.len()).expect("a body is at most 64 MiB");
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..8].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    header[8..16].copy_from_slice(&ordinal.to_le_bytes());
    let checksum = crc32fast::hash(&header[..16]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    header[20..].fill(0);
    let len = framed_len(body.len());
    record.resize(len, 0);
}

/// Bytes that a body takes in a file.
pub(super) fn framed_len(body: usize) -> usize {
    (HEADER_LEN + body).next_multiple_of(ALIGN)
}

/// The length of the body that a header announces, and its ordinal.
pub(super) fn announced(header: &[u8]) -> Option<(usize, u64)> {
    Header::read(header).map(|header| (header.len, header.ordinal))
}

/// Looks for one record at an offset.
pub(super) fn read_at(bytes: &[u8], offset: usize, ordinal: u64) -> Found {
    match good_at(bytes, offset) {
        Some((header, body)) if header.ordinal == ordinal => {
            let next = offset + framed_len(header.len);
            Found::Record { body, next }
        }
        _ => Found::Nothing,
    }
}

/// Where the first good record from an offset on is, whatever stands between.
pub(super) fn search(bytes: &[u8], offset: usize) -> Option<usize> {
    let from = offset.next_multiple_of(ALIGN);
    (from..bytes.len()).step_by(ALIGN).find(|&at| good_at(bytes, at).is_some())
}

fn good_at(bytes: &[u8], offset: usize) -> Option<(Header, Range<usize>)> {
    let header = Header::read(bytes.get(offset..)?)?;
    let start = offset + HEADER_LEN;
    let body = bytes.get(start..start + header.len)?;
    (crc32fast::hash(body) == header.body_crc).then_some((header, start..start + header.len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_good_record_is_found_behind_anything() {
        let mut bytes = vec![0xa5; 101];
        bytes.resize(104, 0);
        bytes.extend(frame(7, b"body"));
        assert_eq!(search(&bytes, 0), Some(104));
        assert_eq!(search(&bytes, 105), None);
        assert_eq!(read_at(&bytes, 104, 7), Found::Record { body: 128..132, next: 136 });
        assert_eq!(read_at(&bytes, 104, 8), Found::Nothing);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_seen(body in proptest::collection::vec(any::<u8>(), 1..200), bit: prop::sample::Index) {
            let mut bytes = frame(3, &body);
            let bit = bit.index((HEADER_LEN + body.len()) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(read_at(&bytes, 0, 3), Found::Nothing);
        }
    }
}
