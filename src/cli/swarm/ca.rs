//! `swarm ca`: shows the root certificate, or replaces it and shows how far that is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use skep_proto::model::moment::millis;
use skep_proto::pb;
use tonic::Code;

use crate::cli::connect::Daemon;
use crate::cli::error::usage;
use crate::cli::format::units::parse_duration;
use crate::cli::node;
use crate::cli::output::{note, print};

/// How often a watch that broke off is begun again, as after a change of leader; the managers themselves wait for one each time.
const WATCHES_MAX: u32 = 10;

/// Names told of those that are waited for.
const NAMES_MAX: usize = 5;

/// Flags of `swarm ca`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CaFlags {
    /// Replace the root certificate; one that is on its way is given up
    #[arg(long)]
    rotate: bool,
    /// File with the new root's certificate in PEM (default: one is made up)
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// File with the new root's key in PEM (PKCS 8)
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// Validity period for node certificates from now on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    cert_expiry: Option<Duration>,
    /// Leave this node, which is down, behind: it must join again
    #[arg(long, value_name = "NODE")]
    abandon: Vec<String>,
    /// Exit at once instead of waiting until every node has a certificate of the new root
    #[arg(short, long)]
    detach: bool,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
}

/// Shows the root, or replaces it.
///
/// # Errors
/// When the flags do not go together, a file cannot be read, or the managers refuse.
pub(super) async fn run(daemon: &Daemon, flags: &CaFlags) -> anyhow::Result<()> {
    flags.check()?;
    if !flags.rotate && flags.abandon.is_empty() {
        let reply = daemon.control().get_cluster(pb::Empty {}).await?.into_inner();
        let cluster =
            reply.cluster.context("read the daemon's answer: it holds no cluster; are both of the same version?")?;
        print(&cluster.root_certificate)?;
        return if flags.quiet { Ok(()) } else { tell_of_rotation(daemon).await };
    }
    if flags.rotate {
        daemon.authority().rotate_root(flags.request()?).await?;
    }
    if !flags.abandon.is_empty() {
        let mut nodes = Vec::new();
        for word in &flags.abandon {
            nodes.push(node::id_of(daemon, word).await?);
        }
        daemon.authority().abandon(pb::AbandonRequest { nodes }).await?;
    }
    if flags.detach {
        return Ok(());
    }
    let root = follow(daemon, flags.quiet).await?;
    if flags.quiet { Ok(()) } else { print(&root) }
}

impl CaFlags {
    fn check(&self) -> anyhow::Result<()> {
        let given = [self.ca_cert.is_some(), self.ca_key.is_some(), self.cert_expiry.is_some()];
        if !self.rotate && given.contains(&true) {
            return Err(usage("failed to replace the root: --ca-cert, --ca-key and --cert-expiry need --rotate"));
        }
        if self.ca_cert.is_some() != self.ca_key.is_some() {
            return Err(usage("failed to replace the root: --ca-cert and --ca-key need each other"));
        }
        Ok(())
    }

