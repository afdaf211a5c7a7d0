//! Proposals that were put into the log and wait to be applied.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::store::{Outcome, ProposeError, Refusal};

/// Where a proposer waits.
pub(super) type Reply = oneshot::Sender<Result<Vec<Outcome>, ProposeError>>;

/// One of those whose transactions are in an entry: how many of them are its own, in order.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) transactions: usize,
    pub(super) reply: Reply,
}

#[derive(Debug)]
struct Entered {
    index: u64,
    term: u64,
    waiting: Vec<Waiting>,
}

/// By index, as they were proposed. As many as the queue in front and the log's uncommitted end let in.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entered: VecDeque<Entered>,
}

impl Pending {
    /// They wait for the entry with this index and term.
    pub(super) fn push(&mut self, index: u64, term: u64, waiting: Vec<Waiting>) {
        self.entered.push_back(Entered { index, term, waiting });
    }

    /// The entry at this index is committed. Its proposers, if it is ours; those whose place another leader's entry took are told that
    /// they are not answered.
    pub(super) fn take(&mut self, index: u64, term: u64) -> Vec<Waiting> {
        while let Some(first) = self.entered.pop_front() {
            if (first.index, first.term) == (index, term) {
                return first.waiting;
            }
            if first.index > index {
                self.entered.push_front(first);
                return Vec::new();
            }
            fail(first.waiting, &ProposeError::NotLeader);
        }
        Vec::new()
    }

    /// None of them will be answered.
    pub(super) fn fail(&mut self, error: &ProposeError) {
        self.entered.drain(..).for_each(|entered| fail(entered.waiting, error));
    }
}

/// Tells each proposer of an entry what became of its own transactions. An entry that could not be read has one outcome for all.
pub(super) fn answer_each(waiting: Vec<Waiting>, outcomes: Vec<Outcome>) {
    let mut outcomes = outcomes.into_iter();
    let unread = || Err(Refusal::Unknown("the entry cannot be read".to_owned()));
    for Waiting { transactions, reply } in waiting {
        answer(reply, Ok((0..transactions).map(|_| outcomes.next().unwrap_or_else(unread)).collect()));
    }
}

/// Tells proposers why nothing becomes of it.
pub(super) fn fail(waiting: Vec<Waiting>, error: &ProposeError) {
    waiting.into_iter().for_each(|waiting| answer(waiting.reply, Err(error.clone())));
}

/// Tells a proposer. One that went away asked for no answer.
pub(super) fn answer(reply: Reply, result: Result<Vec<Outcome>, ProposeError>) {
    drop(reply.send(result));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(reply: Reply, transactions: usize) -> Vec<Waiting> {
        vec![Waiting { transactions, reply }]
    }

    #[test]
    fn a_proposer_whose_place_was_taken_is_told() {
        let mut pending = Pending::default();
        let (ours, mut taken) = (oneshot::channel(), oneshot::channel());
        pending.push(5, 1, one(taken.0, 1));
        pending.push(7, 2, one(ours.0, 1));
        assert!(pending.take(4, 1).is_empty(), "an entry that nobody here waits for");
        assert!(pending.take(5, 2).is_empty(), "another leader's entry");
        assert_eq!(taken.1.try_recv(), Ok(Err(ProposeError::NotLeader)));
        assert_eq!(pending.take(7, 2).len(), 1);
    }

    #[test]
    fn each_proposer_of_an_entry_gets_the_outcomes_of_its_own() {
        let (mut first, mut second) = (oneshot::channel(), oneshot::channel());
        let waiting = one(first.0, 2).into_iter().chain(one(second.0, 1)).collect();
        let refused = Err(Refusal::Unknown("a new kind".to_owned()));
        answer_each(waiting, vec![Ok(9), refused.clone(), Ok(9)]);
        assert_eq!(first.1.try_recv(), Ok(Ok(vec![Ok(9), refused])));
        assert_eq!(second.1.try_recv(), Ok(Ok(vec![Ok(9)])));
    }
}
