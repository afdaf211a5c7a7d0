//! The group as the rest of the manager sees it: who belongs to it, who leads, what may be asked of it.

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

    /// One member.
    #[must_use]
    pub fn member(&self, id: u64) -> Option<&MemberView> {
        self.members.iter().find(|member| member.id == id)
    }
}

/// Votes that decide among so many voters.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}
