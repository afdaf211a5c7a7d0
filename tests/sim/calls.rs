//! The way of what a user asks: to some manager, on to the leader, into the log, and back.

use skep_manager::store::Transaction;

use super::check;
use super::queue::{Event, Owner};
use super::time::{MS, SECOND};
use super::user::{Ask, change};
use super::world::World;

impl World {
    /// The user does the next thing.
    pub(super) fn ask(&mut self) {
        if self.stage.rules.is_quiet {
            return;
        }
        let next = self.stage.chance.between(100 * MS, 3 * SECOND);
        self.stage.after(next, Event::User);
        let Some(store) = self.truth().cloned() else { return };
        let (number, ask) = self.user.ask(&mut self.stage.chance, &store.read());
        self.stage.note(format_args!("user: call {number}: {ask:?}"));
        let (delay, manager) = (self.stage.chance.delay(MS, 100 * MS), self.any_manager());
        self.stage.after(delay, Event::Call(manager, number, 0));
    }

    /// A call reaches a manager; one that does not lead passes it on.
    pub(super) fn call(&mut self, manager: usize, number: u64, hops: u32) {
        let at = self.managers[manager].wall(&self.stage);
        let Some(daemon) = &self.managers[manager].daemon else { return };
        let Some(ask) = self.user.asked.get(&number) else { return };
        if daemon.term.is_none() {
            let leader = self.managers[manager].leader().filter(|_| hops < 2);
            let delay = self.stage.chance.delay(MS, self.stage.rules.latency_max);
            leader.into_iter().for_each(|leader| self.stage.after(delay, Event::Call(leader, number, hops + 1)));
            return;
        }
        let change = change(ask, &daemon.store.read());
        let owner = if matches!(ask, Ask::Look) { Owner::Read(number) } else { Owner::User(number) };
        let transactions: Vec<Transaction> =
            change.into_iter().map(|change| Transaction { changes: vec![change], at }).collect();
        if !transactions.is_empty() || matches!(owner, Owner::Read(_)) {
            self.managers[manager].propose(&mut self.stage, owner, transactions);
        }
    }

    /// A manager has made sure that it leads: what it has now is what the user sees.
    pub(super) fn looked(&mut self, manager: usize, number: u64) {
        let Some(store) = self.managers[manager].daemon.as_ref().map(|daemon| daemon.store.clone()) else { return };
        let Some(begun) = self.user.looks.remove(&number) else { return };
        let state = store.read();
        let verdict = check::invariant_reads_see_what_was_acknowledged(&state, &begun, &self.user.history);
        self.user.seen(&state);
        drop(state);
        self.judge(verdict);
    }

    /// A call was committed.
    pub(super) fn acknowledged(&mut self, number: u64, version: u64) {
        self.stage.note(format_args!("user: call {number} is done at {version}"));
        self.user.acknowledged(number, version);
        if let Some(Ask::AddNode(node)) = self.user.asked.get(&number).cloned() {
            self.add_agent(node);
        }
    }
}
