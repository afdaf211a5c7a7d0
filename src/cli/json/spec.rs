//! Specs of services.

use std::time::Duration;

use serde_json::{Value, json};
use skep_proto::model::{
    ContainerSpec, MinAvailable, Mode, Placement, PortConfig, PublishMode, Resources, RestartCondition, RestartPolicy,
    ServiceSpec, TaskSpec, UpdateConfig,
};
use skep_proto::pb;

use super::{number_or_null, or_null, text_or_null};
use crate::cli::flags::placement::constraint_text;
use crate::cli::flags::ports::{mode_word, protocol_word};

/// A spec as the wire has it; null for one that this version cannot read.
pub(crate) fn spec_or_null(spec: Option<&pb::ServiceSpec>) -> Value {
    spec.and_then(|spec| ServiceSpec::try_from(spec.clone()).ok()).map_or(Value::Null, |spec| service_spec(&spec))
}

/// A service's spec.
pub(crate) fn service_spec(spec: &ServiceSpec) -> Value {
    json!({
        "Name": spec.name.as_str(),
        "Labels": spec.labels,
        "TaskTemplate": task_spec(&spec.task),
        "Mode": mode(spec.mode),
        "UpdateConfig": update(&spec.update),
        "EndpointSpec": endpoint(&spec.ports),
        "MinAvailable": min_available(spec.min_available),
    })
}

/// What its tasks run.
pub(crate) fn task_spec(spec: &TaskSpec) -> Value {
    json!({
        "ContainerSpec": container(&spec.container),
        "Resources": {
            "Limits": resources(&spec.limits),
            "Reservations": resources(&spec.reservations),
        },
        "RestartPolicy": restart(&spec.restart),
        "Placement": placement(&spec.placement),
        "ForceUpdate": spec.force_update,
        "StopAfter": spec.on_disconnect.stops_after().map_or(Value::Null, nanos),
        "Runtime": "container",
    })
}

fn container(spec: &ContainerSpec) -> Value {
    let dns = if spec.dns.is_empty() { json!({}) } else { json!({"Nameservers": spec.dns}) };
    json!({
        "Image": spec.image,
        "Labels": if spec.labels.is_empty() { Value::Null } else { json!(spec.labels) },
        "Command": or_null(spec.command.clone()),
        "Args": or_null(spec.args.clone()),
        "Hostname": text_or_null(&spec.hostname),
        "Env": or_null(spec.env.clone()),
        "Dir": text_or_null(&spec.dir),
        "User": text_or_null(&spec.user),
        "ReadOnly": if spec.read_only { Value::Bool(true) } else { Value::Null },
        "StopSignal": text_or_null(&spec.stop_signal),
        "StopGracePeriod": nanos(spec.stop_grace),
        "Hosts": or_null(spec.hosts.clone()),
        "DNSConfig": dns,
        "CapabilityAdd": or_null(spec.cap_add.clone()),
        "CapabilityDrop": or_null(spec.cap_drop.clone()),
    })
}

/// Only what is set: Docker shows `{}` where nothing is.
fn resources(part: &Resources) -> Value {
    json!({
        "NanoCPUs": number_or_null(part.nano_cpus),
        "MemoryBytes": number_or_null(part.memory_bytes),
        "Pids": number_or_null(part.pids),
    })
}

fn restart(policy: &RestartPolicy) -> Value {
    json!({
        "Condition": condition_word(policy.condition),
        "Delay": nanos(policy.delay),
        "MaxAttempts": policy.max_attempts.unwrap_or(0),
        "Window": policy.window.map_or(Value::Null, nanos),
    })
}

/// The word of a condition.
pub(crate) fn condition_word(condition: RestartCondition) -> &'static str {
    match condition {
        RestartCondition::None => "none",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::Any => "any",
    }
}

fn placement(part: &Placement) -> Value {
    let preference = |label: &String| json!({"Spread": {"SpreadDescriptor": label}});
    json!({
        "Constraints": or_null(part.constraints.iter().map(constraint_text).collect::<Vec<_>>()),
        "Preferences": or_null(part.spread.iter().map(preference).collect::<Vec<_>>()),
        "MaxReplicas": number_or_null(part.max_replicas_per_node.unwrap_or(0).into()),
    })
}

fn mode(mode: Mode) -> Value {
    match mode {
        Mode::Replicated { replicas } => json!({"Replicated": {"Replicas": replicas}, "Global": null}),
        Mode::Global => json!({"Replicated": null, "Global": {}}),
    }
}

fn update(part: &UpdateConfig) -> Value {
    json!({
        "Parallelism": part.parallelism,
        "Delay": nanos(part.delay),
        "Order": order_word(part),
    })
}

/// A number, or a percentage as a text; null when there is no demand.
fn min_available(part: MinAvailable) -> Value {
    match part {
        MinAvailable::Tasks(tasks) => number_or_null(tasks.into()),
        MinAvailable::Percent(percent) => json!(format!("{percent}%")),
    }
}

/// The word of an update's order.
pub(crate) fn order_word(part: &UpdateConfig) -> &'static str {
    if part.start_first { "start-first" } else { "stop-first" }
}

/// An endpoint's spec.
pub(crate) fn endpoint(ports: &[PortConfig]) -> Value {
    json!({"Mode": "vip", "Ports": port_list(ports)})
}

/// Ports, null when there are none.
pub(crate) fn port_list(ports: &[PortConfig]) -> Value {
    or_null(ports.iter().map(port).collect::<Vec<_>>())
}

fn port(part: &PortConfig) -> Value {
    json!({
        "Protocol": protocol_word(part.protocol),
        "TargetPort": part.target,
        "PublishedPort": number_or_null(part.published.into()),
        "PublishMode": mode_word(part.mode),
    })
}

/// The ports of a message that this version can read.
pub(crate) fn read_ports(ports: &[pb::PortConfig]) -> Vec<PortConfig> {
    ports.iter().filter_map(|port| PortConfig::try_from(*port).ok()).collect()
}

/// Those of one mode.
pub(crate) fn ports_of(ports: &[pb::PortConfig], mode: PublishMode) -> Vec<PortConfig> {
    read_ports(ports).into_iter().filter(|port| port.mode == mode).collect()
}

/// Docker's API counts nanoseconds.
fn nanos(span: Duration) -> Value {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).into()
}
