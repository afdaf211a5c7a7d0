//! The group of managers as every component may see it: who belongs to it, who leads, and how it may change. What is asked of it goes
//! through [`crate::sys::Consensus`]; what keeps it is [`crate::raft`].

use std::time::Duration;

/// Whether and in which term this manager leads, and who does as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// It leads and has applied everything that was committed before it came to lead.
    pub is_leader: bool,
    /// Raft's term.
    pub term: u64,
    /// Raft id of the leader, this member or another; `None` while none is known. A member that was elected and has not yet
    /// applied what it must know first is named by nobody.
    pub leader: Option<u64>,
    /// Whom it followed before it came to lead.
    pub before: Option<Predecessor>,
}

/// The leader before this one, and how long it had been silent when this one came to lead: what a machine that has died cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its Raft id.
    pub raft_id: u64,
    /// Since its last message.
    pub silent: Duration,
}

/// The group as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Who leads, and when.
    pub leadership: Leadership,
    /// Index up to which the log is committed.
    pub committed: u64,
    /// All members, by id.
    pub members: Vec<MemberView>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its Raft id.
    pub id: u64,
    /// It votes; otherwise it learns.
    pub is_voter: bool,
    /// Index up to which its log is known to agree with the leader's.
    pub matched: u64,
    /// It was heard within an election time.
    pub is_heard: bool,
}

/// A change of the group. Making one twice changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// It receives the log and does not vote yet.
    AddLearner(u64),
    /// It votes from now on.
    Promote(u64),
    /// It is no member any more, and never will be again under this id.
    Remove(u64),
}

/// Why a change of the group was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another one is under way.
    #[error("change the group of managers: another change is under way")]
    Busy,
    /// This manager does not lead (any more); the change may or may not have been made.
    #[error("change the group of managers: this manager does not lead it")]
    NotLeader,
}

impl Group {
    /// Voters.
    pub fn voters(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.is_voter)
    }

    /// Whether those that remain without a member could still decide: enough of them are heard.
    ///
    /// # Errors
    /// When they could not.
    pub fn can_lose(&self, id: u64) -> Result<(), QuorumLoss> {
        if self.member(id).is_none_or(|member| !member.is_voter) {
            return Ok(());
        }
        let remaining = self.voters().filter(|voter| voter.id != id);
        let (voters, heard) =
            remaining.fold((0, 0), |(all, heard), voter| (all + 1, heard + usize::from(voter.is_heard)));
        let needed = quorum(voters);
        if voters > 0 && heard >= needed { Ok(()) } else { Err(QuorumLoss { voters, heard, needed }) }
    }

    /// One member.
    #[must_use]
    pub fn member(&self, id: u64) -> Option<&MemberView> {
        self.members.iter().find(|member| member.id == id)
    }
}

/// Why a voter cannot go: those that remain could not decide anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keep a quorum: {}", self.told())]
pub struct QuorumLoss {
    /// Voters that would remain.
    pub voters: usize,
    /// How many of them are heard.
    pub heard: usize,
    /// How many it takes to decide.
    pub needed: usize,
}

impl QuorumLoss {
    fn told(&self) -> String {
        let Self { voters, heard, needed } = self;
        if *voters == 0 {
            return "it is the last manager of the swarm; make another node a manager first, with `skep node promote`"
                .to_owned();
        }
        let are = if *heard == 1 { "is" } else { "are" };
        format!(
            "without it {voters} of the managers remain, of which {needed} must be reachable and only {heard} {are}; bring the others \
             back or remove them first"
        )
    }
}

/// Votes that decide among so many voters.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: &[(u64, bool, bool)]) -> Group {
        let view = |&(id, is_voter, is_heard): &(u64, bool, bool)| MemberView { id, is_voter, matched: 0, is_heard };
        Group { members: members.iter().map(view).collect(), ..Group::default() }
    }

    #[test]
    fn a_voter_may_go_while_those_that_remain_can_decide() {
        let three = group(&[(1, true, true), (2, true, true), (3, true, false)]);
        assert_eq!(three.can_lose(3), Ok(()), "a dead one always");
        let loss = three.can_lose(2).unwrap_err();
        assert_eq!(loss, QuorumLoss { voters: 2, heard: 1, needed: 2 });
        assert!(
            loss.to_string().contains("2 of the managers remain, of which 2 must be reachable and only 1 is"),
            "{loss}"
        );
        assert!(group(&[(1, true, true)]).can_lose(1).is_err(), "the last never");
        assert_eq!(group(&[(1, true, true), (2, true, true)]).can_lose(2), Ok(()));
        assert_eq!(group(&[(1, true, true), (2, false, false)]).can_lose(2), Ok(()), "a learner always");
    }
}
