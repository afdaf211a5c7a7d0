//! What container a task is.

use std::collections::BTreeMap;

use skep_proto::model::disconnect::BACKSTOP_LAG;
use skep_proto::model::{PortConfig, Protocol, Resources, TaskId, TaskSpec};
use skep_runtime::{ContainerId, ContainerInfo, ContainerSpec, ContainerStatus, Exit, Lifeline, PublishedPort};

use super::template::{TemplateError, expand};
use crate::order::{Exited, Recovered, Started, TaskOrder};

/// What Docker's labels of a task begin with.
const LABEL_PREFIX: &str = "com.docker.swarm.";

/// The id of a task's container: the task's own id.
///
/// # Panics
/// Never: a task's id is 25 characters of 0-9 and a-z.
#[must_use]
pub fn container_id(task: TaskId) -> ContainerId {
    ContainerId::new(task.to_string()).expect("25 characters of 0-9 and a-z are a container's id")
}

/// The task whose container it is; `None`: it is somebody else's, and to be left alone.
#[must_use]
pub fn task_id(info: &ContainerInfo) -> Option<TaskId> {
    let marked = info.spec.labels.contains_key(&format!("{LABEL_PREFIX}task.id"));
    info.id.as_str().parse().ok().filter(|_| marked)
}

/// The container that a task asks for.
///
/// # Errors
/// When a placeholder in its environment or hostname is unknown.
pub fn spec(order: &TaskOrder, node_hostname: &str) -> Result<ContainerSpec, TemplateError> {
    let wanted = order.template.spec.container.clone();
    let own: Result<Vec<String>, _> = wanted.env.iter().map(|text| expand(text, order, node_hostname)).collect();
    let env = told(order, node_hostname).into_iter().chain(own?).collect();
    Ok(ContainerSpec {
        name: order.name(),
        image: wanted.image,
        entrypoint: wanted.command,
        args: wanted.args,
        env,
        labels: labels(order, wanted.labels),
        user: given(wanted.user),
        workdir: given(wanted.dir),
        hostname: given(expand(&wanted.hostname, order, node_hostname)?),
        read_only: wanted.read_only,
        cap_add: wanted.cap_add,
        cap_drop: wanted.cap_drop,
        hosts: wanted.hosts,
        dns: wanted.dns,
        stop_signal: given(wanted.stop_signal),
        resources: limits(order.template.spec.limits),
        ports: order.template.ports.iter().map(published).collect(),
        lifeline: lifeline(&order.template.spec),
    })
}

/// What every container is told about itself, so that a program can know its place without asking for templates. What the
/// user sets comes later and wins.
fn told(order: &TaskOrder, node_hostname: &str) -> [String; 4] {
    [
        format!("SKEP_SERVICE={}", order.template.service_name),
        format!("SKEP_TASK={}", order.name()),
        format!("SKEP_SLOT={}", order.slot_text()),
        format!("SKEP_NODE={node_hostname}"),
    ]
}

