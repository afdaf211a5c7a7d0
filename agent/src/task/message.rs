//! What a task learns, and what is to be done for it.

use skep_proto::model::{DesiredState, Moment};

use crate::order::{Exited, Fault, Recovered, Started};

/// Something that the task learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// What the managers want.
    Desired(DesiredState, u64),
    /// The managers know it no more: stop, clean up, forget. With `true` the program is not asked but killed.
    Forget(bool),
    /// It cannot even be tried, and why.
    Refused(String),
    /// A prepare ended.
    Prepared(Result<(), Fault>),
    /// A start ended.
    Started(Result<Started, Fault>),
    /// The program ended.
    Exited(Exited),
    /// A stop ended; with how the program ended, if it ever ran.
    Stopped(Result<Option<Exited>, Fault>),
    /// A removal ended.
    Removed(Result<(), Fault>),
    /// What was found after a restart of the daemon.
    Recovered(Option<Recovered>),
    /// Whether a task that stops on a cut-off node may be started now. Other tasks never hear of it, and may.
    Gate(bool),
    /// Its node was cut off for longer than it may run; why, in a sentence. Nothing takes that back.
    Lapsed(String),
    /// Time has passed.
    Tick,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the container.
    Prepare,
    /// Start it.
    Start,
    /// Say when the program ends.
    Wait,
    /// Stop it; with `true` at once.
    Stop(bool),
    /// Remove it.
    Remove,
    /// Tell the managers the new status.
    Report,
    /// Write the record; with `true` before the status is told.
    Persist(bool),
    /// Send a tick at this time.
    WakeAt(Moment),
    /// Nothing is left: drop the task.
    Forgotten,
}
