//! Messages and their attributes, to bytes.

use super::wire::{NLA_F_NESTED, NLM_F_REQUEST};

/// Bytes of a message's header.
pub(super) const HEADER: usize = 16;

/// A list of attributes in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// An empty list.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one attribute.
    ///
    /// # Panics
    /// When the payload does not fit the 16-bit length. Callers cut their lists far below it.
    pub(crate) fn bytes(mut self, kind: u16, payload: &[u8]) -> Self {
        let length = u16::try_from(payload.len() + 4).expect("callers keep attributes below 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a byte.
    pub(crate) fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    /// Adds a number in the machine's byte order, as rtnetlink wants it.
    pub(crate) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network byte order, as netfilter wants it.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a string with its final zero.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Adds a list as one attribute.
    pub(crate) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }

    /// What was added so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One message, without the sequence number that the socket gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A request of `kind` with the structure `fixed` (a multiple of four bytes) before its attributes.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8], attributes: &Attributes) -> Self {
        Self { kind, flags, body: [fixed, attributes.as_bytes()].concat() }
    }

    /// The whole message. `more_flags` are the socket's: acknowledge, dump.
    ///
    /// # Panics
    /// When the message is longer than 4 GiB, which attributes cannot make it.
    pub(crate) fn to_bytes(&self, sequence: u32, more_flags: u16) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.body.len()).expect("a message is far below 4 GiB");
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&(self.flags | more_flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
