//! `service inspect`.

use clap::Args;

use super::get;
use super::pretty::pretty;
use crate::cli::connect::Daemon;
use crate::cli::json;
use crate::cli::list::PrettyFlags;
use crate::exit::Exit;

/// Flags of `service inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    inspect: PrettyFlags,
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// Prints what is known of services.
///
/// # Errors
/// Joined, when some are not there.
pub(super) async fn run(daemon: &Daemon, flags: &InspectArguments) -> anyhow::Result<Exit> {
    flags.inspect.check()?;
    let mut found = Vec::new();
    for word in &flags.services {
        found.push(get(daemon, word).await.map(|service| json::service::service(&service)));
    }
    flags.inspect.show(found, pretty)?;
    Ok(Exit::Done)
}
