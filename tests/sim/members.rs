//! The group of managers in the world: how it begins, its rounds and messages, who leads, who dies and comes back.

use skep_manager::group::MemberChange;
use skep_manager::raft::testing::{CrashPoint, Parcel, Remnant};

use super::check::{Verdict, broken};
use super::consensus::{Input, Round};
use super::manager::Lead;
use super::queue::{Event, Owner, Result, Side};
use super::seats::LEADERLESS;
use super::time::{MS, SECOND, TICK, Us};
use super::world::World;
use super::{place, raft_id};
use skep_manager::store::{Proposal, Transaction};

impl World {
    /// A manager is there again.
    pub(super) fn start_manager(&mut self, place: usize) {
        if self.managers[place].start(&mut self.stage) {
            self.round(place, None);
            self.stage.after(TICK, Event::Beat(place, self.managers[place].life));
            self.stage.after(MS, Event::Ask(place));
            self.stage.after(LEADERLESS, Event::KeepSeat(place, self.managers[place].life));
        }
    }

    /// A manager's Raft clock ticks.
    pub(super) fn beat(&mut self, place: usize, life: u32) {
        if self.managers[place].life != life || self.managers[place].daemon.is_none() {
            return;
        }
        let is_alone = self.managers[place].daemon.as_ref().is_some_and(|daemon| daemon.seat.is_alone());
        self.stage.after(if is_alone { SECOND } else { TICK }, Event::Beat(place, life));
        if is_alone {
            return;
        }
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
        let Some(Round { parcels, answers, has_died }) = self.managers[place].round(self.stage.now, crash) else {
            return;
        };
        // Whatever a member has promised it must remember.
        let has_voted = self.is_restless() && !self.stage.rules.is_quiet && parcels.iter().any(Parcel::is_vote);
        let verdict = self.invariant_a_member_votes_once_in_a_term(&parcels);
        self.judge(verdict);
        parcels.into_iter().for_each(|parcel| self.post(parcel));
        let mut answers = answers;
        if has_died {
            match self.managers[place].survive(&mut self.stage) {
                Some(refused) => answers = refused,
                None => return self.bury(place),
            }
        }
        for (owner, lead, answer) in answers {
            let verdict = self.invariant_loops_act_in_their_own_term(place, owner, lead, &answer);
            self.judge(verdict);
            let (life, delay) = (self.managers[place].life, self.stage.chance.delay(MS, SECOND));
            self.stage.after(delay, Event::Reply(life, lead, owner, answer));
        }
        self.applied(place);
        let verdict = self.invariant_one_manager_leads_a_term(place);
        self.judge(verdict);
        if self.managers[place].is_news() && self.managers[place].will_hear() {
            let is_slow = self.is_restless() && self.stage.chance.once_in(200);
            let usual = if is_slow { SECOND } else { MS };
            let delay = self.stage.chance.delay(usual, SECOND);
            self.stage.after(delay, Event::Lead(place, self.managers[place].life));
        }
        if has_voted && self.stage.chance.once_in(400) {
            self.stage.note(format_args!("manager {place} dies of its vote"));
            self.bury(place);
        }
    }

    /// What a loop of a leader has planned counts in its term only: in a later one it would act beside whoever came between.
    fn invariant_loops_act_in_their_own_term(
        &self,
        place: usize,
        owner: Owner,
        lead: Lead,
        answer: &Result,
    ) -> Verdict {
        let term = lead.term;
        let Some(daemon) = self.managers[place].daemon.as_ref().filter(|_| owner.is_loop()) else { return Ok(()) };
        let written = answer.iter().flatten().flatten().filter_map(|index| daemon.seat.term_of(*index));
        match written.into_iter().find(|written| *written != term) {
            Some(written) => {
                let what = format!("{owner:?} of {place} planned in term {term}, and it was done in {written}");
                broken("loops_act_in_their_own_term", what)
            }
            None => Ok(()),
        }
    }

    /// Two that lead in one term would both be believed. Whoever is elected counts, although it may never come to act.
    fn invariant_one_manager_leads_a_term(&mut self, place: usize) -> Verdict {
        let daemon = self.managers[place].daemon.as_ref();
        let Some(term) = daemon.and_then(|daemon| daemon.seat.elected()) else { return Ok(()) };
        match self.leaders.insert(term, place) {
            Some(before) if before != place => {
                broken("one_manager_leads_a_term", format!("{before} and {place} in term {term}"))
            }
            _ => Ok(()),
        }
    }

    /// Whoever votes twice in a term, as after a crash that it has forgotten its vote in, may elect two.
    fn invariant_a_member_votes_once_in_a_term(&mut self, parcels: &[Parcel]) -> Verdict {
        for parcel in parcels {
            let Some((term, candidate)) = parcel.ballot() else { continue };
            let before = *self.votes.entry((parcel.from, term)).or_insert(candidate);
            if before != candidate {
                let what = format!("member {} votes for {before} and {candidate} in term {term}", parcel.from);
                return broken("a_member_votes_once_in_a_term", what);
            }
        }
        Ok(())
    }

    /// Sends a message to another member, or loses it.
    fn post(&mut self, parcel: Parcel) {
        let lost = self.stage.chance.once_in(self.stage.rules.losses);
        let delay = self.any_latency();
        if !lost {
            if !parcel.has_snapshot() && self.stage.chance.once_in(self.stage.rules.doubles) {
                let late = self.any_latency();
                self.stage.after(late, Event::Parcel(Box::new(parcel.clone())));
            }
            return self.stage.after(delay, Event::Parcel(Box::new(parcel)));
        }
        self.arrived(&parcel, false);
    }

