//! `service scale`.

use clap::Args;
use skep_proto::model::ServiceSpec;
use skep_proto::pb;

use super::settings::set_replicas;
use super::update::change;
use crate::cli::connect::Daemon;
use crate::cli::error::{all, parted, usage};
use crate::cli::output::print;
use crate::cli::wait::{WaitFlags, converge_until};
use crate::exit::Exit;

/// Flags of `service scale`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleFlags {
    #[command(flatten)]
    wait: WaitFlags,
    /// Services and their new numbers of tasks
    #[arg(required = true, value_name = "SERVICE=REPLICAS")]
    targets: Vec<String>,
}

/// Scales all, then waits for all of them at once.
///
/// # Errors
/// Joined, when some could not be scaled or do not converge in time.
pub(super) async fn run(daemon: &Daemon, flags: &ScaleFlags) -> anyhow::Result<Exit> {
    // A word that cannot be read is found before anything is changed.
    let targets: Vec<(&str, u32)> = flags.targets.iter().map(|text| target(text)).collect::<anyhow::Result<_>>()?;
    let deadline = flags.wait.deadline();
    let mut results = Vec::new();
    for (word, replicas) in targets {
        results.push(scale(daemon, word, replicas).await);
    }
    let (scaled, mut errors) = parted(results);
    if !flags.wait.detach {
        for service in &scaled {
            match converge_until(daemon, service, &flags.wait, deadline).await {
                Ok(Exit::Done) => {}
                Ok(other) => return Ok(other),
                Err(error) => errors.push(error),
            }
        }
    }
    all(errors)?;
    Ok(Exit::Done)
}

async fn scale(daemon: &Daemon, word: &str, replicas: u32) -> anyhow::Result<pb::Service> {
    let service = change(daemon, word, &|spec: &mut ServiceSpec| set_replicas(spec, replicas)).await?;
    print(&format!("{word} scaled to {replicas}\n"))?;
    Ok(service)
}

fn target(text: &str) -> anyhow::Result<(&str, u32)> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let pair = pair.and_then(|(name, number)| Some((name, number.parse().ok()?)));
    pair.ok_or_else(|| usage(format!("failed to scale {text:?}: write SERVICE=REPLICAS, as in web=3")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_and_a_number() {
        assert_eq!(target("web=3").unwrap(), ("web", 3));
        for bad in ["web", "=3", "web=", "web=-1", "web=x"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
