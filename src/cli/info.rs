//! `info`: the daemon, its machine, and its place in a swarm.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use skep_proto::pb;

use super::connect::Daemon;
use super::format::inspect::{InspectFormat, render};
use super::format::units::{binary_size, go_duration, human_duration};
use super::json::id_text;
use super::output::{note, print};
use super::service::pretty::cpus;
use crate::exit::Exit;

/// What is to be known of a swarm of two managers.
pub(crate) const TWO_MANAGERS: &str =
    "a swarm of two managers has no fault tolerance: the loss of either stops all changes";

/// Flags of `info`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct InfoFlags {
    /// Format the output: 'json' or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Prints what the daemon says of itself.
///
/// # Errors
/// When the template does not fit.
pub(crate) async fn run(daemon: &Daemon, flags: &InfoFlags) -> anyhow::Result<Exit> {
    let format = InspectFormat::parse(flags.format.as_deref())?;
    let info = daemon.local().info(pb::InfoRequest {}).await?.into_inner();
    if format != InspectFormat::Array {
        print(&render(&[object(&info)], &format)?)?;
        return Ok(Exit::Done);
    }
    print(&page(&info))?;
    for warning in warnings(&info) {
        note(&format!("WARNING: {warning}"))?;
    }
    Ok(Exit::Done)
}

fn object(info: &pb::InfoReply) -> Value {
    let resources = info.resources.unwrap_or_default();
    let platform = info.platform.clone().unwrap_or_default();
    let labels: Vec<String> = info.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "ID": id_text(&info.node_id),
        "Name": info.hostname,
        "ServerVersion": info.version,
        "Containers": info.containers_running + info.containers_stopped,
        "ContainersRunning": info.containers_running,
        "ContainersPaused": 0,
        "ContainersStopped": info.containers_stopped,
        "Images": info.images,
        "Driver": "overlayfs",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": info.cgroup_version,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSType": platform.os,
        "Architecture": platform.architecture,
        "NCPU": resources.nano_cpus / 1_000_000_000,
        "MemTotal": resources.memory_bytes,
        "DockerRootDir": info.data_dir,
        "Labels": labels,
        "Warnings": warnings(info),
        "Swarm": swarm(info),
    })
}

fn swarm(info: &pb::InfoReply) -> Value {
    let managers: Vec<Value> = info.managers.iter().map(|address| json!({"Addr": address})).collect();
    json!({
        "NodeID": id_text(&info.node_id),
        "NodeAddr": info.address,
        "LocalNodeState": state_word(info),
        "ControlAvailable": info.manager,
        "Error": info.error,
        "RemoteManagers": managers,
        "Nodes": info.nodes,
        "Managers": info.manager_count,
        "Cluster": {
            "ID": id_text(&info.cluster_id),
            "Spec": {"EncryptionConfig": {"AutoLockManagers": info.autolock}},
            "RootRotationInProgress": info.root_rotating,
        },
        "UnlockKeyID": info.unlock_key_id,
    })
}

fn state_word(info: &pb::InfoReply) -> &'static str {
    match info.swarm() {
        pb::SwarmState::Inactive => "inactive",
        pb::SwarmState::Pending => "pending",
        pb::SwarmState::Active => "active",
        pb::SwarmState::Error => "error",
        pb::SwarmState::Locked => "locked",
    }
}

fn warnings(info: &pb::InfoReply) -> Vec<String> {
    let mut all = info.warnings.clone();
    if !info.read_only_reason.is_empty() {
        all.push(format!("this manager takes no changes: {}", info.read_only_reason));
    }
    if info.manager && info.manager_count == 2 {
        all.push(TWO_MANAGERS.to_owned());
    }
    all
}

fn page(info: &pb::InfoReply) -> String {
    let resources = info.resources.unwrap_or_default();
    let platform = info.platform.clone().unwrap_or_default();
    let mut lines = vec![
        "Server:".to_owned(),
        format!(" Containers: {}", info.containers_running + info.containers_stopped),
        format!("  Running: {}", info.containers_running),
        format!("  Stopped: {}", info.containers_stopped),
        format!(" Images: {}", info.images),
        format!(" Server Version: {}", info.version),
        " Cgroup Driver: cgroupfs".to_owned(),
        format!(" Cgroup Version: {}", info.cgroup_version),
    ];
    swarm_lines(&mut lines, info);
    lines.extend([
        format!(" Kernel Version: {}", info.kernel),
        format!(" Operating System: {}", info.operating_system),
        format!(" OSType: {}", platform.os),
        format!(" Architecture: {}", platform.architecture),
        format!(" CPUs: {}", cpus(resources.nano_cpus)),
        format!(" Total Memory: {}", binary_size(resources.memory_bytes)),
        format!(" Name: {}", info.hostname),
        format!(" Data Dir: {}", info.data_dir),
        format!(" Process: {}", info.pid),
    ]);
    if !info.labels.is_empty() {
        lines.push(" Labels:".to_owned());
        lines.extend(info.labels.iter().map(|(key, value)| format!("  {key}={value}")));
    }
    lines.join("\n") + "\n"
}

