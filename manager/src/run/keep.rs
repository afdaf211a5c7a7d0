//! How a manager that hears of no leader, or has no vote, finds out what has become of its seat. One that was taken out of the group while it was cut off, and
//! perhaps let in again by its node's role, is told nothing by Raft: those that remain do not write to it any more.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use skep_proto::model::Era;
use skep_proto::pb;
use skep_proto::pb::membership_client::MembershipClient;
use tokio::time::timeout;
use tonic::Status;

use super::entry::Crier;
use super::manager::Manager;
use crate::group::Group;
use crate::store::Over;
use crate::sys::Consensus as _;

/// How long it must be so before anybody is asked: some elections. It doubles with every round, since those who are asked may be
/// without a leader themselves.
const LEADERLESS: Duration = Duration::from_secs(2);
const LEADERLESS_MAX: Duration = Duration::from_secs(24);

/// How long one manager may take to answer: it may have to find a leader, or to wait for one.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);

/// Managers whom a node names and who are asked, and the pause after that: what nodes say costs this manager no more.
const PLACES_MAX: usize = 16;
const RUMOR_PAUSE: Duration = Duration::from_secs(1);

impl Manager {
    /// Whether the cluster wants this node to be no manager any more, as its leader says; `false` as well when none says anything in time.
    /// Holds nothing of the manager, so that it may end meanwhile.
    pub fn is_to_go(&self) -> impl Future<Output = bool> + Send + use<> {
        let crier = self.crier();
        async move { timeout(ASK_TIME_MAX, crier.is_to_go()).await.unwrap_or(false) }
    }
}

impl Crier {
    async fn is_to_go(&self) -> bool {
        for place in self.places() {
            match self.ask_for_seat(&place).await {
                Ok(reply) => return reply.is_to_go,
                Err(status) => tracing::debug!(place, %status, "nobody there knows what this node is to be"),
            }
        }
        false
    }

    /// Looks after the seat until it is gone, or Raft ends.
    pub(super) async fn keep_seat(self) {
        let (mut group, own) = (self.raft().group(), self.raft().own_id());
        let mut wait = LEADERLESS;
        while group.wait_for(|group| !is_in_touch(group, own)).await.is_ok() {
            let led = group.wait_for(|group| is_in_touch(group, own));
            match timeout(wait, led).await.map(|led| led.is_ok()) {
                Ok(true) => wait = LEADERLESS,
                Ok(false) => return,
                Err(_) if self.has_lost_it().await => return,
                Err(_) => wait = (wait * 2).min(LEADERLESS_MAX),
            }
        }
    }

    /// Finds out whether there is a later era, when a node says so: it may not be what it was when it was let in.
    pub(super) async fn look_into_rumors(self) {
        let mut rumors = self.store().watch_rumor();
        while rumors.changed().await.is_ok() {
            let Some((era, places)) = rumors.borrow_and_update().clone() else { continue };
            for place in places.iter().take(PLACES_MAX) {
                match timeout(ASK_TIME_MAX, self.ask_for_era(place)).await {
                    Ok(Ok(Some(theirs))) if self.store().hear_of_era_at(theirs, vec![place.clone()]) => return,
                    answer => tracing::debug!(place, ?answer, ?era, "nobody there lives in a later era"),
                }
            }
            tokio::time::sleep(RUMOR_PAUSE).await;
        }
    }

    /// The era that the manager there lives in.
    async fn ask_for_era(&self, place: &str) -> Result<Option<Era>, Status> {
        let era = self.store().era().map(|era| era.0);
        let request = pb::RaftProbeRequest { era, managers: Vec::new() };
        Ok(MembershipClient::new(self.dial(place).await?).probe(request).await?.into_inner().era.map(Era))
    }

