//! `service inspect`.

use clap::Args;

use super::get;
use super::pretty::pretty;
use crate::cli::connect::Daemon;
use crate::cli::error::{all, parted, usage};
use crate::cli::json;
use crate::cli::list::InspectFlags;
use crate::cli::output::print;
use crate::exit::Exit;

/// Flags of `service inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    inspect: InspectFlags,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// Prints what is known of services.
///
/// # Errors
/// Joined, when some are not there.
pub(super) async fn run(daemon: &Daemon, flags: &InspectArguments) -> anyhow::Result<Exit> {
    if flags.pretty && flags.inspect.is_formatted() {
        return Err(usage("failed to inspect: --format and --pretty exclude each other"));
    }
    let mut found = Vec::new();
    for word in &flags.services {
        found.push(get(daemon, word).await.map(|service| json::service::service(&service)));
    }
    if flags.pretty {
        let (services, errors) = parted(found);
        print(&services.iter().map(pretty).collect::<Vec<_>>().join("\n"))?;
        all(errors)?;
    } else {
        flags.inspect.show(found)?;
    }
    Ok(Exit::Done)
}
