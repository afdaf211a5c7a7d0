//! Proposals that were put into the log and wait to be applied.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::store::{Outcome, ProposeError};

/// Where a proposer waits.
pub(super) type Reply = oneshot::Sender<Result<Vec<Outcome>, ProposeError>>;

#[derive(Debug)]
struct Waiting {
    index: u64,
    term: u64,
    reply: Reply,
}

/// By index, as they were proposed. As many as the queue in front and the log's uncommitted end let in.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<Waiting>,
}

impl Pending {
    /// Waits for the entry with this index and term.
    pub(super) fn push(&mut self, index: u64, term: u64, reply: Reply) {
        self.waiting.push_back(Waiting { index, term, reply });
    }

    /// The entry at this index is committed. Its proposer, if it is ours; those whose place another leader's entry took are told that
    /// they are not answered.
    pub(super) fn take(&mut self, index: u64, term: u64) -> Option<Reply> {
        while let Some(first) = self.waiting.pop_front() {
            if (first.index, first.term) == (index, term) {
                return Some(first.reply);
            }
            if first.index > index {
                self.waiting.push_front(first);
                return None;
            }
            answer(first.reply, Err(ProposeError::NotLeader));
        }
        None
    }

    /// None of them will be answered.
    pub(super) fn fail(&mut self, error: &ProposeError) {
        self.waiting.drain(..).for_each(|waiting| answer(waiting.reply, Err(error.clone())));
    }
}

/// Tells a proposer. One that went away asked for no answer.
pub(super) fn answer(reply: Reply, result: Result<Vec<Outcome>, ProposeError>) {
    drop(reply.send(result));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposer_whose_place_was_taken_is_told() {
        let mut pending = Pending::default();
        let (ours, mut taken) = (oneshot::channel(), oneshot::channel());
        pending.push(5, 1, taken.0);
        pending.push(7, 2, ours.0);
        assert!(pending.take(4, 1).is_none(), "an entry that nobody here waits for");
        assert!(pending.take(5, 2).is_none(), "another leader's entry");
        assert_eq!(taken.1.try_recv(), Ok(Err(ProposeError::NotLeader)));
        assert!(pending.take(7, 2).is_some());
    }
}
