//! Nodes.

use std::time::Duration;

use serde_json::{Value, json};
use skep_proto::pb;

use super::{meta_id, text_or_null, time};
use crate::cli::format::units::go_duration;

/// A node as `node inspect` shows it.
pub(crate) fn node(entry: &pb::NodeEntry) -> Value {
    let node = entry.node.clone().unwrap_or_default();
    let meta = node.meta.clone().unwrap_or_default();
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let about = node.description.clone().unwrap_or_default();
    json!({
        "ID": meta_id(node.meta.as_ref()),
        "Version": {"Index": meta.version},
        "CreatedAt": time(meta.created_at),
        "UpdatedAt": time(meta.updated_at),
        "Spec": {
            "Labels": spec.labels,
            "Role": role_word(spec.role),
            "Availability": availability_word(spec.availability),
        },
        "Description": description(&about),
        "Status": {
            "State": state_word(status.state),
            "Message": text_or_null(if status.message.is_empty() { &about.trouble } else { &status.message }),
            "Addr": status.address,
            "ClockSkew": entry.clock_ahead_ms.map_or(Value::Null, |ms| clock_skew(ms).into()),
        },
        "ManagerStatus": node.manager.as_ref().map_or(Value::Null, |manager| self::manager(entry, manager)),
    })
}

fn description(part: &pb::NodeDescription) -> Value {
    let platform = part.platform.clone().unwrap_or_default();
    let resources = part.resources.unwrap_or_default();
    let labels = if part.engine_labels.is_empty() { Value::Null } else { json!(part.engine_labels) };
    json!({
        "Hostname": part.hostname,
        "Platform": {"Architecture": platform.architecture, "OS": platform.os},
        "Resources": {"NanoCPUs": resources.nano_cpus, "MemoryBytes": resources.memory_bytes},
        "Engine": {"EngineVersion": part.engine_version, "Labels": labels},
    })
}

fn manager(entry: &pb::NodeEntry, manager: &pb::ManagerStatus) -> Value {
    json!({
        "Leader": if entry.leader { Value::Bool(true) } else { Value::Null },
        "Reachability": if entry.reachable { "reachable" } else { "unreachable" },
        "Addr": manager.address,
    })
}

/// How far a clock is ahead of the leader's, to a tenth of a second: `+12.3s`, `-10m0s`.
pub(crate) fn clock_skew(ahead_ms: i64) -> String {
    let tenths = (ahead_ms.unsigned_abs() + 50) / 100;
    let sign = if ahead_ms < 0 && tenths > 0 { '-' } else { '+' };
    format!("{sign}{}", go_duration(Duration::from_millis(tenths * 100)))
}

/// The word of a role.
pub(crate) fn role_word(role: i32) -> &'static str {
    match pb::NodeRole::try_from(role) {
        Ok(pb::NodeRole::Worker) => "worker",
        Ok(pb::NodeRole::Manager) => "manager",
        _ => "unknown",
    }
}

/// The word of an availability.
pub(crate) fn availability_word(availability: i32) -> &'static str {
    match pb::Availability::try_from(availability) {
        Ok(pb::Availability::Active) => "active",
        Ok(pb::Availability::Pause) => "pause",
        Ok(pb::Availability::Drain) => "drain",
        _ => "unknown",
    }
}

/// The word of a state.
pub(crate) fn state_word(state: i32) -> &'static str {
    match pb::NodeState::try_from(state) {
        Ok(pb::NodeState::Ready) => "ready",
        Ok(pb::NodeState::Down) => "down",
        Ok(pb::NodeState::Disconnected) => "disconnected",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_dockers_nesting() {
        let inner = pb::Node {
            spec: Some(pb::NodeSpec { availability: 1, role: 2, ..Default::default() }),
            description: Some(pb::NodeDescription {
                hostname: "vm".into(),
                resources: Some(pb::Resources { nano_cpus: 2_000_000_000, memory_bytes: 9, pids: 0 }),
                ..Default::default()
            }),
            status: Some(pb::NodeStatus { state: 1, address: "10.98.0.3".into(), ..Default::default() }),
            manager: Some(pb::ManagerStatus { raft_id: 1, address: "10.98.0.3:2377".into() }),
            ..Default::default()
        };
        let shown = node(&pb::NodeEntry {
            node: Some(inner),
            leader: true,
            reachable: true,
            self_: true,
            ..Default::default()
        });
        let cases = [
            ("/Spec/Role", json!("manager")),
            ("/Spec/Availability", json!("active")),
            ("/Description/Hostname", json!("vm")),
            ("/Description/Resources/NanoCPUs", json!(2_000_000_000_u64)),
            ("/Status/State", json!("ready")),
            ("/Status/Addr", json!("10.98.0.3")),
            ("/ManagerStatus/Leader", json!(true)),
            ("/ManagerStatus/Reachability", json!("reachable")),
            ("/ManagerStatus/Addr", json!("10.98.0.3:2377")),
        ];
        for (path, wanted) in cases {
            assert_eq!(shown.pointer(path), Some(&wanted), "{path}");
        }
    }
}
