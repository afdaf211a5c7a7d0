//! `swarm unlock` and `swarm unlock-key`: the key that managers lock themselves with.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, bail};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use skep_proto::model::{KeyId, UnlockKey};
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::error::{silent, usage};
use crate::cli::output::{note, print, prompt};

/// Longest input that is looked at: a key has 52 characters.
const INPUT_LEN_MAX: u64 = 4096;

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
    print(&flags.page(&reply))
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

/// The key as it is typed in, unseen, or as it comes through a pipe.
async fn ask(id: &str) -> anyhow::Result<UnlockKey> {
    let unseen = if io::stdin().is_terminal() { Some(Unseen::begin()?) } else { None };
    if unseen.is_some() {
        prompt(&format!("Unlock key {id}: "))?;
    }
    let reading = tokio::task::spawn_blocking(move || read(io::stdin().is_terminal()));
    let text = tokio::select! {
        text = reading => text.context("read the unlock key")?,
        _ = tokio::signal::ctrl_c() => Err(silent()),
    };
    if unseen.is_some() {
        note("")?;
    }
    let text = text?;
    if text.trim().is_empty() {
        return Err(usage("failed to read the unlock key: nothing was given; type it, or send it through a pipe"));
    }
    Ok(text.parse()?)
}

/// One line from a person, everything from a pipe.
fn read(from_person: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match from_person {
        true => io::stdin().read_line(&mut text),
        false => io::stdin().lock().take(INPUT_LEN_MAX).read_to_string(&mut text),
    };
    read.context("read the unlock key")?;
    Ok(text)
}

/// The terminal does not show what is typed, for as long as this lives.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(io::stdin()).context("see how the terminal is set")?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen).context("keep the terminal from showing the key")?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that has gone shows nothing anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
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
    fn an_id_is_checked_before_anybody_is_asked() {
        assert_eq!(parsed("--id 0123abcd").unwrap().request().id, "0123abcd");
        assert!(parsed("--id x").is_err() && parsed("--id 0123abcd --rotate").is_err());
    }
}
