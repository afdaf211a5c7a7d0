//! `swarm unlock` and `swarm unlock-key`: the key that managers lock themselves with.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use skep_proto::model::{KeyId, UnlockKey};
use skep_proto::pb;
use tokio::time::sleep;

use crate::cli::connect::Daemon;
use crate::cli::error::timed_out;
use crate::cli::output::{note, print};
use crate::cli::secret;

/// How long managers that answer may take to follow. They take milliseconds; the rest is for a machine under load.
const FOLLOW_MAX: Duration = Duration::from_secs(20);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Flags of `swarm unlock`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UnlockFlags {}

/// Flags of `swarm unlock-key`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UnlockKeyFlags {
    /// Replace the key: every manager follows, one that is away when it is back
    #[arg(long)]
    rotate: bool,
    /// Only display the key
    #[arg(short, long)]
    quiet: bool,
    /// Display the key with this id, which a locked manager asks for; the last eight that were replaced are kept
    #[arg(long, value_name = "ID", conflicts_with = "rotate")]
    id: Option<KeyId>,
}

/// Asks for the key and gives it to this machine's manager.
///
/// # Errors
/// When it is no key, or the manager is not locked or was locked with another one.
pub(super) async fn unlock(daemon: &Daemon) -> anyhow::Result<()> {
    let info = daemon.local().info(pb::InfoRequest {}).await?.into_inner();
    if info.swarm() != pb::SwarmState::Locked {
        bail!("unlock this node: it is not locked");
    }
    let key = ask(&info.unlock_key_id).await?;
    daemon.local().swarm_unlock(pb::SwarmUnlockRequest { key: key.to_string() }).await?;
    Ok(())
}

/// Shows the key, or replaces it and shows the new one.
///
/// # Errors
/// When autolock is off, or the managers refuse.
pub(super) async fn unlock_key(daemon: &Daemon, flags: &UnlockKeyFlags) -> anyhow::Result<()> {
    let mut control = daemon.control();
    let reply = match flags.rotate {
        true => control.rotate_unlock_key(pb::Empty {}).await?.into_inner(),
        false => control.get_unlock_key(flags.request()).await?.into_inner(),
    };
    print(&flags.page(&reply))?;
    if flags.rotate { follow(daemon, flags.quiet).await } else { Ok(()) }
}

/// Waits until every manager that answers has followed, and tells of those that do not answer.
///
/// # Errors
/// When one that answers has not followed in time.
pub(super) async fn follow(daemon: &Daemon, quiet: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let waits = daemon.control().get_cluster(pb::Empty {}).await?.into_inner().lock_waits;
        let (down, up): (Vec<_>, Vec<_>) = waits.iter().partition(|wait| wait.down);
        if up.is_empty() {
            return if quiet || down.is_empty() { Ok(()) } else { note(&absent(&names(&down))) };
        }
        if begun.elapsed() > FOLLOW_MAX {
            let names = names(&up);
            return Err(timed_out(format!(
                "failed to see every manager follow within {} s: {names} has not yet; it goes on trying, and its log says what is in the way",
                FOLLOW_MAX.as_secs()
            )));
        }
        sleep(LOOK).await;
    }
}

fn names(waits: &[&pb::LockWait]) -> String {
    waits.iter().map(|wait| wait.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn absent(names: &str) -> String {
    format!(
        "WARNING: {names} does not answer, and follows when it is back; until then its keys lie as they did, and if they were locked \
         they open with the key before: see skep swarm unlock-key --id"
    )
}

/// The key in force, after it was made.
pub(super) async fn show(daemon: &Daemon) -> anyhow::Result<()> {
    let reply = daemon.control().get_unlock_key(pb::UnlockKeyRequest::default()).await?.into_inner();
    print(&how_to_unlock(&reply.key))
}

/// What is to be done with a key.
pub(super) fn how_to_unlock(key: &str) -> String {
    format!(
        "A manager whose daemon starts again is locked from now on. To unlock it, run `skep swarm unlock` there and give it this key:\n\n    \
         {key}\n\nKeep the key in a password manager: when no manager runs and the key is lost, the swarm is lost.\n"
    )
}

impl UnlockKeyFlags {
    fn request(&self) -> pb::UnlockKeyRequest {
        pb::UnlockKeyRequest { id: self.id.map(|id| id.to_string()).unwrap_or_default() }
    }

    fn page(&self, reply: &pb::UnlockKeyReply) -> String {
        match (self.quiet, self.rotate) {
            (true, _) => format!("{}\n", reply.key),
            (_, true) => format!("Unlock key replaced.\n\n{}", how_to_unlock(&reply.key)),
            _ if self.id.is_some() => format!("    {}\n", reply.key),
            _ => how_to_unlock(&reply.key),
        }
    }
}

/// The key as it is typed in, or as it comes through a pipe.
async fn ask(id: &str) -> anyhow::Result<UnlockKey> {
    Ok(secret::ask(&format!("Unlock key {id}: "), "unlock key").await?.parse()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: UnlockKeyFlags,
    }

    fn parsed(line: &str) -> Result<UnlockKeyFlags, clap::Error> {
        Line::try_parse_from(["unlock-key"].into_iter().chain(line.split_whitespace())).map(|line| line.flags)
    }

    #[test]
    fn pages_hold_the_key_and_quiet_ones_nothing_else() {
        let reply = pb::UnlockKeyReply { key: "SWMKEY-1-x".into(), id: "00000000".into() };
        assert_eq!(parsed("-q --rotate").unwrap().page(&reply), "SWMKEY-1-x\n");
        assert_eq!(parsed("--id 0123abcd").unwrap().page(&reply), "    SWMKEY-1-x\n");
        assert!(parsed("").unwrap().page(&reply).contains("`skep swarm unlock`"));
        assert!(parsed("--rotate").unwrap().page(&reply).starts_with("Unlock key replaced.\n\n"));
    }

    #[test]
    fn who_does_not_answer_is_told_of() {
        let wait = |name: &str| pb::LockWait { name: name.into(), down: true };
        let (first, second) = (wait("m2"), wait("m3"));
        assert!(absent(&names(&[&first, &second])).starts_with("WARNING: m2, m3 does not answer"));
    }

    #[test]
    fn an_id_is_checked_before_anybody_is_asked() {
        assert_eq!(parsed("--id 0123abcd").unwrap().request().id, "0123abcd");
        assert!(parsed("--id x").is_err() && parsed("--id 0123abcd --rotate").is_err());
    }
}