    /// In a restless world many messages are so late that others overtake them.
    fn any_latency(&mut self) -> Us {
        let most = self.stage.rules.latency_max;
        let is_late = self.is_restless() && !self.stage.rules.is_quiet && self.stage.chance.once_in(400);
        if is_late { self.stage.chance.between(MS, most) } else { self.stage.chance.delay(MS, most) }
    }

    /// A message is there.
    pub(super) fn delivered(&mut self, parcel: Box<Parcel>) {
        let (Some(from), Some(to)) = (place(parcel.from), place(parcel.to)) else { return };
        let arrives = self.managers[to].daemon.is_some() && !self.stage.net.is_cut_between(from, to, self.stage.now);
        self.arrived(&parcel, arrives);
        if arrives {
            self.managers[to].give(&mut self.stage, Input::Parcel(parcel), false);
        } else if self.stage.chance.once_in(100) {
            self.managers[from].give(&mut self.stage, Input::Unreachable(raft_id(to)), false);
        }
    }

    /// Whoever sent a snapshot hears what became of it.
    fn arrived(&mut self, parcel: &Parcel, arrives: bool) {
        if let Some(from) = place(parcel.from).filter(|_| parcel.has_snapshot()) {
            self.managers[from].give(&mut self.stage, Input::SnapshotSent(parcel.to, arrives), false);
        }
    }

    /// Some managers take the leader for dead at the same moment, and stand at once: their timeouts might have fallen together.
    pub(crate) fn alarm(&mut self) {
        let leaders: Vec<usize> = (0..self.managers.len()).filter(|place| self.leads(*place)).collect();
        for place in 0..self.managers.len() {
            let others = leaders.iter().filter(|leader| **leader != place);
            let lost: Vec<Input> = others.map(|leader| Input::Lost(raft_id(*leader))).collect();
            let stands = self.stage.chance.once_in(700).then_some(Input::Stand);
            for input in lost.into_iter().chain(stands) {
                self.managers[place].give(&mut self.stage, input, false);
            }
        }
    }

    /// Whoever leads hands over, and whoever leads then, perhaps the same: so quickly that the loops of the first may not know.
    pub(super) fn hand_on(&mut self, times: u32) {
        for place in (0..self.managers.len()).filter(|_| times > 0) {
            self.managers[place].give(&mut self.stage, Input::Transfer, false);
        }
        if times > 1 {
            let pause = self.stage.chance.between(5 * MS, 60 * MS);
            self.stage.after(pause, Event::HandOn(times - 1));
        }
    }

    pub(super) fn leads(&self, place: usize) -> bool {
        self.managers[place].leadership().is_some_and(|now| now.is_leader)
    }

    /// A manager dies, now or in the middle of what it writes next, and comes back.
    pub(crate) fn kill_manager(&mut self, manager: usize) {
        if self.stage.chance.once_in(400) {
            let number = u64::try_from(self.stage.chance.bits() >> 64).unwrap_or(0);
            let remnants = [Remnant::Nothing, Remnant::All, Remnant::Pieces(number), Remnant::Flipped(number % 16_384)];
            let remnant = self.stage.chance.pick(&remnants).unwrap_or(Remnant::Nothing);
            self.fail_write(manager, remnant, false);
        } else {
            self.bury(manager);
        }
    }

    /// A manager's next write, or the one after it, fails; it dies of that, or is read-only for a while and trusts nothing of it.
    pub(crate) fn fail_write(&mut self, manager: usize, remnant: Remnant, survives: bool) {
        let at_save = usize::try_from(self.stage.chance.below(2)).unwrap_or(0);
        self.managers[manager].dies = Some(CrashPoint { at_save, remnant });
        self.managers[manager].survives = survives;
    }

    /// A manager's disk takes writes again.
    pub(super) fn revive(&mut self, manager: usize, life: u32) {
        let daemon = self.managers[manager].daemon.as_mut();
        daemon.into_iter().for_each(|daemon| daemon.seat.recover());
        self.drive(manager, life);
    }

    fn bury(&mut self, manager: usize) {
        if self.end(manager) {
            let most = if self.is_restless() { 300 * MS } else { 8 * SECOND };
            let delay = self.stage.chance.between(most / 80, most);
            self.stage.after(delay, Event::Restart(manager));
        }
    }

    /// A manager's process ends. `false`: it was not up.
    pub(super) fn end(&mut self, manager: usize) -> bool {
        if !self.managers[manager].crash(&mut self.stage) {
            return false;
        }
        for place in (0..self.managers.len()).filter(|place| *place != manager) {
            self.managers[place].give(&mut self.stage, Input::Lost(raft_id(manager)), false);
        }
        true
    }

    /// The group before anything else happens: the first manager founds it and lets the others in.
    pub(super) fn gather(&mut self, first: Transaction) {
        for place in 0..self.managers.len() {
            let id = raft_id(place);
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
            self.stage.after(LEADERLESS, Event::KeepSeat(place, self.managers[place].life));
            self.stage.after(TICK, Event::Beat(place, self.managers[place].life));
        }
    }

    /// Delivers every message at once until there is none.
    fn settle_members(&mut self) {
        for _ in 0..4 {
            let mut parcels = self.tick_all();
            while let Some(parcel) = parcels.pop() {
                let (Some(to), Some(from)) = (place(parcel.to), place(parcel.from)) else { continue };
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
