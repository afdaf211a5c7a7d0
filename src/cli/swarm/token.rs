//! `swarm join-token`: shows the standing token of a role, replaces it, or makes one with limits beside it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use skep_proto::model::Moment;
use skep_proto::model::moment::millis;
use skep_proto::pb;

use super::{RoleWord, how_to_join, role_word};
use crate::cli::connect::Daemon;
use crate::cli::format::units::{human_duration, parse_duration};
use crate::cli::output::{now, print};

/// Flags of `swarm join-token`.
#[derive(Args, Clone, Debug)]
pub(crate) struct JoinTokenFlags {
    /// Only display the token
    #[arg(short, long)]
    quiet: bool,
    /// Replace the standing token: it and every limited one of the role admit nobody any more
    #[arg(long)]
    rotate: bool,
    /// Make a token that admits for this long; without --rotate it is one more beside the standing token
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Make a token that so many may join with; without --rotate it is one more beside the standing token
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// What the token's bearer becomes
    #[arg(value_enum)]
    role: RoleWord,
}

/// A token and what is to be said of it.
#[derive(Debug, PartialEq)]
struct Shown {
    token: String,
    address: String,
    limits: String,
}

/// Shows or makes a token.
///
/// # Errors
/// When the daemon refuses, or the standing token admits nobody any more.
pub(super) async fn run(daemon: &Daemon, flags: &JoinTokenFlags) -> anyhow::Result<()> {
    let limited = flags.expires.is_some() || flags.uses.is_some();
    let shown = match (flags.rotate, limited) {
        (false, false) => standing(daemon, flags.role).await?,
        (true, _) => made(flags, daemon.control().rotate_token(flags.request()).await?.into_inner()),
        (false, true) => made(flags, daemon.control().create_token(flags.request()).await?.into_inner()),
    };
    print(&flags.page(&shown))
}

async fn standing(daemon: &Daemon, role: RoleWord) -> anyhow::Result<Shown> {
    let reply = daemon.control().get_cluster(pb::Empty {}).await?.into_inner();
    let cluster =
        reply.cluster.context("read the daemon's answer: it holds no cluster; are both of the same version?")?;
    let token = if role == RoleWord::Manager { &cluster.manager_token } else { &cluster.worker_token };
    let grant = cluster.grants.iter().find(|grant| grant.token == *token);
    let limits = grant.map_or(Ok(String::new()), |grant| limits(grant, now())).map_err(|why| {
        let word = role_word(role.role());
        anyhow!("show the {word} token: {why}; replace it with `swarm join-token --rotate {word}`")
    })?;
    let address = reply.manager_addresses.first().cloned().unwrap_or_default();
    Ok(Shown { token: token.clone(), address, limits })
}

fn made(flags: &JoinTokenFlags, reply: pb::TokenReply) -> Shown {
    let lives = flags.expires.map(|life| format!("for {}", in_words(life)));
    let uses = flags.uses.map(|uses| if uses == 1 { "once".to_owned() } else { format!("{uses} times") });
    let parts: Vec<String> = lives.into_iter().chain(uses).collect();
    let limits = if parts.is_empty() { String::new() } else { format!("The token is good {}.\n\n", parts.join(", ")) };
    let address = reply.manager_addresses.first().cloned().unwrap_or_default();
    Shown { token: reply.token, address, limits }
}

/// What is left of a token, or why nothing is.
fn limits(grant: &pb::TokenGrant, now: Moment) -> Result<String, String> {
    let left = Moment(grant.expires_at).since(now);
    if grant.expires_at != 0 && left.is_zero() {
        return Err(format!("it expired {} ago", in_words(now.since(Moment(grant.expires_at)))));
    }
    let uses = grant.uses.saturating_sub(grant.used);
    if grant.uses != 0 && uses == 0 {
        return Err(format!("all {} uses of it are spent", grant.uses));
    }
    let time = (grant.expires_at != 0).then(|| format!("for {} more", in_words(left)));
    let uses = (grant.uses != 0).then(|| format!("for {uses} more of {} joins", grant.uses));
    let parts: Vec<String> = time.into_iter().chain(uses).collect();
    Ok(if parts.is_empty() { String::new() } else { format!("The token is good {}.\n\n", parts.join(", ")) })
}

/// In the middle of a sentence.
fn in_words(span: Duration) -> String {
    human_duration(span).to_lowercase()
}

impl JoinTokenFlags {
    fn request(&self) -> pb::TokenRequest {
        pb::TokenRequest {
            role: self.role.role().into(),
            lives_ms: self.expires.map_or(0, millis),
            uses: self.uses.unwrap_or(0),
        }
    }

    fn page(&self, shown: &Shown) -> String {
        let Shown { token, address, limits } = shown;
        if self.quiet {
            return format!("{token}\n");
        }
        let role = self.role.role();
        let rotated = match self.rotate {
            true => format!("Successfully rotated {} join token.\n\n", role_word(role)),
            false => String::new(),
        };
        format!("{rotated}{}{limits}", how_to_join(role, token, address))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: JoinTokenFlags,
    }

    fn flags(line: &str) -> JoinTokenFlags {
        Line::try_parse_from(["join-token"].into_iter().chain(line.split_whitespace())).unwrap().flags
    }

    #[test]
    fn limits_reach_the_request_and_the_page() {
        let flags = flags("--rotate --expires 2h --uses 3 worker");
        let wanted = pb::TokenRequest { role: pb::NodeRole::Worker.into(), lives_ms: 7_200_000, uses: 3 };
        assert_eq!(flags.request(), wanted);
        let reply = pb::TokenReply { token: "T".into(), manager_addresses: vec!["10.0.0.1:2377".into()] };
        let page = flags.page(&made(&flags, reply));
        let wanted = "Successfully rotated worker join token.\n\nTo add a worker to this swarm, run the following command:\n\n    \
                      skep swarm join --token T 10.0.0.1:2377\n\nThe token is good for 2 hours, 3 times.\n\n";
        assert_eq!(page, wanted);
    }

    #[test]
    fn what_is_left_is_told_and_what_is_over_refused() {
        let now = Moment(1_000_000);
        let grant = |expires_at, uses, used| pb::TokenGrant { expires_at, uses, used, ..Default::default() };
        let hour = now + Duration::from_secs(3_600);
        assert_eq!(limits(&grant(hour.0, 0, 9), now).unwrap(), "The token is good for about an hour more.\n\n");
        assert_eq!(limits(&grant(0, 3, 1), now).unwrap(), "The token is good for 2 more of 3 joins.\n\n");
        assert_eq!(limits(&grant(0, 0, 0), now).unwrap(), "");
        assert!(limits(&grant(1_000, 0, 0), now).unwrap_err().starts_with("it expired"));
        assert_eq!(limits(&grant(0, 3, 3), now).unwrap_err(), "all 3 uses of it are spent");
    }
}
