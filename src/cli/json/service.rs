//! Services.

use serde_json::{Value, json};
use skep_proto::pb;

use super::spec::{port_list, read_ports, spec_or_null};
use super::{meta_id, time};

/// A service as `service inspect` shows it.
pub(crate) fn service(service: &pb::Service) -> Value {
    let meta = service.meta.clone().unwrap_or_default();
    let spec = spec_or_null(service.spec.as_ref());
    json!({
        "ID": meta_id(service.meta.as_ref()),
        "Version": {"Index": meta.version},
        "CreatedAt": time(meta.created_at),
        "UpdatedAt": time(meta.updated_at),
        "PreviousSpec": spec_or_null(service.previous_spec.as_ref()),
        "Endpoint": {"Spec": spec["EndpointSpec"].clone(), "Ports": port_list(&read_ports(&service.ports))},
        "UpdateStatus": service.update_status.as_ref().map_or(Value::Null, update_status),
        "Spec": spec,
    })
}

fn update_status(status: &pb::UpdateStatus) -> Value {
    json!({
        "State": if status.completed { "completed" } else { "updating" },
        "StartedAt": time(status.started_at),
        "CompletedAt": if status.completed { Value::from(time(status.completed_at)) } else { Value::Null },
        "Message": status.message,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skep_proto::model::{
        Constraint, MinAvailable, Mode, Placement, PortConfig, Protocol, PublishMode, Resources, ServiceName,
        ServiceSpec, TaskSpec, UpdateConfig,
    };

    use super::*;

    fn spec() -> ServiceSpec {
        let mut task = TaskSpec::default();
        task.container.image = "busybox:latest".into();
        task.container.args = vec!["sleep".into(), "1".into()];
        task.container.env = vec!["A=b".into()];
        task.container.stop_grace = Duration::from_secs(1);
        task.limits = Resources { memory_bytes: 67_108_864, ..Resources::default() };
        let role = Constraint { key: "node.role".into(), equal: true, value: "manager".into() };
        task.placement = Placement { constraints: vec![role], ..Placement::default() };
        let port = PortConfig { protocol: Protocol::Tcp, target: 80, published: 8080, mode: PublishMode::Ingress };
        ServiceSpec {
            name: ServiceName::new("s2").unwrap(),
            labels: [("l".to_owned(), "m".to_owned())].into(),
            task,
            mode: Mode::Replicated { replicas: 1 },
            ports: vec![port],
            update: UpdateConfig::default(),
            min_available: MinAvailable::default(),
        }
    }

    fn shown() -> Value {
        let meta = pb::Meta { id: vec![0; 16], version: 57, created_at: 1_795_455_292_991, updated_at: 0 };
        service(&pb::Service { meta: Some(meta), spec: Some((&spec()).into()), ..Default::default() })
    }

    #[test]
    fn a_service_has_dockers_nesting() {
        let shown = shown();
        let cases = [
            ("/Version/Index", json!(57)),
            ("/CreatedAt", json!("2026-11-23T17:34:52.991Z")),
            ("/Spec/Name", json!("s2")),
            ("/Spec/Labels", json!({"l": "m"})),
            ("/Spec/TaskTemplate/ContainerSpec/Image", json!("busybox:latest")),
            ("/Spec/TaskTemplate/ContainerSpec/Args", json!(["sleep", "1"])),
            ("/Spec/TaskTemplate/ContainerSpec/Env", json!(["A=b"])),
            ("/Spec/TaskTemplate/ContainerSpec/StopGracePeriod", json!(1_000_000_000)),
            ("/Spec/TaskTemplate/ContainerSpec/DNSConfig", json!({})),
            ("/Spec/TaskTemplate/Resources/Limits/MemoryBytes", json!(67_108_864)),
            ("/Spec/TaskTemplate/RestartPolicy/Delay", json!(5_000_000_000_u64)),
            ("/Spec/TaskTemplate/Placement/Constraints", json!(["node.role==manager"])),
            ("/Spec/TaskTemplate/ForceUpdate", json!(0)),
            ("/Spec/Mode/Replicated", json!({"Replicas": 1})),
            ("/Spec/UpdateConfig/Order", json!("stop-first")),
            ("/Spec/EndpointSpec/Ports/0/PublishedPort", json!(8080)),
            ("/Spec/EndpointSpec/Ports/0/PublishMode", json!("ingress")),
        ];
        for (path, wanted) in cases {
            assert_eq!(shown.pointer(path), Some(&wanted), "{path}");
        }
    }

    #[test]
    fn empty_fields_are_there_for_templates() {
        for path in ["/PreviousSpec", "/UpdateStatus", "/Spec/TaskTemplate/ContainerSpec/Command", "/Spec/Mode/Global"]
        {
            assert_eq!(shown().pointer(path), Some(&Value::Null), "{path}");
        }
    }
}
