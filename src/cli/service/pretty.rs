//! `service inspect --pretty`: the same object in lines for people. Pure.

use std::time::Duration;

use serde_json::Value;

use crate::cli::format::units::{binary_size, go_duration};

/// The lines of a service, from its JSON.
pub(super) fn pretty(service: &Value) -> String {
    let spec = &service["Spec"];
    let task = &spec["TaskTemplate"];
    let mut lines = vec![format!("\nID:\t\t{}", word(&service["ID"])), format!("Name:\t\t{}", word(&spec["Name"]))];
    labels(&mut lines, &spec["Labels"]);
    mode(&mut lines, &spec["Mode"]);
    update_status(&mut lines, &service["UpdateStatus"]);
    placement(&mut lines, &task["Placement"]);
    update(&mut lines, &spec["UpdateConfig"]);
    if !spec["MinAvailable"].is_null() {
        lines.push(format!("Min Available:\t{}", word(&spec["MinAvailable"])));
    }
    if !task["StopAfter"].is_null() {
        lines.push(format!("On Disconnect:\tstop after {}", span(&task["StopAfter"])));
    }
    container(&mut lines, &task["ContainerSpec"]);
    resources(&mut lines, &task["Resources"]);
    lines.push(format!("Endpoint Mode:\t{}", word(&spec["EndpointSpec"]["Mode"])));
    ports(&mut lines, &service["Endpoint"]["Ports"]);
    lines.join("\n") + "\n"
}

/// A text as it is, another value as JSON.
pub(crate) fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Labels one a line, when there are any.
pub(crate) fn labels(lines: &mut Vec<String>, labels: &Value) {
    if let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) {
        lines.push("Labels:".to_owned());
        lines.extend(labels.iter().map(|(key, value)| format!(" {key}={}", word(value))));
    }
}

fn mode(lines: &mut Vec<String>, mode: &Value) {
    if mode["Global"].is_null() {
        lines.push("Service Mode:\tReplicated".to_owned());
        lines.push(format!(" Replicas:\t{}", word(&mode["Replicated"]["Replicas"])));
    } else {
        lines.push("Service Mode:\tGlobal".to_owned());
    }
}

fn update_status(lines: &mut Vec<String>, status: &Value) {
    if status.is_null() {
        return;
    }
    lines.push("UpdateStatus:".to_owned());
    lines.push(format!(" State:\t\t{}", word(&status["State"])));
    lines.push(format!(" Started:\t{}", word(&status["StartedAt"])));
    if !status["CompletedAt"].is_null() {
        lines.push(format!(" Completed:\t{}", word(&status["CompletedAt"])));
    }
    lines.push(format!(" Message:\t{}", word(&status["Message"])));
}

fn placement(lines: &mut Vec<String>, part: &Value) {
    lines.push("Placement:".to_owned());
    if let Some(list) = part["Constraints"].as_array() {
        lines.push(format!(" Constraints:\t[{}]", list.iter().map(word).collect::<Vec<_>>().join(" ")));
    }
    for preference in part["Preferences"].as_array().into_iter().flatten() {
        lines.push(format!(" Preference:\tspread={}", word(&preference["Spread"]["SpreadDescriptor"])));
    }
    if !part["MaxReplicas"].is_null() {
        lines.push(format!(" Max Replicas Per Node:\t{}", word(&part["MaxReplicas"])));
    }
}

fn update(lines: &mut Vec<String>, part: &Value) {
    lines.push("UpdateConfig:".to_owned());
    lines.push(format!(" Parallelism:\t{}", word(&part["Parallelism"])));
    if part["Delay"] != 0 {
        lines.push(format!(" Delay:\t\t{}", span(&part["Delay"])));
    }
    lines.push(format!(" Update order:\t{}", word(&part["Order"])));
}

fn container(lines: &mut Vec<String>, spec: &Value) {
    lines.push("ContainerSpec:".to_owned());
    lines.push(format!(" Image:\t\t{}", word(&spec["Image"])));
    let lists = [("Command", "Command:\t"), ("Args", "Args:\t\t"), ("Env", "Env:\t\t")];
    for (field, label) in lists {
        if let Some(items) = spec[field].as_array() {
            lines.push(format!(" {label}{} ", items.iter().map(word).collect::<Vec<_>>().join(" ")));
        }
    }
    for (field, label) in [("Dir", "Dir:\t\t"), ("User", "User:\t\t")] {
        if !spec[field].is_null() {
            lines.push(format!(" {label}{}", word(&spec[field])));
        }
    }
}

fn resources(lines: &mut Vec<String>, part: &Value) {
    lines.push("Resources:".to_owned());
    for group in ["Reservations", "Limits"] {
        let amounts = &part[group];
        if amounts.as_object().is_none_or(|amounts| amounts.values().all(Value::is_null)) {
            continue;
        }
        lines.push(format!(" {group}:"));
        if let Some(nanos) = amounts["NanoCPUs"].as_u64() {
            lines.push(format!("  CPU:\t\t{}", cpus(nanos)));
        }
        if let Some(bytes) = amounts["MemoryBytes"].as_u64() {
            lines.push(format!("  Memory:\t{}", binary_size(bytes)));
        }
        if let Some(pids) = amounts["Pids"].as_u64() {
            lines.push(format!("  Pids:\t\t{pids}"));
        }
    }
}

fn ports(lines: &mut Vec<String>, ports: &Value) {
    let Some(ports) = ports.as_array() else { return };
    lines.push("Ports:".to_owned());
    for port in ports {
        lines.push(format!(" PublishedPort = {}", word(&port["PublishedPort"])));
        lines.push(format!("  Protocol = {}", word(&port["Protocol"])));
        lines.push(format!("  TargetPort = {}", word(&port["TargetPort"])));
        lines.push(format!("  PublishMode = {}", word(&port["PublishMode"])));
    }
}

fn span(nanos: &Value) -> String {
    go_duration(Duration::from_nanos(nanos.as_u64().unwrap_or(0)))
}

/// Billionths of a CPU as a decimal.
pub(crate) fn cpus(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_set_has_a_line() {
        let service = json!({
            "ID": "abc",
            "Spec": {
                "Name": "web", "Labels": {},
                "Mode": {"Replicated": {"Replicas": 3}, "Global": null},
                "TaskTemplate": {
                    "ContainerSpec": {"Image": "busybox", "Args": ["sleep", "1"]},
                    "Resources": {"Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 67_108_864}, "Reservations": {"NanoCPUs": null}},
                    "Placement": {"Constraints": ["node.role==worker"]},
                },
                "UpdateConfig": {"Parallelism": 1, "Delay": 0, "Order": "stop-first"},
                "EndpointSpec": {"Mode": "vip"},
            },
            "Endpoint": {"Ports": [{"PublishedPort": 8080, "Protocol": "tcp", "TargetPort": 80, "PublishMode": "ingress"}]},
        });
        let wanted = "\nID:\t\tabc\nName:\t\tweb\nService Mode:\tReplicated\n Replicas:\t3\nPlacement:\n \
                      Constraints:\t[node.role==worker]\nUpdateConfig:\n Parallelism:\t1\n Update order:\tstop-first\n\
                      ContainerSpec:\n Image:\t\tbusybox\n Args:\t\tsleep 1 \nResources:\n Limits:\n  CPU:\t\t0.5\n  \
                      Memory:\t64MiB\nEndpoint Mode:\tvip\nPorts:\n PublishedPort = 8080\n  Protocol = tcp\n  \
                      TargetPort = 80\n  PublishMode = ingress\n";
        assert_eq!(pretty(&service), wanted);
    }
}
