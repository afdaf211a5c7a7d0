//! A member whose disk has less than the member acknowledged: an older copy of its directory was put back, or a disk that lies lost the
//! end of the log. Raft takes it for granted that this never happens, and its library ends the process over it. Here the member goes on,
//! under two rules, until it has everything again: it stands in no election, and it votes for nobody who may lack what it lacks. So what
//! was acknowledged is not forgotten by a majority that contains it. The leader, for its part, believes a member that says that it has
//! less, and sends it the rest.
//!
//! A loss is found out only when a leader that remembers more is heard. Before that nobody can know; one lost disk of three is survived
//! all the same, as long as the other two do not fail at that very moment.

use raft::eraftpb::{Message, MessageType};

/// What a member had and has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Index up to which it has acknowledged entries that are committed.
    pub(super) had: u64,
    /// Index at which its log ends instead.
    pub(super) has: u64,
    /// Term of the leader that remembers.
    term: u64,
}

impl Loss {
    /// What a message tells to a member whose log ends at `last`. A leader says of no entry that it is committed to a member that has
    /// not acknowledged it.
    pub(super) fn told_by(message: &Message, last: u64) -> Option<Self> {
        let is_more = message.get_msg_type() == MessageType::MsgHeartbeat && message.commit > last;
        is_more.then_some(Self { had: message.commit, has: last, term: message.term })
    }

    /// Whether the member may listen to a message: not to who wants it to lead, nor to a candidate that may lack what it lacks itself.
    /// One whose log reaches into the term in which that was committed, and as far, has it; so has every leader of a later term.
    pub(super) fn may_hear(self, message: &Message) -> bool {
        match message.get_msg_type() {
            MessageType::MsgTimeoutNow => false,
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                (message.log_term, message.index) >= (self.term, self.had)
            }
            _ => true,
        }
    }

    /// Whether the member may say it: it asks nobody for a vote.
    pub(super) fn may_say(message: &Message) -> bool {
        !matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
    }

    /// Asks the leader that sent `heartbeat` for what is missing, as a member does whose log does not reach to what it was sent.
    pub(super) fn answer(self, heartbeat: &Message, last_term: u64) -> Message {
        Message {
            msg_type: MessageType::MsgAppendResponse,
            from: heartbeat.to,
            to: heartbeat.from,
            term: heartbeat.term,
            index: self.had,
            reject: true,
            reject_hint: self.has,
            log_term: last_term,
            ..Message::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(msg_type: MessageType, log_term: u64, index: u64) -> Message {
        Message { msg_type, term: 9, log_term, index, ..Message::default() }
    }

    #[test]
    fn a_leader_that_remembers_more_tells_of_a_loss() {
        let heartbeat = |commit| Message { commit, term: 7, ..message(MessageType::MsgHeartbeat, 0, 0) };
        assert_eq!(Loss::told_by(&heartbeat(5), 5), None);
        assert_eq!(Loss::told_by(&heartbeat(9), 5), Some(Loss { had: 9, has: 5, term: 7 }));
        let append = Message { commit: 9, ..message(MessageType::MsgAppend, 0, 0) };
        assert_eq!(Loss::told_by(&append, 5), None, "entries may come with a commit beyond what the member has");
    }

    #[test]
    fn who_may_lack_the_same_gets_no_vote() {
        let loss = Loss { had: 9, has: 5, term: 7 };
        for (log_term, index, gets_it) in [(7, 9, true), (8, 6, true), (7, 8, false), (6, 20, false)] {
            for kind in [MessageType::MsgRequestVote, MessageType::MsgRequestPreVote] {
                assert_eq!(loss.may_hear(&message(kind, log_term, index)), gets_it, "{log_term} {index}");
                assert!(!Loss::may_say(&message(kind, log_term, index)));
            }
        }
        assert!(!loss.may_hear(&message(MessageType::MsgTimeoutNow, 0, 0)));
        assert!(loss.may_hear(&message(MessageType::MsgAppend, 0, 0)));
        assert!(Loss::may_say(&message(MessageType::MsgRequestVoteResponse, 0, 0)));
    }
}