fn swarm_lines(lines: &mut Vec<String>, info: &pb::InfoReply) {
    lines.push(format!(" Swarm: {}", state_word(info)));
    if !info.error.is_empty() {
        lines.push(format!("  Error: {}", info.error));
    }
    if info.swarm() == pb::SwarmState::Locked {
        lines.push(format!("  Unlock Key: {} (give it with skep swarm unlock)", info.unlock_key_id));
    }
    if info.node_id.is_empty() {
        return;
    }
    lines.push(format!("  NodeID: {}", id_text(&info.node_id)));
    // A locked one is a manager on the disk and acts as none.
    if info.swarm() != pb::SwarmState::Locked {
        lines.push(format!("  Is Manager: {}", info.manager));
    }
    if info.manager {
        lines.push(format!("  ClusterID: {}", id_text(&info.cluster_id)));
        lines.push(format!("  Managers: {}", info.manager_count));
        lines.push(format!("  Nodes: {}", info.nodes));
        lines.push(format!("  Autolock Managers: {}", info.autolock));
        if info.root_rotating {
            lines.push("  Root Rotation In Progress: true (see skep swarm ca)".to_owned());
        }
        lines.push("  Orchestration:".to_owned());
        lines.push(format!("   Task History Retention Limit: {}", info.task_history_limit));
        let span = |ms| go_duration(Duration::from_millis(ms));
        lines.push("  Raft:".to_owned());
        lines.push(format!("   Heartbeat: {}", span(info.raft_heartbeat_ms)));
        lines.push(format!("   Election: {}", span(info.raft_election_ms)));
        lines.push("  Dispatcher:".to_owned());
        lines.push(format!("   Heartbeat Period: {}", human_duration(Duration::from_millis(info.heartbeat_ms))));
    }
    lines.push(format!("  Node Address: {}", info.address));
    lines.push("  Manager Addresses:".to_owned());
    lines.extend(info.managers.iter().map(|address| format!("   {address}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager() -> pb::InfoReply {
        pb::InfoReply {
            hostname: "vm".into(),
            node_id: vec![0; 16],
            swarm: pb::SwarmState::Active.into(),
            manager: true,
            manager_count: 2,
            managers: vec!["10.0.0.1:2377".into()],
            heartbeat_ms: 1000,
            ..Default::default()
        }
    }

    #[test]
    fn templates_find_the_swarm() {
        let shown = object(&manager());
        assert_eq!(shown["Swarm"]["LocalNodeState"], "active");
        assert_eq!(shown["Swarm"]["ControlAvailable"], true);
        assert_eq!(shown["Swarm"]["RemoteManagers"][0]["Addr"], "10.0.0.1:2377");
        assert_eq!(object(&pb::InfoReply::default())["Swarm"]["LocalNodeState"], "inactive");
    }

    #[test]
    fn the_page_tells_what_there_is() {
        let text = page(&manager());
        assert!(text.contains(" Swarm: active\n  NodeID: 0000"), "{text}");
        assert!(text.contains("  Manager Addresses:\n   10.0.0.1:2377\n"), "{text}");
        assert!(!page(&pb::InfoReply::default()).contains("NodeID") && !text.contains("Rotation"));
        let rotating = pb::InfoReply { root_rotating: true, ..manager() };
        assert!(page(&rotating).contains("  Root Rotation In Progress: true"), "{}", page(&rotating));
        assert_eq!(object(&rotating)["Swarm"]["Cluster"]["RootRotationInProgress"], true);
        let locked = pb::InfoReply { swarm: pb::SwarmState::Locked.into(), manager: false, ..manager() };
        assert!(!page(&locked).contains("Is Manager"), "{}", page(&locked));
    }

    #[test]
    fn two_managers_are_warned_of() {
        assert_eq!(warnings(&manager()).len(), 1);
        assert!(warnings(&pb::InfoReply::default()).is_empty());
    }
}