/// The container's own labels, and over them those by which Docker's tools find a task.
fn labels(order: &TaskOrder, mut own: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let swarm = [
        ("node.id", order.node.to_string()),
        ("service.id", order.template.service.to_string()),
        ("service.name", order.template.service_name.clone()),
        ("task", String::new()),
        ("task.id", order.task.to_string()),
        ("task.name", order.name()),
    ];
    own.extend(swarm.into_iter().map(|(key, value)| (format!("{LABEL_PREFIX}{key}"), value)));
    own
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn limits(limits: Resources) -> skep_runtime::Resources {
    let Resources { nano_cpus, memory_bytes, pids } = limits;
    skep_runtime::Resources { nano_cpus, memory_bytes, pids }
}

/// Of a task that stops when its node is cut off: a little later than the agent would stop it.
fn lifeline(spec: &TaskSpec) -> Option<Lifeline> {
    let after = spec.on_disconnect.stops_after()?;
    Some(Lifeline { after: after + BACKSTOP_LAG, grace: spec.container.stop_grace })
}

fn published(port: &PortConfig) -> PublishedPort {
    let protocol = match port.protocol {
        Protocol::Tcp => skep_runtime::Protocol::Tcp,
        Protocol::Udp => skep_runtime::Protocol::Udp,
    };
    PublishedPort { published: port.published, target: port.target, protocol }
}

/// A container that runs. Its ports are as the order has them, so that there is nothing to tell of them.
#[must_use]
pub fn started(info: &ContainerInfo) -> Started {
    Started { pid: info.pid.unwrap_or(0), container_id: info.id.to_string(), ports: Vec::new() }
}

/// How a container ended.
#[must_use]
pub fn exited(exit: Exit) -> Exited {
    Exited { code: exit.code, oom: exit.oom_killed, error: exit.error }
}

/// What a container that was found says of its task.
#[must_use]
pub fn recovered(info: ContainerInfo) -> Recovered {
    match info.status {
        ContainerStatus::Created => Recovered::Created,
        ContainerStatus::Running => Recovered::Running(started(&info)),
        ContainerStatus::Exited => Recovered::Exited(info.exit.map(exited).unwrap_or_default()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use skep_proto::model::{NodeId, PublishMode, ServiceId};

    use super::*;
    use crate::order::Template;

    pub(crate) fn order() -> TaskOrder {
        let container = skep_proto::model::ContainerSpec {
            image: "skep/hello".into(),
            env: vec!["SLOT={{.Task.Slot}}".into()],
            labels: [("mine".to_owned(), "yes".to_owned())].into(),
            hostname: "{{.Service.Name}}-{{.Task.Slot}}".into(),
            ..Default::default()
        };
        let limits = Resources { nano_cpus: 1, memory_bytes: 2, pids: 3 };
        let port = |mode, published| PortConfig { protocol: Protocol::Tcp, target: 80, published, mode };
        let labels = [("tier", "gold"), ("a.b", "dotted")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let template = Template {
            service: ServiceId::new(5),
            spec_version: 1,
            service_name: "web".into(),
            service_labels: labels.into(),
            spec: TaskSpec { container, limits, ..TaskSpec::default() },
            ports: vec![port(PublishMode::Ingress, 8080), port(PublishMode::Host, 9090)],
        };
        TaskOrder { task: TaskId::new(7), slot: 3, node: NodeId::new(9), template: Arc::new(template) }
    }

    fn info(id: ContainerId, spec: ContainerSpec) -> ContainerInfo {
        ContainerInfo {
            id,
            spec,
            image_id: String::new(),
            command: Vec::new(),
            status: ContainerStatus::Created,
            pid: None,
            address: None,
            created_ms: 0,
            started_ms: None,
            exit: None,
        }
    }

    #[test]
    fn a_task_is_found_by_its_container_and_nobody_elses_is() {
        let id = container_id(TaskId::new(7));
        assert_eq!(task_id(&info(id.clone(), spec(&order(), "").unwrap())), Some(TaskId::new(7)));
        assert_eq!(task_id(&info(id, ContainerSpec::default())), None, "the id alone proves nothing");
        let foreign = ContainerId::new("somebody-elses").unwrap();
        assert_eq!(task_id(&info(foreign, spec(&order(), "").unwrap())), None);
    }

    #[test]
    fn a_task_becomes_a_container() {
        let made = spec(&order(), "host").unwrap();
        assert_eq!(made.name, format!("web.3.{}", TaskId::new(7)));
        let name = format!("SKEP_TASK=web.3.{}", TaskId::new(7));
        assert_eq!(
            made.env,
            ["SKEP_SERVICE=web", &name, "SKEP_SLOT=3", "SKEP_NODE=host", "SLOT=3"],
            "the user's come last"
        );
        assert_eq!(made.hostname.as_deref(), Some("web-3"));
        assert_eq!((made.user, made.workdir, made.stop_signal), (None, None, None));
        assert_eq!(made.resources, skep_runtime::Resources { nano_cpus: 1, memory_bytes: 2, pids: 3 });
        assert_eq!(made.ports.iter().map(|p| p.published).collect::<Vec<_>>(), [8080, 9090]);
    }

    #[test]
    fn dockers_labels_come_over_the_containers_own() {
        let labels = spec(&order(), "host").unwrap().labels;
        let expected = [
            ("com.docker.swarm.node.id", NodeId::new(9).to_string()),
            ("com.docker.swarm.service.id", ServiceId::new(5).to_string()),
            ("com.docker.swarm.service.name", "web".to_owned()),
            ("com.docker.swarm.task", String::new()),
            ("com.docker.swarm.task.id", TaskId::new(7).to_string()),
            ("com.docker.swarm.task.name", order().name()),
            ("mine", "yes".to_owned()),
        ];
        assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value)).into());
    }

    #[test]
    fn an_unknown_placeholder_refuses_the_task() {
        let mut order = order();
        Arc::make_mut(&mut order.template).spec.container.env.push("A={{.Nope}}".into());
        assert!(spec(&order, "host").is_err());
    }
}
