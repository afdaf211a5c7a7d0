//! `skep container`, and the short forms `ps` and `logs`: what runs on this machine. The swarm's view is `skep service`.

mod command;
mod list;
mod logs;

pub(crate) use command::{ContainerCommand, run};
pub(crate) use list::{ContainersFlags, run as list};
pub(crate) use logs::{LogsFlags, run as logs};
