//! What Raft knows, told to the rest of the manager.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::group::{Group, Leadership};

/// Raft knows who leads and who is heard; the rest of the manager asks. Without a leader nobody is called silent for some time, because only
/// votes that were asked for are answered: `asking` is how long a member may take to that. One that led has asked all the time.
pub(super) async fn tell(
    (mut leadership, mut group): (watch::Receiver<Leadership>, watch::Receiver<Group>),
    lead: watch::Sender<Option<u64>>,
    hear: watch::Sender<BTreeSet<u64>>,
    asking: Duration,
) {
    let mut asked_at = Some(Instant::now() + asking);
    let mut led = false;
    loop {
        let Leadership { leader, is_leader, .. } = *leadership.borrow_and_update();
        lead.send_if_modified(|there| std::mem::replace(there, leader) != leader);
        let members = group.borrow_and_update().members.clone();
        let grace = if led { Duration::ZERO } else { asking };
        asked_at = leader.is_none().then(|| asked_at.unwrap_or_else(|| Instant::now() + grace));
        led = is_leader;
        let is_known = asked_at.is_none_or(|at| at <= Instant::now());
        let heard = members.iter().filter(|member| is_known && member.is_heard).map(|member| member.id).collect();
        hear.send_if_modified(|there| {
            *there != heard && {
                *there = heard;
                true
            }
        });
        let changed = tokio::select! {
            changed = leadership.changed() => changed,
            changed = group.changed() => changed,
            () = sleep_until(asked_at.unwrap_or_else(Instant::now)), if !is_known => Ok(()),
        };
        if changed.is_err() {
            lead.send_replace(None);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::MemberView;

    const LONG: Duration = Duration::from_secs(3600);

    fn group(heard: &[u64]) -> Group {
        let member = |id| MemberView { id, is_voter: true, matched: 0, is_heard: heard.contains(&id) };
        Group { members: (1..=3).map(member).collect(), ..Group::default() }
    }

    fn led_by(leader: Option<u64>) -> Leadership {
        Leadership { leader, is_leader: leader == Some(1), ..Leadership::default() }
    }

    /// What member 1 says of whom it hears after `leader`, which it heard besides itself, is lost.
    async fn heard_after(leader: u64, asking: Duration) -> BTreeSet<u64> {
        let (lead_in, leadership) = watch::channel(led_by(Some(leader)));
        let (group_in, groups) = watch::channel(group(&[1, 2]));
        let ((lead, mut led), (hear, heard)) = (watch::channel(None), watch::channel(BTreeSet::new()));
        let telling = tell((leadership, groups), lead, hear, asking);
        let losing = async {
            led.wait_for(|led| *led == Some(leader)).await.unwrap();
            group_in.send_replace(group(&[1]));
            lead_in.send_replace(led_by(None));
            // Both were told before it is looked at again, so what it says then is of both.
            drop((lead_in, group_in));
        };
        tokio::join!(telling, losing);
        heard.borrow().clone()
    }

    #[tokio::test]
    async fn nobody_is_called_silent_before_a_manager_without_a_leader_has_asked_them() {
        assert_eq!(heard_after(2, LONG).await, BTreeSet::new());
        assert_eq!(heard_after(2, Duration::ZERO).await, BTreeSet::from([1]));
        assert_eq!(heard_after(1, LONG).await, BTreeSet::from([1]), "one that led has asked them all the time");
    }
}
