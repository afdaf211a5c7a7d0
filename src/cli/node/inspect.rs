//! `node inspect`.

use clap::Args;
use serde_json::Value;
use skep_proto::pb;

use super::command::resolved;
use crate::cli::connect::Daemon;
use crate::cli::format::units::binary_size;
use crate::cli::format::words::state;
use crate::cli::json;
use crate::cli::list::PrettyFlags;
use crate::cli::service::pretty::{cpus, labels, word};
use crate::exit::Exit;

/// Flags of `node inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    inspect: PrettyFlags,
    /// Names or ids
    #[arg(required = true, value_name = "self|NODE")]
    nodes: Vec<String>,
}

/// Prints what is known of nodes.
///
/// # Errors
/// Joined, when some are not there.
pub(super) async fn run(daemon: &Daemon, flags: &InspectArguments) -> anyhow::Result<Exit> {
    flags.inspect.check()?;
    let mut found = Vec::new();
    for word in &flags.nodes {
        found.push(get(daemon, word).await.map(|entry| json::node::node(&entry)));
    }
    flags.inspect.show(found, pretty)?;
    Ok(Exit::Done)
}

/// Asks for a node.
///
/// # Errors
/// When there is none.
pub(super) async fn get(daemon: &Daemon, word: &str) -> anyhow::Result<pb::NodeEntry> {
    let request = pb::RefRequest { r#ref: resolved(daemon, word).await? };
    Ok(daemon.control().get_node(request).await?.into_inner())
}

/// The id of a node, as it goes on the wire.
///
/// # Errors
/// When there is no such node.
pub(crate) async fn id_of(daemon: &Daemon, word: &str) -> anyhow::Result<Vec<u8>> {
    let node = get(daemon, word).await?.node.unwrap_or_default();
    Ok(node.meta.unwrap_or_default().id)
}

fn pretty(node: &Value) -> String {
    let description = &node["Description"];
    let mut lines = vec![format!("ID:\t\t\t{}", word(&node["ID"]))];
    labels(&mut lines, &node["Spec"]["Labels"]);
    lines.push(format!("Hostname:              \t{}", word(&description["Hostname"])));
    lines.push(format!("Joined at:             \t{}", word(&node["CreatedAt"])));
    lines.push("Status:".to_owned());
    lines.push(format!(" State:\t\t\t{}", state(&word(&node["Status"]["State"]))));
    if !node["Status"]["Message"].is_null() {
        lines.push(format!(" Message:\t\t{}", word(&node["Status"]["Message"])));
    }
    lines.push(format!(" Availability:         \t{}", state(&word(&node["Spec"]["Availability"]))));
    lines.push(format!(" Address:\t\t{}", word(&node["Status"]["Addr"])));
    manager(&mut lines, &node["ManagerStatus"]);
    lines.push("Platform:".to_owned());
    lines.push(format!(" Operating System:\t{}", word(&description["Platform"]["OS"])));
    lines.push(format!(" Architecture:\t\t{}", word(&description["Platform"]["Architecture"])));
    lines.push("Resources:".to_owned());
    lines.push(format!(" CPUs:\t\t\t{}", cpus(description["Resources"]["NanoCPUs"].as_u64().unwrap_or(0))));
    lines.push(format!(" Memory:\t\t{}", binary_size(description["Resources"]["MemoryBytes"].as_u64().unwrap_or(0))));
    lines.push(format!("Engine Version:\t\t{}", word(&description["Engine"]["EngineVersion"])));
    lines.join("\n") + "\n"
}

fn manager(lines: &mut Vec<String>, status: &Value) {
    if status.is_null() {
        return;
    }
    lines.push("Manager Status:".to_owned());
    lines.push(format!(" Address:\t\t{}", word(&status["Addr"])));
    lines.push(format!(" Raft Status:\t\t{}", state(&word(&status["Reachability"]))));
    lines.push(format!(" Leader:\t\t{}", if status["Leader"] == true { "Yes" } else { "No" }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_page_has_no_manager_part() {
        let page = pretty(&json::node::node(&pb::NodeEntry::default()));
        assert!(page.contains("Availability:") && !page.contains("Manager Status"), "{page}");
        let node = pb::Node { manager: Some(pb::ManagerStatus::default()), ..Default::default() };
        let page = pretty(&json::node::node(&pb::NodeEntry { node: Some(node), leader: true, ..Default::default() }));
        assert!(page.contains(" Leader:\t\tYes\n") && page.contains(" Raft Status:\t\tUnreachable\n"), "{page}");
    }
}