    /// Asks the managers until one knows.
    async fn has_lost_it(&self) -> bool {
        let places = self.others();
        // All at once: some are where nobody is any more, and a manager that is out of the group has no other way to hear of it.
        let ask = |place: String| async move { (timeout(ASK_TIME_MAX, self.ask_for_seat(&place)).await, place) };
        let mut answers: FuturesUnordered<_> = places.into_iter().map(ask).collect();
        while let Some((answer, place)) = answers.next().await {
            if self.store().watch_over().borrow().is_some() {
                return true;
            }
            match answer {
                Ok(Ok(reply)) => match end_of(self.store().era(), reply, &place) {
                    Verdict::Over(Over::Seat) => {
                        self.store().lose_seat();
                        return true;
                    }
                    Verdict::Over(Over::Era { era, managers }) => return self.store().hear_of_era_at(era, managers),
                    Verdict::Stays => return false,
                    Verdict::Unknown => {}
                },
                Ok(Err(status)) => tracing::debug!(place, %status, "nobody there knows what has become of this seat"),
                Err(_) => {}
            }
        }
        false
    }

    async fn ask_for_seat(&self, place: &str) -> Result<pb::RaftSeatReply, Status> {
        let era = self.store().era().map(|era| era.0);
        let request = pb::RaftSeatRequest { raft_id: self.raft().own_id(), era };
        Ok(MembershipClient::new(self.dial(place).await?).get_seat(request).await?.into_inner())
    }
}

/// Whether this member would notice if the others went on without it: it votes, and follows somebody. One that does not vote stands for no
/// election, and takes whom it followed last for the leader for ever.
fn is_in_touch(group: &Group, own: u64) -> bool {
    group.leadership.leader.is_some() && group.member(own).is_some_and(|member| member.is_voter)
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    Over(Over),
    /// It was said in an earlier era than ours, by someone who knows nothing of us.
    Unknown,
}

fn end_of(ours: Option<Era>, reply: pb::RaftSeatReply, place: &str) -> Verdict {
    let theirs = reply.era.map(Era);
    match (ours, theirs) {
        (Some(ours), Some(era)) if era > ours => Verdict::Over(Over::Era { era, managers: vec![place.to_owned()] }),
        (Some(ours), theirs) if theirs != Some(ours) => Verdict::Unknown,
        _ if reply.gone => Verdict::Over(Over::Seat),
        _ => Verdict::Stays,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Leadership, MemberView};

    #[test]
    fn who_does_not_vote_may_have_been_forgotten() {
        let member = |is_voter| MemberView { id: 1, is_voter, matched: 0, is_heard: true };
        let group = |leader, members| {
            let leadership = Leadership { leader, ..Leadership::default() };
            Group { leadership, committed: 0, members }
        };
        for (leader, members, expected) in [
            (Some(2), vec![member(true)], true),
            (Some(2), vec![member(false)], false),
            (Some(2), vec![], false),
            (None, vec![member(true)], false),
        ] {
            assert_eq!(is_in_touch(&group(leader, members), 1), expected);
        }
    }

    #[test]
    fn only_who_lives_in_our_era_knows_of_our_seat() {
        let reply = |gone, era| pb::RaftSeatReply { gone, is_to_go: false, era };
        let elsewhere = || Verdict::Over(Over::Era { era: Era(6), managers: vec!["a:1".to_owned()] });
        for (ours, gone, theirs, verdict) in [
            (Some(5), false, Some(5), Verdict::Stays),
            (Some(5), true, Some(5), Verdict::Over(Over::Seat)),
            (Some(5), true, Some(4), Verdict::Unknown),
            (Some(5), true, None, Verdict::Unknown),
            (Some(5), true, Some(6), elsewhere()),
            (Some(5), false, Some(6), elsewhere()),
            (None, true, Some(6), Verdict::Over(Over::Seat)),
            (None, false, Some(6), Verdict::Stays),
        ] {
            assert_eq!(end_of(ours.map(Era), reply(gone, theirs), "a:1"), verdict, "{ours:?} {gone} {theirs:?}");
        }
    }
}
