//! What the kernel answers, from bytes. Cut or malformed input ends a list early and never panics.

use std::io;

use super::encode::HEADER;
use super::wire::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};

/// One message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    /// What it is about.
    pub(crate) kind: u16,
    /// Flags of its header.
    pub(crate) flags: u16,
    /// The request it answers.
    pub(crate) sequence: u32,
    /// Everything after the header.
    pub(crate) body: &'a [u8],
}

impl Reply<'_> {
    /// Whether it ends the answer, and how: an acknowledgement, the end of a list, or a refusal.
    pub(crate) fn end(&self) -> Option<io::Result<()>> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return None;
        }
        let code = number(self.body).unwrap_or_default().cast_signed();
        Some(if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(()) })
    }

    /// The list it belongs to changed while it was written: ask again.
    pub(crate) fn interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }
}

/// The messages of one datagram.
pub(crate) fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(number(rest)?).ok()?;
        let whole = rest.get(..length).filter(|m| m.len() >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply {
            kind: short(&whole[4..])?,
            flags: short(&whole[6..])?,
            sequence: number(&whole[8..])?,
            body: &whole[HEADER..],
        })
    })
}

/// Kind and payload of each attribute in a list; the kind without its flags.
pub(crate) fn attributes(list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let length = usize::from(short(rest)?);
        let kind = short(rest.get(2..)?)?;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & 0x3fff, payload))
    })
}

/// Payload of the first attribute of `kind`.
pub(crate) fn attribute(list: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(list).find_map(|(found, payload)| (found == kind).then_some(payload))
}

/// A string attribute's text, without the final zero.
pub(crate) fn text(payload: &[u8]) -> &str {
    let end = payload.iter().position(|&b| b == 0).unwrap_or(payload.len());
    std::str::from_utf8(&payload[..end]).unwrap_or_default()
}

/// A 32-bit number in the machine's byte order.
pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

fn short(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::super::{Attributes, Message};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_carries_the_kernels_error() {
        let bytes = Message::new(NLMSG_ERROR, 0, &(-17_i32).to_ne_bytes(), &Attributes::new()).to_bytes(9, 0);
        let reply = replies(&bytes).next().unwrap();
        assert_eq!(reply.sequence, 9);
        assert_eq!(reply.end().unwrap().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    proptest! {
        #[test]
        fn attributes_come_back_as_they_went(list in prop::collection::vec((0_u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let built = list.iter().fold(Attributes::new(), |a, (kind, payload)| a.bytes(*kind, payload));
            let read: Vec<_> = attributes(built.as_bytes()).map(|(k, p)| (k, p.to_vec())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn no_datagram_panics_or_loops(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(replies(&bytes).flat_map(|r| attributes(r.body)).count() <= 200);
        }
    }
}
