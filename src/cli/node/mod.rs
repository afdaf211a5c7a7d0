//! `skep node`: the machines of the swarm. `self` is the one whose daemon is asked.

mod command;
mod inspect;
mod list;
mod moving;
mod role;
mod update;

pub(crate) use command::{AvailabilityWord, NodeCommand, resolved, run};
pub(crate) use inspect::id_of;
pub(crate) use role::warn_of_two;
