//! `node promote` and `node demote`, and waiting until a node is what it is to be.

use std::time::Duration;

use clap::Args;
use skep_proto::pb;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::command::resolved;
use super::inspect::get;
use crate::cli::connect::Daemon;
use crate::cli::error::{all, parted, timed_out};
use crate::cli::format::units::go_duration;
use crate::cli::info::TWO_MANAGERS;
use crate::cli::json::meta_id;
use crate::cli::list::collect;
use crate::cli::output::{note, print};
use crate::cli::wait::{WaitFlags, again};
use crate::exit::Exit;

/// How often the node is looked at. A manager comes about in some hundred milliseconds, once or twice in its life.
const LOOK: Duration = Duration::from_millis(100);

/// How often a change is worked out anew because the node was written in between; then the user is told.
const TRIES_MAX: u32 = 5;

/// Flags of both.
#[derive(Args, Clone, Debug)]
pub(crate) struct RoleFlags {
    #[command(flatten)]
    wait: WaitFlags,
    /// Names or ids
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
}

/// Makes each of them a manager or a worker.
///
/// # Errors
/// When one is refused, or is not what it is to be when the time is up.
pub(super) async fn run(daemon: &Daemon, flags: &RoleFlags, role: pb::NodeRole) -> anyhow::Result<Exit> {
    let deadline = flags.wait.deadline();
    let mut results = Vec::new();
    for word in &flags.nodes {
        results.push(one(daemon, word, role, (&flags.wait, deadline)).await);
    }
    all(parted(results).1)?;
    warn_of_two(daemon).await?;
    Ok(Exit::Done)
}

/// Warns when the swarm has two managers now. What was asked for is done, so it is no failure when nobody can be asked.
///
/// # Errors
/// When the warning cannot be written.
pub(crate) async fn warn_of_two(daemon: &Daemon) -> anyhow::Result<()> {
    let Ok(nodes) = daemon.control().list_nodes(pb::ListNodesRequest { refs: Vec::new() }).await else {
        return Ok(());
    };
    let nodes = collect(nodes.into_inner()).await.unwrap_or_default();
    if managers(&nodes) == 2 { note(&format!("WARNING: {TWO_MANAGERS}; have one of them, or three")) } else { Ok(()) }
}

/// Nodes that are to be managers.
fn managers(nodes: &[pb::NodeEntry]) -> usize {
    let specs = nodes.iter().filter_map(|entry| entry.node.as_ref()?.spec.as_ref());
    specs.filter(|spec| spec.role() == pb::NodeRole::Manager).count()
}

async fn one(daemon: &Daemon, word: &str, role: pb::NodeRole, wait: (&WaitFlags, Instant)) -> anyhow::Result<()> {
    let word = &resolved(daemon, word).await?;
    let (id, was) = change(daemon, word, role).await?;
    if was == role {
        return print(&format!("Node {word} is already a {}.\n", name(role)));
    }
    if !wait.0.detach {
        until(daemon, &id, word, role, wait).await?;
    }
    match role {
        pb::NodeRole::Manager => print(&format!("Node {word} promoted to a manager in the swarm.\n")),
        _ => print(&format!("Manager {word} demoted in the swarm.\n")),
    }
}

