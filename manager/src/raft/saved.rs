//! What one record holds: the hard state and the entries that became durable together.

use protobuf::Message;
use raft::eraftpb::{Entry, HardState};

/// One record's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Saved {
    /// Term, vote and commit as of this record. In every record, so that old files may go without a thought.
    pub(super) hard_state: HardState,
    /// Entries; one with an index that is already there replaces it and all behind it.
    pub(super) entries: Vec<Entry>,
}

impl Saved {
    /// Index of the last entry, or zero.
    pub(super) fn last_index(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.index)
    }

    /// As it is sealed, behind what is there.
    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        write(bytes, &self.hard_state);
        self.entries.iter().for_each(|entry| write(bytes, entry));
    }

    /// Reads it back; `None` when it is not of this form.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let hard_state = read(&mut bytes)?;
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            entries.push(read(&mut bytes)?);
        }
        Some(Self { hard_state, entries })
    }
}

fn write(bytes: &mut Vec<u8>, message: &impl Message) {
    let len = message.compute_size();
    bytes.extend(len.to_le_bytes());
    message.write_to_vec(bytes).expect("writing to memory cannot fail and every field is set");
}

fn read<M: Message>(bytes: &mut &[u8]) -> Option<M> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (message, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *bytes = rest;
    M::parse_from_bytes(message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_back_and_half_of_it_is_not() {
        let hard_state = HardState { term: 3, vote: 1, commit: 9, ..Default::default() };
        let entry = |index| Entry { index, term: 3, data: vec![7; 100].into(), ..Default::default() };
        let saved = Saved { hard_state, entries: vec![entry(10), entry(11)] };
        let mut bytes = Vec::new();
        saved.encode_into(&mut bytes);
        assert_eq!(Saved::decode(&bytes), Some(saved));
        assert_eq!(Saved::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Saved::decode(&[]), None);
    }
}
