//! Who leads: how a leader is lost and found.

use skep_manager::store::ProposeError;

use super::log::Lead;
use super::manager::{Manager, Term, reply};
use super::queue::Event;
use super::stage::Stage;
use super::time::{MS, SECOND};
use super::world::World;

impl World {
    /// A manager dies and comes back.
    pub(crate) fn kill_manager(&mut self, manager: usize) {
        if self.stage.log.lead().is_some_and(|lead| lead.manager == manager) {
            self.vacate();
        }
        self.managers[manager].crash(&mut self.stage);
        let delay = self.stage.chance.between(100 * MS, 8 * SECOND);
        self.stage.after(delay, Event::Restart(manager));
    }

    /// The group finds a new leader though the old one lives; that one hears of it later.
    pub(crate) fn depose(&mut self) {
        if let Some(lead) = self.stage.log.lead() {
            self.vacate();
            let delay = self.stage.chance.between(0, 2 * SECOND);
            self.stage.after(delay, Event::Deposed(lead.manager, lead.term));
        }
    }

    /// Nobody leads for a while. Whoever waits for a proposal hears that it may or may not have been made.
    fn vacate(&mut self) {
        let Some(lead) = self.stage.log.lead() else { return };
        let uncommitted = u64::try_from(self.stage.log.uncommitted()).unwrap_or(0);
        let kept = usize::try_from(self.stage.chance.between(0, uncommitted)).unwrap_or(0);
        for owner in self.stage.log.depose(kept) {
            reply(&mut self.stage, lead.manager, lead.term, owner, Err(ProposeError::NotLeader));
        }
        self.spread(lead.term, None);
        let delay = self.stage.chance.between(200 * MS, 3 * SECOND);
        self.stage.after(delay, Event::Elect);
    }

    /// A manager that does not lead has what the leader has, once it is looked at: nobody can tell when it got it.
    pub(super) fn follow(&mut self, place: usize) {
        let leads = self.managers[place].daemon.as_ref().is_some_and(|daemon| daemon.term.is_some());
        if !leads && self.stage.log.lead().is_some() {
            let committed = self.stage.log.committed();
            self.managers[place].catch_up(&self.stage, committed);
        }
    }

    /// Every manager hears sooner or later who leads.
    fn spread(&mut self, term: u64, leader: Option<usize>) {
        for place in 0..self.managers.len() {
            let delay = self.stage.chance.delay(5 * MS, SECOND);
            self.stage.after(delay, Event::Learn(place, term, leader));
        }
    }

    /// A manager is there again. It hears of the leader as soon as that writes to it.
    pub(super) fn start_manager(&mut self, place: usize) {
        self.managers[place].start(&mut self.stage);
        if let Some(lead) = self.stage.log.lead() {
            let delay = self.stage.chance.delay(100 * MS, SECOND);
            self.stage.after(delay, Event::Learn(place, lead.term, Some(lead.manager)));
        }
    }

    /// A manager that can leads from now on, once it has applied all that is committed.
    pub(super) fn elect(&mut self) {
        if self.stage.log.lead().is_some() {
            return;
        }
        let now = self.stage.now;
        let able = |manager: &&Manager| manager.daemon.is_some() && manager.frozen_until <= now;
        let able: Vec<usize> = self.managers.iter().filter(able).map(|manager| manager.place).collect();
        let Some(manager) = self.stage.chance.pick(&able) else {
            return self.stage.after(500 * MS, Event::Elect);
        };
        let lead = self.stage.log.elect(manager);
        self.stage.note(format_args!("manager {manager} leads in term {}", lead.term));
        self.managers[manager].end_term(&mut self.stage);
        let committed = self.stage.log.committed();
        self.managers[manager].catch_up(&self.stage, committed);
        self.managers[manager].lead(&mut self.stage, lead);
        self.applied(manager);
        self.spread(lead.term, Some(manager));
    }
}

impl Manager {
    /// Begins the term: everything that only a leader does.
    fn lead(&mut self, stage: &mut Stage, lead: Lead) {
        let Some(daemon) = &mut self.daemon else { return };
        let steady = daemon.steady(stage.now);
        let mut term = Term::new(lead, &daemon.store, steady);
        term.begin(stage);
        daemon.term = Some(term);
    }
}
