//! Trouble: what goes wrong, how often, and how it ends.

use std::collections::BTreeMap;

use skep_manager::raft::testing::Remnant;

use super::agent::{Agent, Daemon};
use super::queue::{Event, Side};
use super::time::{MS, SECOND, Us};
use super::world::World;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillAgent,
    StopAgent,
    CutPower,
    FreezeAgent,
    CutLink,
    ResetStream,
    KillManager,
    FullDisk,
    LoseDisk,
    RotDisk,
    StallDisk,
    Leave,
    Transfer,
    Alarm,
    CutManagers,
    Partition,
    Ring,
    Snapshot,
    FreezeManager,
    JumpManagerClock,
    JumpAgentClock,
    SlowNet,
    LossyNet,
    DoublingNet,
    SlowDisk,
    FailingSteps,
    Relabel,
}

/// Each with how often it is chosen.
const FAULTS: [(Fault, u64); 27] = [
    (Fault::KillAgent, 14),
    (Fault::StopAgent, 8),
    (Fault::CutPower, 5),
    (Fault::FreezeAgent, 8),
    (Fault::CutLink, 14),
    (Fault::ResetStream, 10),
    (Fault::KillManager, 8),
    (Fault::FullDisk, 3),
    (Fault::LoseDisk, 2),
    (Fault::RotDisk, 2),
    (Fault::StallDisk, 3),
    (Fault::Leave, 2),
    (Fault::Transfer, 4),
    (Fault::Alarm, 4),
    (Fault::CutManagers, 8),
    (Fault::Partition, 5),
    (Fault::Ring, 3),
    (Fault::Snapshot, 5),
    (Fault::FreezeManager, 5),
    (Fault::JumpManagerClock, 3),
    (Fault::JumpAgentClock, 3),
    (Fault::SlowNet, 5),
    (Fault::LossyNet, 4),
    (Fault::DoublingNet, 3),
    (Fault::SlowDisk, 5),
    (Fault::FailingSteps, 5),
    (Fault::Relabel, 4),
];

/// The same in a restless world.
const RESTLESS: [(Fault, u64); 16] = [
    (Fault::KillManager, 24),
    (Fault::Alarm, 20),
    (Fault::CutManagers, 12),
    (Fault::Partition, 5),
    (Fault::Ring, 3),
    (Fault::Transfer, 6),
    (Fault::Snapshot, 5),
    (Fault::FullDisk, 3),
    (Fault::FreezeManager, 3),
    (Fault::SlowNet, 8),
    (Fault::LossyNet, 5),
    (Fault::DoublingNet, 5),
    (Fault::SlowDisk, 6),
    (Fault::StallDisk, 2),
    (Fault::KillAgent, 3),
    (Fault::ResetStream, 2),
];

impl World {
    /// Something goes wrong.
    pub(crate) fn trouble(&mut self) {
        let table: &[(Fault, u64)] = if self.is_restless() { &RESTLESS } else { &FAULTS };
        let total = table.iter().map(|(_, weight)| weight).sum();
        let mut dice = self.stage.chance.below(total);
        for (fault, weight) in table {
            if dice < *weight {
                return self.strike(*fault);
            }
            dice -= weight;
        }
    }