    fn request(&self) -> anyhow::Result<pb::RotateRootRequest> {
        let text = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(String::new()), read);
        Ok(pb::RotateRootRequest {
            certificate: text(&self.ca_cert)?,
            key: text(&self.ca_key)?,
            certificate_life_ms: self.cert_expiry.map_or(0, millis),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Who has not waited for a replacement is told how far it is; nothing when there is none.
async fn tell_of_rotation(daemon: &Daemon) -> anyhow::Result<()> {
    let mut stream = daemon.authority().watch_rotation(pb::WatchRotationRequest {}).await?.into_inner();
    match stream.message().await? {
        Some(progress) if progress.running => {
            note(&format!("the root certificate is being replaced; {}", line(&progress)))
        }
        _ => Ok(()),
    }
}

/// Tells how far it is until it is done; gives the new root.
async fn follow(daemon: &Daemon, quiet: bool) -> anyhow::Result<String> {
    let mut told = String::new();
    for _ in 0..WATCHES_MAX {
        let mut stream = daemon.authority().watch_rotation(pb::WatchRotationRequest {}).await?.into_inner();
        loop {
            let progress = match stream.message().await {
                Ok(Some(progress)) => progress,
                Err(status) if status.code() != Code::Unavailable && status.code() != Code::Aborted => {
                    return Err(status.into());
                }
                _ => break,
            };
            let line = line(&progress);
            // Right at the beginning nobody has looked yet.
            if !quiet && line != told && (progress.nodes > 0 || !progress.running) {
                note(&line)?;
            }
            told = line;
            if !progress.running {
                return Ok(progress.certificate);
            }
        }
    }
    bail!(
        "see how far it is: the swarm has no leader for long; the replacement goes on by itself, and `skep swarm ca` tells how far it is"
    )
}

/// One line about how far it is, and what to do about those that do not come.
fn line(progress: &pb::RotationProgress) -> String {
    if !progress.running {
        return "root certificate replaced; join tokens are new ones: see skep swarm join-token".to_owned();
    }
    let pb::RotationProgress { nodes, trusting, certified, waiting, .. } = progress;
    let mut line = format!(
        "rotated CA certificates: {trusting}/{nodes} nodes, rotated TLS certificates: {certified}/{nodes} nodes"
    );
    let down: Vec<&pb::RotationWait> = waiting.iter().filter(|wait| wait.down).collect();
    if let Some(first) = down.first() {
        let names = down.iter().take(NAMES_MAX).map(|wait| wait.name.as_str()).collect::<Vec<_>>().join(", ");
        let more = if down.len() > NAMES_MAX { format!(" and {} more", down.len() - NAMES_MAX) } else { String::new() };
        line +=
            &format!("; waiting for {names}{more} (down): start it, or leave it behind with {}", leave_behind(first));
    }
    // Those that answer come by themselves; the last of them are named, should one not.
    if down.is_empty() && (1..=NAMES_MAX).contains(&waiting.len()) {
        let names: Vec<&str> = waiting.iter().map(|wait| wait.name.as_str()).collect();
        line += &format!("; waiting for {}", names.join(", "));
    }
    line
}

/// What is to be typed. A manager's vote goes first: nobody could use it any more.
fn leave_behind(wait: &pb::RotationWait) -> String {
    let name = &wait.name;
    let demote = if wait.manager { format!("skep node demote {name} && ") } else { String::new() };
    format!("{demote}skep swarm ca --abandon {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(name: &str, down: bool) -> pb::RotationWait {
        pb::RotationWait { name: name.into(), down, ..Default::default() }
    }

    #[test]
    fn it_says_whom_it_waits_for_and_what_to_do() {
        let waiting = vec![wait("m2", true), wait("m3", false)];
        let progress =
            pb::RotationProgress { running: true, nodes: 3, trusting: 2, certified: 1, waiting, ..Default::default() };
        assert_eq!(
            line(&progress),
            "rotated CA certificates: 2/3 nodes, rotated TLS certificates: 1/3 nodes; waiting for m2 (down): start it, or leave it \
             behind with skep swarm ca --abandon m2"
        );
        let waiting = vec![pb::RotationWait { manager: true, ..wait("m1", true) }];
        let manager = pb::RotationProgress { waiting, ..progress };
        assert!(line(&manager).ends_with("leave it behind with skep node demote m1 && skep swarm ca --abandon m1"));
        let waiting = vec![wait("m3", false)];
        let last = pb::RotationProgress { running: true, nodes: 3, waiting, ..Default::default() };
        assert!(line(&last).ends_with("0/3 nodes; waiting for m3"));
        assert!(line(&pb::RotationProgress::default()).contains("join tokens are new ones"));
    }

    #[test]
    fn flags_that_do_not_go_together_are_wrong_usage() {
        let alone = CaFlags { cert_expiry: Some(Duration::from_secs(3600)), ..CaFlags::default() };
        assert!(alone.check().is_err());
        let half = CaFlags { rotate: true, ca_key: Some("k".into()), ..CaFlags::default() };
        assert!(half.check().is_err());
        assert!(CaFlags { rotate: true, ..CaFlags::default() }.check().is_ok());
    }
}
