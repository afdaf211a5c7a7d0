//! Specs of services.

use std::time::Duration;

use super::error::ConvertError;
use super::fields::{each, in_range, port, required, span, span_ms, unknown};
use crate::model::disconnect::{STOP_AFTER_MAX, STOP_AFTER_MIN};
use crate::model::{
    Constraint, ContainerSpec, MinAvailable, Mode, OnDisconnect, Placement, PortConfig, Protocol, PublishMode,
    Resources, RestartCondition, RestartPolicy, ServiceName, ServiceSpec, TaskSpec, UpdateConfig,
};
use crate::pb;

/// Most replicas of one service. A million tasks is what the managers are measured with; more is a typing error.
pub(super) const REPLICAS_MAX: u64 = 1_000_000;

impl TryFrom<pb::ServiceSpec> for ServiceSpec {
    type Error = ConvertError;

    fn try_from(spec: pb::ServiceSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            name: ServiceName::new(spec.name)?,
            labels: spec.labels,
            task: required(spec.task, "service spec", "task")?.try_into()?,
            mode: required(spec.mode, "service spec", "mode")?.try_into()?,
            ports: each(spec.ports)?,
            update: spec.update.map(UpdateConfig::try_from).transpose()?.unwrap_or_default(),
            min_available: spec.min_available.unwrap_or_default().try_into()?,
        })
    }
}

impl From<&ServiceSpec> for pb::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        Self {
            name: spec.name.as_str().to_owned(),
            labels: spec.labels.clone(),
            task: Some((&spec.task).into()),
            mode: Some(spec.mode.into()),
            ports: spec.ports.iter().map(Into::into).collect(),
            update: Some((&spec.update).into()),
            min_available: Some(spec.min_available.into()),
        }
    }
}

impl TryFrom<pb::MinAvailable> for MinAvailable {
    type Error = ConvertError;

    fn try_from(part: pb::MinAvailable) -> Result<Self, ConvertError> {
        match (part.tasks, part.percent) {
            (tasks, 0) => Ok(Self::Tasks(tasks)),
            (0, percent) => {
                in_range(percent.into(), "the percentage of tasks that stay available", 0, 100)?;
                Ok(Self::Percent(percent))
            }
            (tasks, _) => {
                let rule = "it is either a number of tasks or a percentage of them";
                let field = "the number of tasks that stay available";
                Err(ConvertError::Form { field, value: format!("{tasks} and {}%", part.percent), rule })
            }
        }
    }
}

impl From<MinAvailable> for pb::MinAvailable {
    fn from(part: MinAvailable) -> Self {
        match part {
            MinAvailable::Tasks(tasks) => Self { tasks, percent: 0 },
            MinAvailable::Percent(percent) => Self { tasks: 0, percent },
        }
    }
}

impl TryFrom<pb::service_spec::Mode> for Mode {
    type Error = ConvertError;

    fn try_from(mode: pb::service_spec::Mode) -> Result<Self, ConvertError> {
        match mode {
            pb::service_spec::Mode::Replicated(pb::Replicated { replicas }) => {
                in_range(replicas.into(), "the number of replicas", 0, REPLICAS_MAX)?;
                Ok(Self::Replicated { replicas })
            }
            pb::service_spec::Mode::Global(pb::Global {}) => Ok(Self::Global),
        }
    }
}

impl From<Mode> for pb::service_spec::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Replicated { replicas } => Self::Replicated(pb::Replicated { replicas }),
            Mode::Global => Self::Global(pb::Global {}),
        }
    }
}

impl TryFrom<pb::TaskSpec> for TaskSpec {
    type Error = ConvertError;

    fn try_from(spec: pb::TaskSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            container: required(spec.container, "task spec", "container")?.try_into()?,
            limits: spec.limits.unwrap_or_default().into(),
            reservations: spec.reservations.unwrap_or_default().into(),
            restart: spec.restart.map(RestartPolicy::try_from).transpose()?.unwrap_or_default(),
            placement: spec.placement.unwrap_or_default().into(),
            force_update: spec.force_update,
            on_disconnect: on_disconnect(spec.stop_after_ms)?,
        })
    }
}

impl From<&TaskSpec> for pb::TaskSpec {
    fn from(spec: &TaskSpec) -> Self {
        Self {
            container: Some((&spec.container).into()),
            limits: Some(spec.limits.into()),
            reservations: Some(spec.reservations.into()),
            restart: Some((&spec.restart).into()),
            placement: Some((&spec.placement).into()),
            force_update: spec.force_update,
            stop_after_ms: spec.on_disconnect.stops_after().map_or(0, span_ms),
        }
    }
}

fn on_disconnect(stop_after_ms: u64) -> Result<OnDisconnect, ConvertError> {
    if stop_after_ms == 0 {
        return Ok(OnDisconnect::Keep);
    }
    let (min, max) = (span_ms(STOP_AFTER_MIN), span_ms(STOP_AFTER_MAX));
    in_range(stop_after_ms, "the milliseconds after which a cut-off node stops the task", min, max)?;
    Ok(OnDisconnect::StopAfter(Duration::from_millis(stop_after_ms)))
}

impl TryFrom<pb::ContainerSpec> for ContainerSpec {
    type Error = ConvertError;

    fn try_from(spec: pb::ContainerSpec) -> Result<Self, ConvertError> {
        if spec.image.is_empty() {
            return Err(ConvertError::Missing { message: "service", field: "the image" });
        }
        Ok(Self {
            stop_grace: span(spec.stop_grace_ms, "the stop grace period")?,
            image: spec.image,
            command: spec.command,
            args: spec.args,
            env: spec.env,
            labels: spec.labels,
            dir: spec.dir,
            user: spec.user,
            hostname: spec.hostname,
            read_only: spec.read_only,
            stop_signal: spec.stop_signal,
            cap_add: spec.cap_add,
            cap_drop: spec.cap_drop,
            hosts: spec.hosts,
            dns: spec.dns,
        })
    }
}

