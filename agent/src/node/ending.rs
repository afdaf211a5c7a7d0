//! How an agent ends: it stops, and its containers run on; or it leaves, and nothing of it remains.

use std::time::Duration;

use skep_proto::model::Moment;
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;

use super::{Effect, NodeMachine};

/// How long an agent that stops waits for steps and writes. A step that takes longer is left to the next daemon, which finds
/// its traces.
pub(super) const STOP_MAX: Duration = Duration::from_secs(5);

/// How long the manager has to close its side after a goodbye. One that is alive takes a round trip.
const PART_MAX: Duration = Duration::from_millis(500);

/// How long an agent that leaves may take to remove everything: containers are killed at once, so that only the kernel is waited for.
const LEAVE_MAX: Duration = Duration::from_secs(60);

/// On the way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) until: Moment,
    /// Goodbye was said; the manager has until then to close its side.
    pub(super) part_until: Option<Moment>,
    pub(super) leaving: bool,
}

impl NodeMachine {
    /// Ends: with a goodbye, containers run on.
    pub fn stop(&mut self, now: Moment) -> Vec<Effect> {
        self.ending = Some(Ending { until: now + STOP_MAX, part_until: Some(now + PART_MAX), leaving: false });
        part(false)
    }

    /// Ends for good: everything is killed and removed, and then goodbye is said. The managers take it for the word that nothing of
    /// this node runs any more.
    pub fn leave(&mut self, now: Moment) -> Vec<Effect> {
        self.ending = Some(Ending { until: now + LEAVE_MAX, part_until: None, leaving: true });
        let forgotten = self.worker.leave(now);
        let mut effects = self.obey(now, forgotten);
        effects.extend(self.part_when_gone(now));
        effects
    }

    pub(super) fn part_when_gone(&mut self, now: Moment) -> Vec<Effect> {
        let gone = self.worker.is_empty();
        match &mut self.ending {
            Some(Ending { leaving: true, part_until: until @ None, .. }) if gone => {
                *until = Some(now + PART_MAX);
                part(true)
            }
            _ => Vec::new(),
        }
    }

    /// The end is there. `idle`: no step is under way and there is no stream.
    #[must_use]
    pub fn has_ended(&self, now: Moment, idle: bool) -> bool {
        let Some(ending) = self.ending else { return false };
        let done = idle && if ending.leaving { self.worker.is_empty() } else { self.ledger.is_clean() };
        done || ending.until <= now
    }
}

fn part(leaving: bool) -> Vec<Effect> {
    vec![Effect::Say(ToManager::Goodbye(pb::Goodbye { leaving })), Effect::Part]
}
