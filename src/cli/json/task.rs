//! Tasks.

use serde_json::{Value, json};
use skep_proto::model::DesiredState;
use skep_proto::pb;

use super::spec::{port_list, read_ports};
use super::{id_text, meta_id, number_or_null, text_or_null, time};

/// A task as `inspect` shows it.
pub(crate) fn task(entry: &pb::TaskEntry) -> Value {
    let task = entry.task.clone().unwrap_or_default();
    let meta = task.meta.clone().unwrap_or_default();
    json!({
        "ID": meta_id(task.meta.as_ref()),
        "Version": {"Index": meta.version},
        "CreatedAt": time(meta.created_at),
        "UpdatedAt": time(meta.updated_at),
        "Labels": {},
        "Spec": {"ContainerSpec": {"Image": entry.image}},
        "ServiceID": id_text(&task.service_id),
        "Slot": number_or_null(task.slot.into()),
        "NodeID": text_or_null(&id_text(&task.node_id)),
        "Status": status(&task.status.clone().unwrap_or_default(), &seen(entry)),
        "DesiredState": desired_word(task.desired),
    })
}

/// What can be said of a task now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The word of its state.
    pub(crate) word: &'static str,
    /// Since when, Unix milliseconds.
    pub(crate) at: u64,
    /// Why it is not running.
    pub(crate) error: String,
}

/// What was last heard of a task says nothing about now once its node is not heard of any more.
pub(crate) fn seen(entry: &pb::TaskEntry) -> Seen {
    let status = entry.task.clone().unwrap_or_default().status.unwrap_or_default();
    let may_run = i32::from(pb::TaskState::Assigned)..=i32::from(pb::TaskState::Running);
    if !entry.node_down || !may_run.contains(&status.state) {
        return Seen { word: state_word(status.state), at: status.at, error: status.error };
    }
    let error = format!("node {} is down: {}", entry.node_name, entry.node_down_reason);
    Seen { word: "unknown", at: entry.node_down_since, error }
}

fn status(status: &pb::TaskStatus, seen: &Seen) -> Value {
    let container = json!({
        "ContainerID": status.container_id,
        "PID": status.pid,
        "ExitCode": status.exit_code.unwrap_or(0),
    });
    json!({
        "Timestamp": time(seen.at),
        "State": seen.word,
        "Message": status.message,
        "Err": text_or_null(&seen.error),
        "ContainerStatus": if status.container_id.is_empty() { Value::Null } else { container },
        "PortStatus": {"Ports": port_list(&read_ports(&status.ports))},
    })
}

/// The word of an observed state. One that a newer daemon knows and we do not is unknown.
pub(crate) fn state_word(state: i32) -> &'static str {
    let known = pb::TaskState::try_from(state).ok();
    let known = known.and_then(|state| skep_proto::model::TaskState::try_from(state).ok());
    known.map_or("unknown", skep_proto::model::TaskState::name)
}

/// The word of a desired state.
pub(crate) fn desired_word(state: i32) -> &'static str {
    let known = pb::DesiredState::try_from(state).ok();
    known.and_then(|state| DesiredState::try_from(state).ok()).map_or("unknown", DesiredState::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_dockers_fields() {
        let status = pb::TaskStatus {
            state: pb::TaskState::Failed.into(),
            error: "task: non-zero exit (1)".into(),
            exit_code: Some(1),
            container_id: "c".into(),
            ..Default::default()
        };
        let inner = pb::Task { slot: 2, status: Some(status), desired: 640, ..Default::default() };
        let shown = task(&pb::TaskEntry { task: Some(inner), image: "busybox".into(), ..Default::default() });
        assert_eq!(shown["Slot"], 2);
        assert_eq!(shown["DesiredState"], "shutdown");
        assert_eq!(shown["Status"]["State"], "failed");
        assert_eq!(shown["Status"]["Err"], "task: non-zero exit (1)");
        assert_eq!(shown["Status"]["ContainerStatus"]["ExitCode"], 1);
        assert_eq!(shown["Spec"]["ContainerSpec"]["Image"], "busybox");
    }

    #[test]
    fn a_state_of_a_newer_daemon_is_unknown() {
        assert_eq!((state_word(7), desired_word(7)), ("unknown", "unknown"));
    }
}
