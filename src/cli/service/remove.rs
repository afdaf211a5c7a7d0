//! `service rm`.

use clap::Args;
use skep_proto::pb;

use super::get;
use crate::cli::connect::Daemon;
use crate::cli::error::{all, parted};
use crate::cli::output::print;
use crate::cli::service;
use crate::cli::wait::{WaitFlags, removed};
use crate::exit::Exit;

/// Flags of `service rm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoveFlags {
    #[command(flatten)]
    wait: WaitFlags,
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// Removes all, then waits until their last tasks are gone.
///
/// # Errors
/// Joined, when some are not there or do not end in time.
pub(super) async fn run(daemon: &Daemon, flags: &RemoveFlags) -> anyhow::Result<Exit> {
    let deadline = flags.wait.deadline();
    let mut results = Vec::new();
    for word in &flags.services {
        results.push(remove(daemon, word).await);
    }
    let (gone, mut errors) = parted(results);
    if !flags.wait.detach {
        for service in &gone {
            match removed(daemon, service, &flags.wait, deadline).await {
                Ok(Exit::Done) => {}
                Ok(other) => return Ok(other),
                Err(error) => errors.push(error),
            }
        }
    }
    all(errors)?;
    Ok(Exit::Done)
}

/// The id is asked for first: once a service is removed, its name may belong to another one.
async fn remove(daemon: &Daemon, word: &str) -> anyhow::Result<pb::Service> {
    let found = get(daemon, word).await?;
    daemon.control().remove_service(pb::RefRequest { r#ref: service::id(&found) }).await?;
    print(&format!("{word}\n"))?;
    Ok(found)
}
