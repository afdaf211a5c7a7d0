//! What will happen, in the order of time. Among things of one moment the seed decides.

use std::collections::BTreeMap;

use skep_manager::raft::testing::Parcel;
use skep_manager::store::{Outcome, ProposeError};
use skep_proto::model::TaskId;

use super::chance::Chance;
use super::manager::Lead;
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
    /// A look of the user, by its number.
    Read(u64),
    /// A stream of a node that may have been removed.
    Admit(ConnId),
    /// Sessions whose agents ask whether they are in contact.
    Contact,
    /// The loop that makes the group what the nodes say.
    Membership,
    /// A manager that wants to join.
    Join,
    /// One that wants to know what has become of its seat; with its life.
    Seat(usize, u32),
}

impl Owner {
    /// A loop of a leader: what it proposes counts in its term only.
    pub(crate) fn is_loop(self) -> bool {
        !matches!(self, Self::User(_) | Self::Read(_) | Self::Admit(_) | Self::Join | Self::Seat(..))
    }
}

/// A leader's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loop {
    Orchestrator,
    Scheduler,
    Allocator,
    Keeper,
    Carrier,
    Membership,
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
    /// A container's shim looks after its lifeline.
    Care(usize, TaskId),
    /// A proposal's outcome reaches its owner; with the manager's life, and how it led.
    Reply(u32, Lead, Owner, Result),
    /// A manager's Raft clock ticks; with its life.
    Beat(usize, u32),
    /// A manager's Raft thread takes what waits; with its life.
    Drive(usize, u32),
    /// A message between managers arrives.
    Parcel(Box<Parcel>),
    /// A manager's disk takes writes again; with its life.
    Revive(usize, u32),
    /// A manager hears what its Raft thread says of who leads; with its life.
    Lead(usize, u32),
    /// A node becomes what the managers say that it is: one of them, or none.
    Seat(usize),
    /// A manager that is no member yet asks to join.
    Ask(usize),
    /// And that reaches some manager; by its place, and how often it was passed on.
    Join(usize, usize, u32),
    /// A manager looks whether it has been without a leader for long; with its life.
    KeepSeat(usize, u32),
    /// It asks the first one what has become of its seat.
    AskForSeat(usize, usize, u32),
    /// Leadership is handed over again, so many times.
    HandOn(u32),
    /// The user does the next thing.
    User,
    /// A call of the user arrives at a manager; by its number, and how often it was passed on.
    Call(usize, u64, u32),
    /// The next trouble.
    Fault,
    /// An agent's daemon starts again.
    Start(usize),
    /// A manager starts again.
    Restart(usize),
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
