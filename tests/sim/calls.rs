//! The way of what a user asks: to some manager, on to the leader, which makes sure that it leads, into the log, and back. The product's
//! `forward` and `api` do the same.

use skep_manager::store::{Change, Transaction};
use skep_proto::model::NodeRole;

use super::asks::{Answer, Ask, View, change};
use super::check;
use super::queue::{Event, Owner, Result};
use super::time::{MS, Us};
use super::world::World;

/// So many answers in a thousand are lost on their way.
const LOST_ANSWERS: u64 = 30;

/// So often of a thousand times several ask at once.
const CROWDS: u64 = 250;

impl World {
    /// The user does the next thing, whatever became of the last. Now and then others ask about the same object at the same time,
    /// each another manager.
    pub(super) fn ask(&mut self) {
        if self.stage.rules.is_quiet {
            return;
        }
        let next = self.any_pause();
        self.stage.after(next, Event::User);
        let Some(store) = self.truth().cloned() else { return };
        let (number, ask) = self.user.ask(&mut self.stage.chance, &store.read(), self.stage.now);
        if !self.is_wise(&ask) {
            return drop(self.user.calls.remove(&number));
        }
        self.send_call(number, 100 * MS);
        let others = if self.stage.chance.once_in(CROWDS) { self.stage.chance.between(1, 4) } else { 0 };
        for _ in 0..others {
            let number = self.user.ask_beside(&mut self.stage.chance, &ask, self.stage.now);
            self.send_call(number, 100 * MS);
        }
    }

    /// Nobody takes a manager away while another one is being replaced.
    fn is_wise(&self, ask: &Ask) -> bool {
        !matches!(ask, Ask::Role(_, NodeRole::Worker)) || !self.makes_good()
    }

    fn send_call(&mut self, number: u64, worst: Us) {
        let ask = self.user.calls.get(&number).map(|call| &call.ask);
        self.stage.note(format_args!("user: call {number}: {ask:?}"));
        let (delay, manager) = (self.stage.chance.delay(MS, worst), self.any_manager());
        self.stage.after(delay, Event::Call(manager, number, 0));
    }

    /// A call reaches a manager; one that does not lead passes it on.
    pub(super) fn call(&mut self, manager: usize, number: u64, hops: u32) {
        let Some(daemon) = &self.managers[manager].daemon else { return };
        if daemon.term.is_none() {
            let leader = self.managers[manager].leader().filter(|_| hops < 2);
            let delay = self.stage.chance.delay(MS, self.stage.rules.latency_max);
            leader.into_iter().for_each(|leader| self.stage.after(delay, Event::Call(leader, number, hops + 1)));
            return;
        }
        self.managers[manager].propose(&mut self.stage, Owner::Read(number), Vec::new());
    }

    /// A manager has made sure that it leads: what it has now is what the user sees, or what the change is made of.
    pub(super) fn looked(&mut self, manager: usize, number: u64) {
        let Some(ask) = self.user.calls.get(&number).map(|call| call.ask.clone()) else { return };
        let Some(daemon) = &self.managers[manager].daemon else { return };
        let (store, group) = (daemon.store.clone(), daemon.seat.group());
        match ask {
            Ask::Look => {
                let view = View::of(&store.read());
                let begun = self.user.looks.remove(&number).unwrap_or_default();
                let verdict =
                    check::invariant_reads_see_what_was_acknowledged(&store.read(), &begun, &self.user.history);
                self.judge(verdict);
                if self.answers(number, Answer::Saw(Box::new(view))) {
                    self.user.seen(&store.read());
                }
            }
            ask => {
                let change = change(&ask, &store.read(), &group);
                self.propose_for(manager, number, change);
            }
        }
    }

    fn propose_for(&mut self, manager: usize, number: u64, change: std::result::Result<Change, Answer>) {
        let at = self.managers[manager].wall(&self.stage);
        match change {
            Ok(change) => {
                let transaction = Transaction { changes: vec![change], at };
                self.managers[manager].propose(&mut self.stage, Owner::User(number), vec![transaction]);
            }
            Err(answer) => {
                self.answers(number, answer);
            }
        }
    }

    /// A change was committed, refused, or nobody knows.
    pub(super) fn changed(&mut self, number: u64, result: Result) {
        let Some(outcome) = result.ok().and_then(|outcomes| outcomes.into_iter().next()) else { return };
        let Ok(version) = outcome else {
            self.answers(number, Answer::Failed);
            return;
        };
        self.stage.note(format_args!("user: call {number} is done at {version}"));
        if let Some(Ask::AddNode(node)) = self.user.calls.get(&number).map(|call| call.ask.clone()) {
            self.add_agent(node);
        }
        if self.answers(number, Answer::Done) {
            self.user.acknowledged(number, version);
            self.look_everywhere();
        }
    }

    /// Right after a change, each manager is asked what there is: one that was deposed and has not heard of it would not know of the
    /// change. Chance alone hardly ever asks just then.
    fn look_everywhere(&mut self) {
        for manager in 0..self.managers.len() {
            let number = self.user.look(self.stage.now);
            let delay = self.stage.chance.delay(MS, 20 * MS);
            self.stage.after(delay, Event::Call(manager, number, 0));
        }
    }

    /// The answer reaches the user, or is lost.
    fn answers(&mut self, number: u64, answer: Answer) -> bool {
        let arrives = !self.stage.chance.once_in(LOST_ANSWERS);
        let now = self.stage.now;
        if let Some(call) = self.user.calls.get_mut(&number).filter(|_| arrives) {
            call.ended = Some((now, answer));
        }
        arrives
    }
}