impl From<&ContainerSpec> for pb::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        let spec = spec.clone();
        Self {
            stop_grace_ms: span_ms(spec.stop_grace),
            image: spec.image,
            command: spec.command,
            args: spec.args,
            env: spec.env,
            labels: spec.labels,
            dir: spec.dir,
            user: spec.user,
            hostname: spec.hostname,
            read_only: spec.read_only,
            stop_signal: spec.stop_signal,
            cap_add: spec.cap_add,
            cap_drop: spec.cap_drop,
            hosts: spec.hosts,
            dns: spec.dns,
        }
    }
}

impl From<pb::Resources> for Resources {
    fn from(part: pb::Resources) -> Self {
        Self { nano_cpus: part.nano_cpus, memory_bytes: part.memory_bytes, pids: part.pids }
    }
}

impl From<Resources> for pb::Resources {
    fn from(part: Resources) -> Self {
        Self { nano_cpus: part.nano_cpus, memory_bytes: part.memory_bytes, pids: part.pids }
    }
}

impl TryFrom<pb::RestartPolicy> for RestartPolicy {
    type Error = ConvertError;

    fn try_from(policy: pb::RestartPolicy) -> Result<Self, ConvertError> {
        let condition = match policy.condition() {
            pb::RestartCondition::None => RestartCondition::None,
            pb::RestartCondition::OnFailure => RestartCondition::OnFailure,
            pb::RestartCondition::Any => RestartCondition::Any,
            pb::RestartCondition::Unspecified => {
                return Err(unknown("restart policy", "condition", policy.condition));
            }
        };
        let window = span(policy.window_ms, "the restart window")?;
        Ok(Self {
            condition,
            delay: span(policy.delay_ms, "the restart delay")?,
            max_attempts: (policy.max_attempts != 0).then_some(policy.max_attempts),
            window: (!window.is_zero()).then_some(window),
        })
    }
}

impl From<&RestartPolicy> for pb::RestartPolicy {
    fn from(policy: &RestartPolicy) -> Self {
        let condition = match policy.condition {
            RestartCondition::None => pb::RestartCondition::None,
            RestartCondition::OnFailure => pb::RestartCondition::OnFailure,
            RestartCondition::Any => pb::RestartCondition::Any,
        };
        Self {
            condition: condition.into(),
            delay_ms: span_ms(policy.delay),
            max_attempts: policy.max_attempts.unwrap_or(0),
            window_ms: policy.window.map_or(0, span_ms),
        }
    }
}

impl From<pb::Placement> for Placement {
    fn from(part: pb::Placement) -> Self {
        let constraint = |c: pb::Constraint| Constraint { key: c.key, equal: c.equal, value: c.value };
        Self {
            constraints: part.constraints.into_iter().map(constraint).collect(),
            spread: part.spread,
            max_replicas_per_node: (part.max_replicas_per_node != 0).then_some(part.max_replicas_per_node),
        }
    }
}

impl From<&Placement> for pb::Placement {
    fn from(part: &Placement) -> Self {
        let constraint = |c: &Constraint| pb::Constraint { key: c.key.clone(), equal: c.equal, value: c.value.clone() };
        Self {
            constraints: part.constraints.iter().map(constraint).collect(),
            spread: part.spread.clone(),
            max_replicas_per_node: part.max_replicas_per_node.unwrap_or(0),
        }
    }
}

impl TryFrom<pb::PortConfig> for PortConfig {
    type Error = ConvertError;

    fn try_from(part: pb::PortConfig) -> Result<Self, ConvertError> {
        let protocol = match part.protocol() {
            pb::Protocol::Tcp => Protocol::Tcp,
            pb::Protocol::Udp => Protocol::Udp,
            pb::Protocol::Unspecified => return Err(unknown("port", "protocol", part.protocol)),
        };
        let mode = match part.mode() {
            pb::PublishMode::Ingress => PublishMode::Ingress,
            pb::PublishMode::Host => PublishMode::Host,
            pb::PublishMode::Unspecified => return Err(unknown("port", "publish mode", part.mode)),
        };
        let target = port(part.target, "the container's port", 1)?;
        Ok(Self { protocol, target, published: port(part.published, "the published port", 0)?, mode })
    }
}

impl From<&PortConfig> for pb::PortConfig {
    fn from(part: &PortConfig) -> Self {
        let protocol = match part.protocol {
            Protocol::Tcp => pb::Protocol::Tcp,
            Protocol::Udp => pb::Protocol::Udp,
        };
        let mode = match part.mode {
            PublishMode::Ingress => pb::PublishMode::Ingress,
            PublishMode::Host => pb::PublishMode::Host,
        };
        Self {
            protocol: protocol.into(),
            target: part.target.into(),
            published: part.published.into(),
            mode: mode.into(),
        }
    }
}

impl TryFrom<pb::UpdateConfig> for UpdateConfig {
    type Error = ConvertError;

    fn try_from(part: pb::UpdateConfig) -> Result<Self, ConvertError> {
        let delay = span(part.delay_ms, "the update delay")?;
        Ok(Self { parallelism: part.parallelism, delay, start_first: part.start_first })
    }
}

impl From<&UpdateConfig> for pb::UpdateConfig {
    fn from(part: &UpdateConfig) -> Self {
        Self { parallelism: part.parallelism, delay_ms: span_ms(part.delay), start_first: part.start_first }
    }
}
