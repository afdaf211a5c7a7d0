//! A backup on its way back into a state: its parts in order, and whether it is whole.

use skep_proto::pb;
use skep_proto::pb::backup_part::Part;

use super::chunk::{Rebuild, RebuildError};
use super::state::State;

/// Why parts make no backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// They do not come as they were written.
    #[error("read the backup: its parts are out of order")]
    Order,
    /// An object cannot be read.
    #[error("read the backup")]
    Object(#[from] RebuildError),
    /// Some are missing.
    #[error("read the backup: {missing} of its objects are missing")]
    Missing {
        /// How many.
        missing: u64,
    },
    /// The end is.
    #[error("read the backup: it was cut short")]
    Cut,
}

/// A backup that is being read.
#[derive(Debug, Default)]
pub struct Restoration {
    about: Option<pb::BackupAbout>,
    rebuild: Rebuild,
    read: u64,
    ended: bool,
}

impl Restoration {
    /// Takes the next part.
    ///
    /// # Errors
    /// When it cannot follow those before it. The backup is of no use then.
    pub fn add(&mut self, part: pb::BackupPart) -> Result<(), BackupError> {
        match (part.part, &self.about, self.ended) {
            (Some(Part::About(about)), None, _) => self.about = Some(about),
            (Some(Part::Chunk(chunk)), Some(_), false) => {
                self.read += (chunk.nodes.len() + chunk.services.len() + chunk.tasks.len()) as u64;
                self.rebuild.add(*chunk)?;
            }
            (Some(Part::End(end)), Some(_), false) => {
                self.ended = true;
                let wanted = end.nodes.saturating_add(end.services).saturating_add(end.tasks);
                if wanted != self.read {
                    return Err(BackupError::Missing { missing: wanted.saturating_sub(self.read) });
                }
            }
            _ => return Err(BackupError::Order),
        }
        Ok(())
    }

    /// The state, as of the index that it had.
    ///
    /// # Errors
    /// When the end is missing.
    pub fn finish(self) -> Result<State, BackupError> {
        match self.about {
            Some(about) if self.ended => Ok(self.rebuild.finish(about.index)),
            _ => Err(BackupError::Cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::node;

    fn part(part: Part) -> pb::BackupPart {
        pb::BackupPart { part: Some(part) }
    }

    fn about() -> pb::BackupPart {
        part(Part::About(pb::BackupAbout { index: 7, ..Default::default() }))
    }

    fn chunk() -> pb::BackupPart {
        let nodes = vec![(&node(1)).into()];
        part(Part::Chunk(Box::new(pb::SnapshotChunk { nodes, ..Default::default() })))
    }

    fn end(nodes: u64) -> pb::BackupPart {
        part(Part::End(pb::BackupEnd { nodes, ..Default::default() }))
    }

    fn read(parts: &[pb::BackupPart]) -> Result<State, BackupError> {
        let mut restoration = Restoration::default();
        parts.iter().try_for_each(|part| restoration.add(part.clone()))?;
        restoration.finish()
    }

    #[test]
    fn a_whole_backup_is_a_state_as_of_its_index() {
        let state = read(&[about(), chunk(), end(1)]).unwrap();
        assert_eq!((state.index(), state.nodes().count()), (7, 1));
    }

    #[test]
    fn parts_that_are_missing_double_or_out_of_order_are_seen() {
        for (parts, wanted) in [
            (vec![], BackupError::Cut),
            (vec![about(), chunk()], BackupError::Cut),
            (vec![about(), end(1)], BackupError::Missing { missing: 1 }),
            (vec![chunk()], BackupError::Order),
            (vec![about(), about()], BackupError::Order),
            (vec![about(), end(0), chunk()], BackupError::Order),
            (vec![about(), end(0), end(0)], BackupError::Order),
            (vec![about(), pb::BackupPart::default()], BackupError::Order),
        ] {
            assert_eq!(read(&parts).unwrap_err(), wanted);
        }
        assert!(matches!(read(&[about(), chunk(), chunk(), end(2)]), Err(BackupError::Object(_))));
    }
}
