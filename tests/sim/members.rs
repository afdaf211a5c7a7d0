//! The group of managers in the world: how it begins, its rounds and messages, who leads, who dies and comes back.

use skep_manager::group::MemberChange;
use skep_manager::raft::testing::{CrashPoint, MemoryDisk, Parcel};

use super::check::{Verdict, broken};
use super::consensus::{Input, Round};
use super::manager::reply;
use super::queue::{Event, Side};
use super::raft_id;
use super::time::{MS, SECOND, Us};
use super::world::World;
use skep_manager::store::{Proposal, Transaction};

/// A tick of Raft: a fifth of its heartbeat. Half as often as on a real manager, which saves time and loses nothing.
const TICK: Us = 40 * MS;

impl World {
    /// A manager is there again.
    pub(super) fn start_manager(&mut self, place: usize) {
        if self.managers[place].start(&mut self.stage) {
            self.round(place, None);
            if self.managers.len() > 1 {
                self.stage.after(TICK, Event::Beat(place, self.managers[place].life));
            }
        }
    }

    /// A manager's Raft clock ticks.
    pub(super) fn beat(&mut self, place: usize, life: u32) {
        if self.managers[place].life != life || self.managers[place].daemon.is_none() {
            return;
        }
        self.stage.after(TICK, Event::Beat(place, life));
        if self.managers[place].give(&mut self.stage, Input::Tick, true) {
            self.round(place, None);
        }
    }

    /// A manager's Raft thread does what waits; a crash that is due falls on one of its writes.
    pub(super) fn drive(&mut self, place: usize, life: u32) {
        if self.managers[place].life == life {
            let crash = self.managers[place].dies.take();
            self.round(place, crash);
        }
    }

    fn round(&mut self, place: usize, crash: Option<CrashPoint>) {
        let Some(Round { parcels, answers, has_died }) = self.managers[place].round(crash) else { return };
        parcels.into_iter().for_each(|parcel| self.post(parcel));
        if has_died {
            return self.bury(place);
        }
        for (owner, term, answer) in answers {
            reply(&mut self.stage, place, term, owner, answer);
        }
        self.applied(place);
        let verdict = self.invariant_one_manager_leads_a_term(place);
        self.judge(verdict);
        if self.managers[place].is_news() {
            let delay = self.stage.chance.delay(MS, SECOND / 2);
            self.stage.after(delay, Event::Lead(place, self.managers[place].life));
        }
    }

    /// Two that lead in one term would both be believed.
    fn invariant_one_manager_leads_a_term(&mut self, place: usize) -> Verdict {
        let Some(now) = self.managers[place].leadership().filter(|now| now.is_leader) else { return Ok(()) };
        match self.leaders.insert(now.term, place) {
            Some(before) if before != place => {
                broken("one_manager_leads_a_term", format!("{before} and {place} in term {}", now.term))
            }
            _ => Ok(()),
        }
    }

    /// Sends a message to another member, or loses it.
    fn post(&mut self, parcel: Parcel) {
        let lost = self.stage.chance.once_in(self.stage.rules.losses);
        let delay = self.stage.chance.delay(MS, self.stage.rules.latency_max);
        if !lost {
            return self.stage.after(delay, Event::Parcel(Box::new(parcel)));
        }
        self.arrived(&parcel, false);
    }

    /// A message is there.
    pub(super) fn delivered(&mut self, parcel: Box<Parcel>) {
        let (from, to) = (place(parcel.from), place(parcel.to));
        let arrives = self.managers[to].daemon.is_some() && !self.stage.net.is_cut_between(from, to, self.stage.now);
        self.arrived(&parcel, arrives);
        if arrives {
            self.managers[to].give(&mut self.stage, Input::Parcel(parcel), false);
        }
    }

    /// Whoever sent a snapshot hears what became of it.
    fn arrived(&mut self, parcel: &Parcel, arrives: bool) {
        if parcel.has_snapshot() {
            self.managers[place(parcel.from)].give(&mut self.stage, Input::SnapshotSent(parcel.to, arrives), false);
        }
    }