/// Writes the role; gives the node's id and what it was to be before. A leader that goes away with the change, as one that is itself
/// demoted may, leaves open whether it was made; that is seen when the node is looked at again.
async fn change(daemon: &Daemon, word: &str, role: pb::NodeRole) -> anyhow::Result<(String, pb::NodeRole)> {
    let (mut tries, mut lost, mut before, mut asked) = (1, 0, None, None);
    loop {
        let node = match (get(daemon, word).await, asked.take()) {
            (Ok(entry), _) => entry.node.unwrap_or_default(),
            // The manager that was asked to demote itself: the answer was lost with its place.
            (Err(error), Some(asked)) if role == pb::NodeRole::Worker && tells_no_manager(&error) => return Ok(asked),
            (Err(error), _) => return Err(error),
        };
        let id = meta_id(node.meta.as_ref());
        let spec = node.spec.unwrap_or_default();
        let was = *before.get_or_insert(spec.role());
        asked = Some((id.clone(), was));
        if spec.role() == role {
            return Ok((id, was));
        }
        let spec = pb::NodeSpec { role: role.into(), ..spec };
        let version = node.meta.map_or(0, |meta| meta.version);
        let request = pb::UpdateNodeRequest { r#ref: id.clone(), version, spec: Some(spec) };
        match daemon.control().update_node(request).await {
            Ok(_) => return Ok((id, was)),
            Err(status) if status.code() == Code::Aborted && tries < TRIES_MAX => tries += 1,
            Err(status) if status.code() == Code::Unavailable => again(&mut lost, status).await?,
            Err(status) => return Err(status.into()),
        }
    }
}

/// Waits until the node is what it is to be: a manager that is heard, or a worker without a vote.
///
/// # Errors
/// When the time is up, or nobody can be asked any more.
pub(super) async fn until(
    daemon: &Daemon,
    id: &str,
    word: &str,
    role: pb::NodeRole,
    (flags, deadline): (&WaitFlags, Instant),
) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        match daemon.control().get_node(pb::RefRequest { r#ref: id.to_owned() }).await {
            Ok(entry) if is_settled(entry.get_ref(), role) => return Ok(()),
            Ok(_) => tries = 0,
            // A manager that demotes itself cannot be asked any more, and that is how one sees that it is done.
            Err(status) if role == pb::NodeRole::Worker && is_no_manager(&status) => return Ok(()),
            Err(status) => again(&mut tries, status).await?,
        }
        if Instant::now() >= deadline {
            let waited = go_duration(flags.timeout.unwrap_or_default());
            return Err(timed_out(format!(
                "failed to see node {word} become a {} within {waited}: it goes on in the background, if its daemon runs and the \
                 other managers can do without its vote; skep node ls shows it",
                name(role)
            )));
        }
        sleep(LOOK).await;
    }
}

fn is_settled(entry: &pb::NodeEntry, role: pb::NodeRole) -> bool {
    let node = entry.node.clone().unwrap_or_default();
    match role {
        pb::NodeRole::Manager => node.manager.is_some() && entry.reachable,
        _ => node.manager.is_none() && node.role() == pb::NodeRole::Worker,
    }
}

fn tells_no_manager(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Status>().is_some_and(is_no_manager)
}

fn is_no_manager(status: &Status) -> bool {
    let daemon = status.code() == Code::FailedPrecondition && status.message().contains("not a swarm manager");
    // Its daemon has not heard of it yet, but whoever leads now has.
    let leader = status.code() == Code::PermissionDenied && status.message().contains("only managers may do this");
    daemon || leader
}

fn name(role: pb::NodeRole) -> &'static str {
    match role {
        pb::NodeRole::Manager => "manager",
        _ => "worker",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_to_be_managers_are_counted() {
        let entry = |role: pb::NodeRole| {
            let spec = Some(pb::NodeSpec { role: role.into(), ..Default::default() });
            pb::NodeEntry { node: Some(pb::Node { spec, ..Default::default() }), ..Default::default() }
        };
        let [manager, worker] = [pb::NodeRole::Manager, pb::NodeRole::Worker].map(entry);
        assert_eq!(managers(&[manager.clone(), worker, manager]), 2);
    }

    #[test]
    fn a_manager_is_one_when_it_is_heard_and_a_worker_when_it_has_no_vote() {
        let entry = |role: pb::NodeRole, votes: bool, reachable| pb::NodeEntry {
            node: Some(pb::Node {
                role: role.into(),
                manager: votes.then(pb::ManagerStatus::default),
                ..Default::default()
            }),
            reachable,
            ..Default::default()
        };
        use pb::NodeRole::{Manager, Worker};
        let cases = [
            (entry(Manager, true, true), Manager, true),
            (entry(Manager, true, false), Manager, false),
            (entry(Manager, false, false), Manager, false),
            (entry(Worker, false, false), Worker, true),
            (entry(Manager, false, false), Worker, false),
            (entry(Worker, true, true), Worker, false),
        ];
        for (entry, role, settled) in cases {
            assert_eq!(is_settled(&entry, role), settled, "{entry:?} {role:?}");
        }
    }
}
