//! The leader's loop that makes the group what the nodes' records say, driven as the product's `run.rs` drives it, and what a manager
//! that wants to join is told.

use skep_manager::membership::plan::{Plan, Step, plan};
use skep_manager::membership::record::joined;
use skep_manager::store::Transaction;
use skep_proto::model::{ManagerStatus, NodeId};

use super::super::consensus::Input;
use super::super::queue::{Loop, Owner, Result};
use super::super::raft_id;
use super::super::stage::Stage;
use super::super::time::{MS, SECOND, Us};
use super::Manager;

/// Wait after a step that came to nothing.
const RETRY: Us = 100 * MS;

/// Longest wait between two looks.
const LOOK_EVERY: Us = SECOND;

impl Manager {
    /// Looks, and takes the next step.
    pub(super) fn regroup(&mut self, stage: &mut Stage) {
        let (own, wall) = (raft_id(self.place), self.wall(stage));
        let Some(daemon) = &mut self.daemon else { return };
        let Some(term) = daemon.term.as_mut().filter(|term| !term.is_stepping) else { return };
        let Plan { step, .. } = plan(&daemon.store.read(), &daemon.seat.group(), own);
        if step == Step::Nothing {
            let at = stage.now + LOOK_EVERY;
            return term.arm(stage, Loop::Membership, at);
        }
        stage.note(format_args!("membership: {step:?}"));
        let lead = term.lead;
        match step {
            Step::Nothing => {}
            Step::Group(change) => {
                term.is_stepping = true;
                self.give(stage, Input::Change(change, lead), false);
            }
            Step::HandOver => {
                let at = stage.now + RETRY;
                term.arm(stage, Loop::Membership, at);
                self.give(stage, Input::Transfer, false);
            }
            Step::Write(change) => {
                term.is_stepping = true;
                self.propose(stage, Owner::Membership, vec![Transaction { changes: vec![*change], at: wall }]);
            }
        }
    }

    /// What became of the step.
    pub(super) fn stepped(&mut self, stage: &mut Stage, result: &Result) {
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        term.is_stepping = false;
        let came_about = result.as_ref().is_ok_and(|outcomes| outcomes.iter().all(std::result::Result::is_ok));
        let at = if came_about { stage.now + MS } else { stage.now + RETRY };
        term.arm(stage, Loop::Membership, at);
    }

    /// A manager at that place wants to join, and was called back where it says that it is.
    pub(crate) fn take_in(&mut self, stage: &mut Stage, node: NodeId, place: usize) {
        let wall = self.wall(stage);
        let Some(daemon) = &self.daemon else { return };
        let status = ManagerStatus { raft_id: raft_id(place), address: format!("m{place}") };
        let change = joined(&daemon.store.read(), node, &status);
        if let Ok(Some(change)) = change {
            self.propose(stage, Owner::Join, vec![Transaction { changes: vec![change], at: wall }]);
        }
    }
}
