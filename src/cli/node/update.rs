//! `node update`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_proto::pb;
use tokio::time::{sleep, sleep_until};
use tonic::Code;

use super::inspect::get;
use super::AvailabilityWord;
use crate::cli::connect::Daemon;
use crate::cli::error::{timed_out, usage};
use crate::cli::flags::labels::labels;
use crate::cli::format::units::go_duration;
use crate::cli::json::meta_id;
use crate::cli::list::collect;
use crate::cli::output::print;
use crate::cli::wait::WaitFlags;
use crate::exit::Exit;

/// How often an update is worked out anew because the node was written in between; then the user is told.
const TRIES_MAX: u32 = 5;
/// Between two looks at a node that is being drained.
const LOOK: Duration = Duration::from_millis(200);

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

/// Updates the node; a drain is waited for.
///
/// # Errors
/// When it is refused, or tasks are left on the node when the time is up.
pub(super) async fn run(daemon: &Daemon, flags: &UpdateFlags) -> anyhow::Result<Exit> {
    let deadline = flags.wait.deadline();
    let id = change(daemon, flags).await?;
    print(&format!("{}\n", flags.node))?;
    if flags.wait.detach || flags.availability != Some(AvailabilityWord::Drain) {
        return Ok(Exit::Done);
    }
    let mut left = 0;
    tokio::select! {
        done = drained(daemon, &id, &mut left) => done.map(|()| Exit::Done),
        () = sleep_until(deadline) => Err(timed_out(format!(
            "failed to see node {} drained within {}: {left} of its tasks have not stopped yet; skep node ps {id} shows them",
            flags.node,
            go_duration(flags.wait.timeout.unwrap_or_default())
        ))),
        _ = tokio::signal::ctrl_c() => {
            print(&format!("Operation continuing in background.\nUse `skep node ps {id}` to check progress.\n"))?;
            Ok(Exit::Failed)
        }
    }
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
                return Err(usage(format!("failed to remove the label {key:?} of node {node}: it has none of this key")));
            }
        }
        spec.labels.extend(labels(&self.label_add)?);
        if let Some(availability) = self.availability {
            spec.availability = availability.wire().into();
        }
        match self.role {
            Some(RoleWord::Worker) => spec.role = pb::NodeRole::Worker.into(),
            Some(RoleWord::Manager) => spec.role = pb::NodeRole::Manager.into(),
            None => {}
        }
        Ok(spec)
    }
}

/// Waits until nothing runs on the node any more.
async fn drained(daemon: &Daemon, id: &str, left: &mut usize) -> anyhow::Result<()> {
    loop {
        let request = pb::ListTasksRequest { services: Vec::new(), nodes: vec![id.to_owned()] };
        let tasks = collect(daemon.control().list_tasks(request).await?.into_inner()).await?;
        *left = tasks.iter().filter(|entry| exists(entry)).count();
        if *left == 0 {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Its container is there, or may be.
fn exists(entry: &pb::TaskEntry) -> bool {
    let state = entry.task.as_ref().and_then(|task| task.status.as_ref()).map_or(0, |status| status.state);
    !entry.node_down && (i32::from(pb::TaskState::Assigned)..=i32::from(pb::TaskState::Running)).contains(&state)
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

    #[test]
    fn a_node_is_drained_when_nothing_of_it_may_run() {
        let entry = |state: pb::TaskState, node_down| {
            let status = pb::TaskStatus { state: state.into(), ..Default::default() };
            pb::TaskEntry { task: Some(pb::Task { status: Some(status), ..Default::default() }), node_down, ..Default::default() }
        };
        assert!(exists(&entry(pb::TaskState::Running, false)) && exists(&entry(pb::TaskState::Assigned, false)));
        assert!(!exists(&entry(pb::TaskState::Shutdown, false)) && !exists(&entry(pb::TaskState::Running, true)));
    }
}
