//! `skep service`: what runs in the swarm.
//!
//! *In*: Docker's flags. *Out*: calls to the daemon's Control service, and Docker's tables.
//!
//! *How a file is cut*: the flags become a checked spec ([`create`], [`update`], both through [`settings`]), and the daemon's
//! entries become rows ([`list`], [`tasks`]); both are values to values and are tested as such. The `run` of each file does
//! no more than call, wait and print.
//!
//! *Where to read next*: [`ServiceCommand`], [`create`], then [`edit`] for what an update changes, then [`crate::cli::wait`].

mod command;
pub(crate) mod create;
pub(crate) mod edit;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod prefix;
pub(crate) mod pretty;
pub(crate) mod remove;
mod resume;
pub(crate) mod scale;
pub(crate) mod settings;
pub(crate) mod tasks;
pub(crate) mod update;

pub(crate) use command::{ServiceCommand, created, get, id, name, required, run};
