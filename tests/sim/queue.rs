//! What will happen, in the order of time. Among things of one moment the seed decides.

use std::collections::BTreeMap;

use skep_manager::store::{Outcome, ProposeError};
use skep_proto::model::TaskId;

use super::chance::Chance;
use super::time::Us;

/// A connection's number.
pub(crate) type ConnId = u64;

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Agent,
    Manager,
}

/// Who waits for a proposal's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Orchestrator,
    Scheduler,
    Allocator,
    Carrier,
    /// A command of the user, by its number.
    User(u64),
}

/// A leader's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loop {
    Orchestrator,
    Scheduler,
    Allocator,
    Keeper,
    Carrier,
}

/// What a proposal came to.
pub(crate) type Result = std::result::Result<Vec<Outcome>, ProposeError>;

/// Something that happens. Machines are named by their place and their life: what was meant for an earlier life is lost.
#[derive(Debug)]
pub(crate) enum Event {
    /// An agent's timer.
    Tick(usize, u32),
    /// An agent's write of its list has ended.
    Written(usize, u32),
    /// A step of an executor has ended, by its number.
    Step(usize, u32, u64),
    /// An agent hears that a task's program has ended.
    Exited(usize, u32, TaskId),
    /// A program ends by itself.
    Exit(usize, TaskId),
    /// The next thing on a connection arrives at that side.
    Arrive(ConnId, Side),
    /// That side notices that the connection is no more.
    Lost(ConnId, Side),
    /// A leader's loop takes its turn; with manager and term.
    Turn(usize, u64, Loop),
    /// A session of a leader does what it can.
    Session(ConnId),
    /// A round to the group that makes sure that a manager leads comes to its end: for a heartbeat of that number on that session.
    Confirm(usize, u64, ConnId, u64),
    /// And its outcome reaches the session.
    Witness(usize, u64, ConnId, u64),
    /// A container's shim looks after its lifeline.
    Care(usize, TaskId),
    /// A proposal's outcome reaches its owner; with manager and term.
    Reply(usize, u64, Owner, Result),
    /// The log's disk is done with what was appended up to here, in that term.
    Synced(u64, usize),
    /// The user does the next thing.
    User,
    /// A call of the user arrives at the manager with that number.
    Call(usize, u64),
    /// The next trouble.
    Fault,
    /// An agent's daemon starts again.
    Start(usize),
    /// A manager starts again.
    Restart(usize),
    /// A new leader is found.
    Elect,
    /// A manager hears that it leads no more.
    Deposed(usize, u64),
    /// A manager hears who leads in that term.
    Learn(usize, u64, Option<usize>),
    /// A stream that waited for somebody to lead waits no longer; at that manager.
    Waited(usize, ConnId),
    /// A look at whether all is well.
    Check,
}

/// Everything that is to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(Us, u64, u64), Event>,
    count: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Us, chance: &mut Chance, event: Event) {
        self.count += 1;
        self.events.insert((at, chance.below(1 << 16), self.count), event);
    }

    pub(crate) fn pop(&mut self) -> Option<(Us, Event)> {
        self.events.pop_first().map(|((at, ..), event)| (at, event))
    }
}
