//! Containers.

use serde_json::{Map, Value, json};
use skep_proto::pb;

use super::spec::read_ports;
use super::{or_null, time};
use crate::cli::flags::ports::protocol_word;

/// A container as `inspect` shows it.
pub(crate) fn container(container: &pb::Container) -> Value {
    let mut words = container.command.iter();
    let path = words.next().cloned().unwrap_or_default();
    json!({
        "Id": container.id,
        "Created": time(container.created_at),
        "Path": path,
        "Args": words.collect::<Vec<_>>(),
        "State": state(container),
        "Image": container.image_id,
        "Name": format!("/{}", container.name),
        "RestartCount": 0,
        "HostConfig": host_config(container),
        "Config": config(container),
        "NetworkSettings": {"IPAddress": container.address, "Ports": ports(container)},
    })
}

fn state(container: &pb::Container) -> Value {
    json!({
        "Status": container.status,
        "Running": container.status == "running",
        "Paused": false,
        "OOMKilled": container.oom_killed,
        "Dead": false,
        "Pid": container.pid,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": time(container.started_at),
        "FinishedAt": time(container.finished_at),
    })
}

fn config(container: &pb::Container) -> Value {
    json!({
        "Hostname": container.hostname,
        "User": container.user,
        "Env": or_null(container.env.clone()),
        "Image": container.image,
        "WorkingDir": container.workdir,
        "Labels": container.labels,
        "StopSignal": super::text_or_null(&container.stop_signal),
    })
}

fn host_config(container: &pb::Container) -> Value {
    let limits = container.limits.unwrap_or_default();
    json!({
        "ReadonlyRootfs": container.read_only,
        "NanoCpus": limits.nano_cpus,
        "Memory": limits.memory_bytes,
        "PidsLimit": limits.pids,
    })
}

fn ports(container: &pb::Container) -> Value {
    let mut all = Map::new();
    for port in read_ports(&container.ports) {
        let key = format!("{}/{}", port.target, protocol_word(port.protocol));
        let binding = json!([{"HostIp": "0.0.0.0", "HostPort": port.published.to_string()}]);
        all.insert(key, if port.published == 0 { Value::Null } else { binding });
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_dockers_nesting() {
        let port = pb::PortConfig { protocol: 1, target: 80, published: 18080, mode: 2 };
        let shown = container(&pb::Container {
            id: "b7".into(),
            name: "web.1.x".into(),
            command: vec!["sh".into(), "-c".into(), "x".into()],
            status: "running".into(),
            pid: 6374,
            ports: vec![port],
            ..Default::default()
        });
        assert_eq!(shown["Name"], "/web.1.x");
        assert_eq!((&shown["Path"], &shown["Args"]), (&json!("sh"), &json!(["-c", "x"])));
        assert_eq!((&shown["State"]["Running"], &shown["State"]["Pid"]), (&json!(true), &json!(6374)));
        assert_eq!(shown["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "18080");
        assert_eq!(shown["State"]["FinishedAt"], "0001-01-01T00:00:00Z");
    }
}
