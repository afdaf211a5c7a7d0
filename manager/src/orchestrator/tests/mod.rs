//! Services in a small cluster, planned and applied until nothing is left to do.

mod drain;
mod global;
mod node;
mod property;
mod replicated;
mod restart;
mod run;
mod single;
mod update;

use skep_proto::model::{DesiredState, ServiceId, ServiceSpec, Slot, Task, TaskState};

use super::plan::{Plan, plan};
use super::reaper::plan_nodes;
use crate::fixture::World;

/// More turns than any test needs: a plan that never comes to rest fails instead of spinning.
const TURNS_MAX: usize = 200;

impl World {
    /// One look at a service, applied.
    fn turn_once(&mut self, service: ServiceId) -> Plan {
        let seed = self.seed();
        let plan = plan(&self.state, service, self.now, seed);
        self.commit(&plan.transactions);
        plan
    }

    /// Plans and applies until there is nothing to do; nobody else does anything.
    fn plan_out(&mut self, service: ServiceId) -> Plan {
        for _ in 0..TURNS_MAX {
            let plan = self.turn_once(service);
            if plan.transactions.is_empty() {
                return plan;
            }
        }
        panic!("the plans do not come to rest");
    }

    /// Plans, places and lets agents act until there is nothing to do at this moment.
    fn settle(&mut self, service: ServiceId) -> Plan {
        for _ in 0..TURNS_MAX {
            let plan = self.plan_out(service);
            if !self.place() && !self.agents() {
                return plan;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// A service in that cluster, up and running.
    fn up(nodes: u32, spec: ServiceSpec) -> (Self, ServiceId) {
        let mut world = Self::new(nodes);
        let service = world.create(spec);
        world.settle(service);
        world.wait(std::time::Duration::from_secs(1));
        (world, service)
    }

    fn head(&self, service: ServiceId, slot: u32) -> &Task {
        let wanted = self.state.slot(service, Slot::Replica(slot)).filter(|task| task.desired.is_live());
        wanted.last().unwrap()
    }

    fn of_slot(&self, service: ServiceId, slot: u32) -> Vec<(DesiredState, TaskState)> {
        self.state.slot(service, Slot::Replica(slot)).map(|task| (task.desired, task.status.state)).collect()
    }

    fn orphan(&mut self) {
        let seed = self.seed();
        let plan = plan_nodes(&self.state, self.now, seed);
        self.commit(&plan.transactions);
    }
}