    /// A manager dies, now or in the middle of what it writes next, and comes back.
    pub(crate) fn kill_manager(&mut self, manager: usize) {
        if self.stage.chance.once_in(400) {
            let kept = self.stage.chance.once_in(500);
            let at_save = usize::try_from(self.stage.chance.below(2)).unwrap_or(0);
            self.managers[manager].dies = Some(CrashPoint { at_save, kept });
        } else {
            self.bury(manager);
        }
    }

    fn bury(&mut self, manager: usize) {
        if !self.managers[manager].crash(&mut self.stage) {
            return;
        }
        for place in (0..self.managers.len()).filter(|place| *place != manager) {
            self.managers[place].give(&mut self.stage, Input::Lost(raft_id(manager)), false);
        }
        let delay = self.stage.chance.between(100 * MS, 8 * SECOND);
        self.stage.after(delay, Event::Restart(manager));
    }

    /// Some manager and some others do not hear each other for a while.
    pub(crate) fn cut_managers(&mut self) {
        let (count, one) = (self.managers.len(), self.any_manager());
        let most = self.stage.chance.pick(&[2 * SECOND, 8 * SECOND, 20 * SECOND]).unwrap_or(SECOND);
        let until = self.stage.now + self.stage.chance.between(50 * MS, most);
        let (out, into, alone) =
            (self.stage.chance.once_in(700), self.stage.chance.once_in(700), self.stage.chance.once_in(500));
        let other = self.any_manager();
        for place in (0..count).filter(|place| *place != one && (alone || *place == other)) {
            if out {
                self.stage.net.cut_between(one, place, until);
            }
            if into {
                self.stage.net.cut_between(place, one, until);
            }
        }
    }

    /// The group before anything else happens: the first manager founds it and lets the others in.
    pub(super) fn gather(&mut self, first: Transaction) {
        for place in 0..self.managers.len() {
            let id = raft_id(place);
            let disk = if place == 0 { MemoryDisk::founded(id) } else { MemoryDisk::joined(id) };
            self.managers[place].disk = Some(disk);
            self.managers[place].start(&mut self.stage);
            for change in [MemberChange::AddLearner(id), MemberChange::Promote(id)].into_iter().filter(|_| place > 0) {
                self.managers[0].change(change);
                self.settle_members();
            }
            self.settle_members();
        }
        let (reply, _) = tokio::sync::oneshot::channel();
        let proposal = Proposal { transactions: vec![first], term: None, reply };
        self.managers[0].hand(Input::Propose(Box::new(proposal)));
        self.settle_members();
        for place in 0..self.managers.len() {
            self.applied(place);
            self.managers[place].lead(&mut self.stage);
            if self.managers.len() > 1 {
                self.stage.after(TICK, Event::Beat(place, self.managers[place].life));
            }
        }
    }

    /// Delivers every message at once until there is none.
    fn settle_members(&mut self) {
        for _ in 0..4 {
            let mut parcels = self.tick_all();
            while let Some(parcel) = parcels.pop() {
                let (to, from) = (place(parcel.to), place(parcel.from));
                let (has_snapshot, id) = (parcel.has_snapshot(), parcel.to);
                parcels.extend(self.managers[to].hand(Input::Parcel(Box::new(parcel))));
                if has_snapshot {
                    parcels.extend(self.managers[from].hand(Input::SnapshotSent(id, true)));
                }
            }
        }
    }

    fn tick_all(&mut self) -> Vec<Parcel> {
        self.managers.iter_mut().flat_map(|manager| manager.hand(Input::Tick)).collect()
    }

    /// Streams of agents to a manager break as those to any process that died.
    pub(super) fn refuse(&mut self, id: super::queue::ConnId) {
        self.stage.close(id, Side::Manager, false);
        self.stage.lose(id, Side::Agent, 5 * MS);
    }
}

/// Where the member with that number is.
fn place(raft_id: u64) -> usize {
    usize::try_from(raft_id).expect("few managers") - 1
}
