//! The loops that decide what runs where, each driven as the product's `run.rs` drives it: wait, look, propose, wait for the
//! outcome.

use std::time::Duration;

use skep_manager::store::{ProposeError, Transaction};
use skep_manager::{allocator, orchestrator, scheduler};

use super::super::queue::{Loop, Owner, Result};
use super::super::stage::Stage;
use super::super::time::{MS, alarm, us};
use super::Manager;

impl Manager {
    /// A loop takes its turn.
    pub(crate) fn turn(&mut self, stage: &mut Stage, which: Loop) {
        let is_due = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut());
        if !is_due.is_some_and(|term| term.disarm(stage, which)) {
            return;
        }
        match which {
            Loop::Orchestrator => self.orchestrate(stage),
            Loop::Scheduler => self.place(stage),
            Loop::Allocator => self.allocate(stage),
            Loop::Keeper => self.keep(stage),
            Loop::Carrier => self.carry(stage),
            Loop::Membership => self.regroup(stage),
        }
    }

    fn orchestrate(&mut self, stage: &mut Stage) {
        let now = self.time(stage);
        let Some(daemon) = &mut self.daemon else { return };
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.orchestrating;
        if own.proposed.is_some() {
            return;
        }
        let touched = own.subscription.take();
        let state = daemon.store.read();
        if !touched.is_empty() {
            own.planner.note(&state, &touched, now);
        }
        let mut turn = own.planner.begin(&state, now, stage.chance.seed());
        while let Some(look) = own.planner.look(&state, now, stage.chance.seed(), &mut turn) {
            let took = if stage.chance.once_in(5) { stage.chance.between(0, 20) } else { 0 };
            own.planner.looked(&look, Duration::from_millis(took), now);
            for reason in &look.reasons {
                stage.note(format_args!("orchestrator: {}: {reason}", look.service));
            }
        }
        own.next = turn.into_proposals().into();
        drop(state);
        self.propose_next(stage);
    }

    fn propose_next(&mut self, stage: &mut Stage) {
        let now = self.time(stage);
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.orchestrating;
        match own.next.pop_front() {
            Some(mut proposal) => {
                let transactions = std::mem::take(&mut proposal.transactions);
                own.proposed = Some(proposal);
                self.propose(stage, Owner::Orchestrator, transactions);
            }
            None => {
                let at = alarm(stage.now, now, own.planner.due(now));
                term.arm(stage, Loop::Orchestrator, at);
            }
        }
    }

    pub(super) fn orchestrated(&mut self, stage: &mut Stage, result: Result) {
        let now = self.time(stage);
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.orchestrating;
        let Some(proposal) = own.proposed.take() else { return };
        match result {
            Ok(outcomes) => {
                for (service, refusal) in own.planner.settle(&proposal, outcomes, now) {
                    stage.note(format_args!("orchestrator: plan of {service} refused: {refusal}"));
                }
                // What was touched meanwhile is looked at after the rest of this turn's proposals.
                let is_last = own.next.is_empty();
                self.propose_next(stage);
                if is_last {
                    self.arm_soon(stage, Loop::Orchestrator);
                }
            }
            Err(ProposeError::NotLeader) => self.end_term(stage),
            Err(_) => {
                own.planner.start_over();
                own.next.clear();
                term.arm(stage, Loop::Orchestrator, stage.now + us(orchestrator::RETRY_AFTER));
            }
        }
    }

    fn arm_soon(&mut self, stage: &mut Stage, which: Loop) {
        let term = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut());
        term.into_iter().for_each(|term| term.arm_soon(stage, which));
    }

    fn place(&mut self, stage: &mut Stage) {
        let now = self.time(stage);
        let Some(daemon) = &mut self.daemon else { return };
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.placing;
        if own.proposed.is_some() {
            return;
        }
        let touched = own.subscription.take();
        if !scheduler::Placer::concerns(&touched) && own.due > stage.now {
            let due = own.due;
            return term.arm(stage, Loop::Scheduler, due);
        }
        let turn = own.placer.turn(&daemon.store.read(), now, stage.chance.seed());
        if let Some(explained) = turn.explained {
            daemon.store.note_waiting(explained);
        }
        match turn.transaction {
            Some(transaction) => {
                own.proposed = Some(us(turn.wait));
                self.propose(stage, Owner::Scheduler, vec![transaction]);
            }
            None => {
                own.due = stage.now + us(turn.wait);
                let due = own.due;
                term.arm(stage, Loop::Scheduler, due);
            }
        }
    }

    pub(super) fn placed(&mut self, stage: &mut Stage, result: &Result) {
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.placing;
        let Some(wait) = own.proposed.take() else { return };
        match result {
            Ok(_) => own.due = stage.now + wait,
            Err(ProposeError::NotLeader) => return self.end_term(stage),
            Err(_) => own.due = stage.now + us(scheduler::RETRY_AFTER),
        }
        // The turn itself looks whether anything was touched meanwhile.
        term.arm_soon(stage, Loop::Scheduler);
    }

    fn allocate(&mut self, stage: &mut Stage) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.allocating;
        if own.turn.is_some() {
            return;
        }
        let touched = own.subscription.take();
        if touched.is_empty() && own.due > stage.now {
            let due = own.due;
            return term.arm(stage, Loop::Allocator, due);
        }
        let touched = (!touched.is_empty()).then_some(touched);
        own.turn = Some(allocator::Turn::new(&daemon.store.read(), touched));
        self.allocate_next(stage);
    }

    fn allocate_next(&mut self, stage: &mut Stage) {
        let now = self.time(stage);
        let Some(daemon) = &mut self.daemon else { return };
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.allocating;
        let Some(turn) = &mut own.turn else { return };
        let planned = next_transaction(turn, &daemon.store, now);
        if let Some(transaction) = planned {
            return self.propose(stage, Owner::Allocator, vec![transaction]);
        }
        if let Some(wait) = turn.wait() {
            own.due = stage.now + us(wait);
        }
        own.turn = None;
        let at = stage.now + MS;
        term.arm(stage, Loop::Allocator, at);
    }

    pub(super) fn allocated(&mut self, stage: &mut Stage, result: Result) {
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.allocating;
        let Some(turn) = &mut own.turn else { return };
        match result {
            Ok(outcomes) => {
                if outcomes.iter().any(std::result::Result::is_err) {
                    turn.refused();
                }
                self.allocate_next(stage);
            }
            Err(ProposeError::NotLeader) => self.end_term(stage),
            Err(_) => {
                own.turn = None;
                own.due = stage.now + us(allocator::RETRY_AFTER);
                let due = own.due;
                term.arm(stage, Loop::Allocator, due);
            }
        }
    }
}

/// The next change that the allocator proposes. A service for which no port is left is passed over.
fn next_transaction(
    turn: &mut allocator::Turn,
    store: &skep_manager::store::Store,
    now: skep_proto::model::Moment,
) -> Option<Transaction> {
    let state = store.read();
    loop {
        let (_, plan) = turn.next_plan(&state, now)?;
        if plan.transaction.is_some() {
            return plan.transaction;
        }
    }
}