    fn strike(&mut self, fault: Fault) {
        let agent = self.any_agent();
        let manager = self.any_manager();
        self.stage.note(format_args!("trouble: {fault:?}"));
        match fault {
            Fault::KillAgent => {
                let writing = self.any_that_writes().unwrap_or(agent);
                self.kill_agent(writing, false);
            }
            Fault::CutPower => self.kill_agent(agent, true),
            Fault::StopAgent => {
                let news = self.agents[agent].stop(&mut self.stage);
                self.take_news(agent, news);
                self.start_agent_later(agent);
            }
            Fault::FreezeAgent => self.agents[agent].frozen_until = self.later(10 * SECOND),
            Fault::CutLink => self.cut_link(agent, manager),
            Fault::ResetStream => {
                let conn = self.stage.any_conn();
                conn.into_iter().for_each(|conn| self.stage.reset(conn));
            }
            Fault::KillManager => self.kill_manager(manager),
            Fault::FullDisk => self.fail_write(manager, Remnant::Nothing, true),
            Fault::LoseDisk => self.lose_disk(manager),
            Fault::RotDisk => self.rot_disk(manager),
            Fault::StallDisk => {
                let leader = (0..self.managers.len()).find(|place| self.leads(*place)).unwrap_or(manager);
                self.managers[leader].slow_until = self.later(10 * SECOND);
            }
            Fault::Leave => self.leave(agent),
            Fault::Transfer => {
                let times = if self.is_restless() { 4 } else { 1 };
                self.hand_on(times);
            }
            Fault::Alarm => self.alarm(),
            Fault::CutManagers => self.cut_managers(),
            Fault::Partition => self.partition(),
            Fault::Ring => self.ring(),
            Fault::Snapshot => {
                let daemon = self.managers[manager].daemon.as_mut();
                daemon.into_iter().for_each(|daemon| daemon.seat.snapshot());
            }
            Fault::FreezeManager => {
                let most = if self.is_restless() { SECOND } else { 6 * SECOND };
                self.managers[manager].frozen_until = self.later(most);
            }
            Fault::JumpManagerClock => self.managers[manager].clock.offset_ms += self.jump(),
            Fault::JumpAgentClock => self.agents[agent].clock.offset_ms += self.jump(),
            Fault::SlowNet => self.stage.rules.latency_max = self.stage.chance.between(5 * MS, 3 * SECOND),
            Fault::DoublingNet => self.stage.rules.doubles = self.stage.chance.below(200),
            Fault::LossyNet => self.stage.rules.losses = self.stage.chance.below(200),
            Fault::SlowDisk => self.stage.rules.sync_max = self.stage.chance.between(5 * MS, 3 * SECOND),
            Fault::FailingSteps => {
                self.stage.rules.step_failures = self.stage.chance.below(200);
                self.stage.rules.write_failures = self.stage.chance.below(200);
            }
            Fault::Relabel => {
                let rack = self.stage.chance.below(3).to_string();
                let news = self.agents[agent].relabel(&mut self.stage, BTreeMap::from([("rack".to_owned(), rack)]));
                self.take_news(agent, news);
            }
        }
    }

    fn any_agent(&mut self) -> usize {
        let count = u64::try_from(self.agents.len()).expect("few agents");
        usize::try_from(self.stage.chance.below(count)).expect("few agents")
    }

    /// Half the time, one that dies in the middle of a write of its list, when there is one.
    fn any_that_writes(&mut self) -> Option<usize> {
        let writes = |agent: &&Agent| agent.daemon.as_ref().is_some_and(Daemon::is_writing);
        let writing: Vec<usize> = self.agents.iter().filter(writes).map(|agent| agent.place).collect();
        self.stage.chance.once_in(500).then(|| self.stage.chance.pick(&writing)).flatten()
    }

    pub(crate) fn any_manager(&mut self) -> usize {
        let seats: Vec<usize> =
            self.managers.iter().filter(|manager| !manager.is_retired).map(|manager| manager.place).collect();
        self.stage.chance.pick(&seats).unwrap_or(0)
    }

    fn later(&mut self, most: Us) -> Us {
        self.stage.now + self.stage.chance.between(100 * MS, most)
    }

    fn kill_agent(&mut self, agent: usize, with_power: bool) {
        let news = self.agents[agent].crash(&mut self.stage, with_power);
        self.take_news(agent, news);
        if with_power {
            self.checks.power_cut(self.agents[agent].node);
        }
        self.start_agent_later(agent);
    }

    fn start_agent_later(&mut self, agent: usize) {
        let most = self.stage.chance.pick(&[SECOND, 2 * SECOND, 20 * SECOND]).unwrap_or(SECOND);
        let delay = self.stage.chance.between(100 * MS, most);
        self.stage.after(delay, Event::Start(agent));
    }

    fn cut_link(&mut self, agent: usize, manager: usize) {
        let ways: [&[Side]; 3] = [&[Side::Agent, Side::Manager], &[Side::Agent], &[Side::Manager]];
        let way = self.stage.chance.pick(&ways).unwrap_or(ways[0]);
        let most = self.stage.chance.pick(&[2 * SECOND, 8 * SECOND, 40 * SECOND]).unwrap_or(SECOND);
        let span = self.stage.chance.between(50 * MS, most);
        self.cut_agent(agent, manager, way, span);
    }

    /// A manager's own node reaches it on the machine itself.
    pub(super) fn cut_agent(&mut self, agent: usize, manager: usize, way: &[Side], span: Us) {
        if self.managers[manager].node != self.agents[agent].node {
            self.stage.cut(agent, manager, way, span);
        }
    }

    /// Seconds to days, forward or back.
    fn jump(&mut self) -> i64 {
        let most = self.stage.chance.pick(&[2_000, 60_000, 90_000_000]).unwrap_or(2_000);
        let far = i64::try_from(self.stage.chance.below(most)).unwrap_or(0);
        if self.stage.chance.once_in(500) { far } else { -far }
    }
}
