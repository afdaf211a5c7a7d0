//! `node update`.

use anyhow::bail;
use clap::{Args, ValueEnum};
use skep_proto::pb;
use tokio::time::sleep_until;
use tonic::{Code, Status};

use super::AvailabilityWord;
use super::inspect::get;
use super::moving::Moving;
use super::role::{until, warn_of_two};
use crate::cli::connect::Daemon;
use crate::cli::error::timed_out;
use crate::cli::flags::labels::labels;
use crate::cli::format::progress::Screen;
use crate::cli::format::units::go_duration;
use crate::cli::json::meta_id;
use crate::cli::output::{note, print, progress_target};
use crate::cli::wait::{WaitFlags, again};
use crate::exit::Exit;

/// How often an update is worked out anew because the node was written in between; then the user is told.
const TRIES_MAX: u32 = 5;

/// Flags of `node update`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpdateFlags {
    /// Availability of the node
    #[arg(long, value_enum)]
    availability: Option<AvailabilityWord>,
    /// Add or update a node label
    #[arg(long, value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Remove a node label if exists
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Role of the node
    #[arg(long, value_enum)]
    role: Option<RoleWord>,
    #[command(flatten)]
    wait: WaitFlags,
    /// Name or id
    #[arg(value_name = "NODE")]
    node: String,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum RoleWord {
    Worker,
    Manager,
}

impl RoleWord {
    fn wire(self) -> pb::NodeRole {
        match self {
            Self::Worker => pb::NodeRole::Worker,
            Self::Manager => pb::NodeRole::Manager,
        }
    }
}

/// Updates the node, and waits until it is what its availability says.
///
/// # Errors
/// When it is refused, or tasks have still to move when the time is up.
pub(super) async fn run(daemon: &Daemon, flags: &UpdateFlags) -> anyhow::Result<Exit> {
    let deadline = flags.wait.deadline();
    let id = change(daemon, flags).await?;
    print(&format!("{}\n", flags.node))?;
    if flags.wait.detach {
        return Ok(Exit::Done);
    }
    if let Some(role) = flags.role {
        until(daemon, &id, &flags.node, role.wire(), (&flags.wait, deadline)).await?;
        warn_of_two(daemon).await?;
    }
    if flags.availability.is_none() {
        return Ok(Exit::Done);
    }
    let (mut moving, mut screen) = (Moving::default(), Screen::new(progress_target()));
    let done = tokio::select! {
        done = follow(daemon, &id, &mut moving, (!flags.wait.quiet).then_some(&mut screen)) => done,
        () = sleep_until(deadline) => {
            let waited = go_duration(flags.wait.timeout.unwrap_or_default());
            Err(timed_out(moving.why_not(&flags.node, &waited)))
        }
        _ = tokio::signal::ctrl_c() => {
            print(&format!("Operation continuing in background.\nUse `skep node ps {id}` to check progress.\n"))?;
            return Ok(Exit::Failed);
        }
    };
    done?;
    moving.warnings(&flags.node).into_iter().try_for_each(|warning| note(&warning))?;
    Ok(Exit::Done)
}

/// Follows the node until nothing is to move any more. A watch that breaks off is taken up again.
async fn follow(daemon: &Daemon, id: &str, moving: &mut Moving, mut screen: Option<&mut Screen>) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let lost = match daemon.control().watch_node(pb::RefRequest { r#ref: id.to_owned() }).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Err(status) => break status,
                        Ok(None) => break Status::unavailable("the daemon ended the watch of the node"),
                        Ok(Some(progress)) => {
                            // Whoever was heard may be lost again: only tries in a row count.
                            tries = 0;
                            moving.take(progress);
                            draw(moving, screen.as_deref_mut())?;
                        }
                    }
                    if moving.is_done() {
                        return Ok(());
                    }
                }
            }
        };
        again(&mut tries, lost).await?;
    }
}

fn draw(moving: &Moving, screen: Option<&mut Screen>) -> anyhow::Result<()> {
    screen.map_or(Ok(()), |screen| print(&screen.draw(&moving.lines())))
}

/// Writes the changed spec; gives the node's id.
async fn change(daemon: &Daemon, flags: &UpdateFlags) -> anyhow::Result<String> {
    let mut tries = 1;
    loop {
        let node = get(daemon, &flags.node).await?.node.unwrap_or_default();
        let id = meta_id(node.meta.as_ref());
        let spec = flags.edit(node.spec.unwrap_or_default())?;
        let version = node.meta.map_or(0, |meta| meta.version);
        let request = pb::UpdateNodeRequest { r#ref: id.clone(), version, spec: Some(spec) };
        match daemon.control().update_node(request).await {
            Ok(_) => return Ok(id),
            Err(status) if status.code() == Code::Aborted && tries < TRIES_MAX => tries += 1,
            Err(status) => return Err(status.into()),
        }
    }
}

impl UpdateFlags {
    /// The spec with what was asked for. Unlike with services, removing a label that is not there is an error, as in Docker.
    fn edit(&self, mut spec: pb::NodeSpec) -> anyhow::Result<pb::NodeSpec> {
        for key in &self.label_rm {
            if spec.labels.remove(key).is_none() {
                let node = &self.node;
                bail!("remove the label {key:?} of node {node}: it has none of this key");
            }
        }
        spec.labels.extend(labels(&self.label_add)?);
        if let Some(availability) = self.availability {
            spec.availability = availability.wire().into();
        }
        if let Some(role) = self.role {
            spec.role = role.wire().into();
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: UpdateFlags,
    }

    fn edited(line: &str) -> anyhow::Result<pb::NodeSpec> {
        let words = ["update"].into_iter().chain(line.split_whitespace()).chain(["one"]);
        let labels = [("a".to_owned(), "1".to_owned())].into();
        let spec = pb::NodeSpec { labels, availability: 1, role: 1 };
        Line::try_parse_from(words).unwrap().flags.edit(spec)
    }

    #[test]
    fn what_is_given_is_changed_and_nothing_else() {
        let spec = edited("--availability drain --label-rm a --label-add b=2").unwrap();
        assert_eq!(spec, pb::NodeSpec { labels: [("b".to_owned(), "2".to_owned())].into(), availability: 3, role: 1 });
        assert_eq!(edited("--role manager").unwrap().role, 2);
    }

    #[test]
    fn a_label_that_is_not_there_cannot_be_removed() {
        assert!(edited("--label-rm z").is_err());
    }
}
