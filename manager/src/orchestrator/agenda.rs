//! Which services to look at, now and later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_proto::model::{Mode, Moment, ServiceId};

use crate::store::{State, Touched};

/// How often everything is looked at though nothing happened. It costs milliseconds, and bounds how long a wake-up that was
/// lost to a bug can go unnoticed.
pub const FULL_SCAN_EVERY: Duration = Duration::from_secs(30);

/// A service rests for so many times as long as it took to look at it, so that one with a million tasks cannot keep the
/// loop, and readers out of the state, all the time. One with a thousand rests for a few milliseconds.
pub const REST_FACTOR: u32 = 8;

/// Longest rest, however many large services there are: an end that comes during it is noticed so much later.
pub const REST_MAX: Duration = Duration::from_secs(2);

/// Looks quicker than this are not followed by a rest: what is saved would be less than a timer is precise.
pub const REST_FROM: Duration = Duration::from_millis(1);

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    now: BTreeSet<ServiceId>,
    later: BTreeMap<ServiceId, Moment>,
    resting: BTreeMap<ServiceId, Moment>,
    /// When the rests of all that were looked at, one after the other, would be over.
    rested: Moment,
    nodes_at: Option<Moment>,
    scan_at: Moment,
}

impl Agenda {
    /// Takes a wake-up in. A node that came or changed concerns the global services, which may belong there.
    pub(super) fn note(&mut self, state: &State, touched: &Touched, now: Moment) {
        if touched.all || touched.cluster {
            return self.note_everything(state, now);
        }
        for &service in &touched.services {
            self.note_service(service, now);
        }
        if !touched.nodes.is_empty() {
            self.nodes_at = Some(now);
            let global = state.services().filter(|service| service.spec.mode == Mode::Global);
            self.now.extend(global.map(|service| service.id));
        }
    }

    /// Moves what is due by now to the front; everything, when the full scan is.
    pub(super) fn advance(&mut self, state: &State, now: Moment) {
        if self.scan_at <= now {
            self.note_everything(state, now);
        }
        let due: Vec<ServiceId> = self.later.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for service in due {
            self.later.remove(&service);
            self.now.insert(service);
        }
        self.resting.retain(|_, until| *until > now);
    }

    fn note_everything(&mut self, state: &State, now: Moment) {
        self.now.extend(state.services().map(|service| service.id));
        self.nodes_at = Some(now);
        self.scan_at = now + FULL_SCAN_EVERY;
    }

    fn note_service(&mut self, service: ServiceId, now: Moment) {
        match self.resting.get(&service) {
            Some(&until) if until > now => self.look_at(service, until),
            _ => {
                self.now.insert(service);
            }
        }
    }

    /// The next service to look at now.
    pub(super) fn take(&mut self) -> Option<ServiceId> {
        self.now.pop_first()
    }

    /// Whether the nodes are to be looked at now.
    pub(super) fn take_nodes(&mut self, now: Moment) -> bool {
        self.nodes_at.take_if(|at| *at <= now).is_some()
    }

    /// Looks at the service at that moment at the latest.
    pub(super) fn look_at(&mut self, service: ServiceId, at: Moment) {
        let due = self.later.entry(service).or_insert(at);
        *due = at.min(*due);
    }

    /// Looks at the nodes at that moment at the latest.
    pub(super) fn look_at_nodes(&mut self, at: Moment) {
        self.nodes_at = Some(self.nodes_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Lets a service rest that needed nothing and was long to look at. Rests add up: a hundred large services whose tasks start at the
    /// same time are together no more work than one of them.
    pub(super) fn rest(&mut self, service: ServiceId, took: Duration, now: Moment) {
        if took >= REST_FROM {
            self.rested = self.rested.max(now) + took * REST_FACTOR;
            self.resting.insert(service, self.rested.min(now + REST_MAX));
        }
    }

    /// When something is due, if nothing happens before.
    pub(super) fn due(&self, now: Moment) -> Moment {
        if !self.now.is_empty() {
            return now;
        }
        let later = self.later.values().copied().chain(self.nodes_at).min();
        later.map_or(self.scan_at, |at| at.min(self.scan_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(2);

    /// How often each of so many services is looked at in ten seconds in which all of them change all the time.
    fn looks(services: u32) -> u32 {
        let touched =
            Touched { services: (0..services).map(|id| ServiceId::new(id.into())).collect(), ..Touched::default() };
        let (mut agenda, state, mut now, mut looks) = (Agenda::default(), State::default(), Moment(1_000_000), 0);
        let end = now + Duration::from_secs(10);
        while now < end {
            agenda.note(&state, &touched, now);
            agenda.advance(&state, now);
            while let Some(service) = agenda.take() {
                agenda.rest(service, LOOK, now);
                now = now + LOOK;
                looks += 1;
            }
            now = now + Duration::from_millis(1);
        }
        looks / services
    }

    #[test]
    fn large_services_take_a_ninth_of_the_time_however_many_they_are() {
        let one = looks(1);
        assert!((500..650).contains(&one), "{one}");
        assert!((4..9).contains(&looks(100)), "{}", looks(100));
    }

    #[test]
    fn no_service_rests_for_longer_than_it_may() {
        let (mut agenda, now) = (Agenda::default(), Moment(1_000_000));
        (0..100).for_each(|id| agenda.rest(ServiceId::new(id), Duration::from_millis(200), now));
        assert!(agenda.resting.values().all(|until| *until <= now + REST_MAX));
    }
}
