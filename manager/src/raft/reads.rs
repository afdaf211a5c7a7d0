//! Reads that wait until it is certain that they see everything acknowledged before they began.

use std::collections::BTreeMap;

use super::pending::{Reply, answer};
use crate::store::ProposeError;

/// Reads by how far they are. Those that come while one round is asked for share the next.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Nobody was asked for them yet.
    gathered: Vec<Reply>,
    /// Asked for, by the number of the round.
    asked: BTreeMap<u64, Vec<Reply>>,
    /// Leadership was confirmed for them at an index that must be applied first.
    confirmed: Vec<(u64, Vec<Reply>)>,
    rounds: u64,
}

impl Reads {
    /// A read begins.
    pub(super) fn gather(&mut self, reply: Reply) {
        self.gathered.push(reply);
    }

    /// The number of a new round for all that have gathered; `None` when there are none.
    pub(super) fn ask(&mut self) -> Option<u64> {
        if self.gathered.is_empty() {
            return None;
        }
        self.rounds += 1;
        self.asked.insert(self.rounds, std::mem::take(&mut self.gathered));
        Some(self.rounds)
    }

    /// A round was answered, and with it all before.
    pub(super) fn confirm(&mut self, round: u64, index: u64) {
        let later = self.asked.split_off(&(round + 1));
        let rounds = std::mem::replace(&mut self.asked, later);
        self.confirmed.extend(rounds.into_values().map(|replies| (index, replies)));
    }

    /// Everything up to `applied` is in the state: who waited for that may look.
    pub(super) fn open(&mut self, applied: u64) {
        let (open, shut) = std::mem::take(&mut self.confirmed).into_iter().partition(|(index, _)| *index <= applied);
        self.confirmed = shut;
        let open: Vec<(u64, Vec<Reply>)> = open;
        open.into_iter().flat_map(|(_, replies)| replies).for_each(|reply| answer(reply, Ok(Vec::new())));
    }

    /// None of them will be answered.
    pub(super) fn fail(&mut self, error: &ProposeError) {
        let all = std::mem::take(self);
        let rest = all.asked.into_values().chain(all.confirmed.into_iter().map(|(_, replies)| replies)).flatten();
        all.gathered.into_iter().chain(rest).for_each(|reply| answer(reply, Err(error.clone())));
        self.rounds = all.rounds;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_read_is_answered_when_its_round_is_confirmed_and_its_index_applied() {
        let mut reads = Reads::default();
        let (first, mut seen_first) = oneshot::channel();
        let (second, mut seen_second) = oneshot::channel();
        reads.gather(first);
        assert_eq!((reads.ask(), reads.ask()), (Some(1), None));
        reads.gather(second);
        assert_eq!(reads.ask(), Some(2));
        reads.confirm(1, 10);
        reads.open(9);
        assert!(seen_first.try_recv().is_err(), "its index is not applied yet");
        reads.open(10);
        assert_eq!(seen_first.try_recv(), Ok(Ok(Vec::new())));
        assert!(seen_second.try_recv().is_err(), "its round is not confirmed yet");
        reads.fail(&ProposeError::NotLeader);
        assert_eq!(seen_second.try_recv(), Ok(Err(ProposeError::NotLeader)));
    }
}
