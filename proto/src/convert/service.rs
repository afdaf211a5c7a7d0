//! Services as the managers keep them.

use std::sync::Arc;

use super::error::ConvertError;
use super::fields::{each, meta, meta_out, moment, moment_ms, required};
use crate::model::{Moment, Revision, Service, ServiceId, UpdateStatus};
use crate::pb;

impl TryFrom<pb::Service> for Service {
    type Error = ConvertError;

    fn try_from(service: pb::Service) -> Result<Self, ConvertError> {
        let (id, meta) = meta(service.meta, "service")?;
        let previous = service.previous_spec.map(crate::model::ServiceSpec::try_from).transpose()?;
        let service_out = Self {
            id: ServiceId::from_bytes(&id)?,
            meta,
            spec: required(service.spec, "service", "spec")?.try_into()?,
            spec_version: service.spec_version,
            previous_spec: previous.map(Box::new),
            ports: each(service.ports)?,
            revisions: service.revisions.into_iter().map(revision).collect::<Result<_, _>>()?,
            removing: service.removing,
            update_status: service.update_status.map(Into::into),
        };
        let newest = service_out.revisions.contains_key(&service_out.spec_version);
        required(newest.then_some(service_out), "service", "its newest revision")
    }
}

impl From<&Service> for pb::Service {
    fn from(service: &Service) -> Self {
        Self {
            meta: meta_out(service.id.to_bytes(), &service.meta),
            spec: Some((&service.spec).into()),
            spec_version: service.spec_version,
            previous_spec: service.previous_spec.as_deref().map(Into::into),
            ports: service.ports.iter().map(Into::into).collect(),
            revisions: service.revisions.iter().map(revision_out).collect(),
            removing: service.removing,
            update_status: service.update_status.as_ref().map(Into::into),
        }
    }
}

fn revision(part: pb::Revision) -> Result<(u64, Arc<Revision>), ConvertError> {
    let task = required(part.task, "revision", "task")?.try_into()?;
    Ok((part.spec_version, Arc::new(Revision { task, ports: each(part.ports)? })))
}

fn revision_out((version, revision): (&u64, &Arc<Revision>)) -> pb::Revision {
    pb::Revision {
        spec_version: *version,
        task: Some((&revision.task).into()),
        ports: revision.ports.iter().map(Into::into).collect(),
    }
}

impl From<pb::UpdateStatus> for UpdateStatus {
    fn from(part: pb::UpdateStatus) -> Self {
        Self {
            completed: part.completed,
            started_at: Moment(part.started_at),
            completed_at: moment(part.completed_at),
            message: part.message,
        }
    }
}

impl From<&UpdateStatus> for pb::UpdateStatus {
    fn from(part: &UpdateStatus) -> Self {
        Self {
            completed: part.completed,
            started_at: part.started_at.0,
            completed_at: moment_ms(part.completed_at),
            message: part.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{
        ContainerSpec, MinAvailable, Mode, PortConfig, Protocol, PublishMode, ServiceName, ServiceSpec, TaskSpec,
        UpdateConfig,
    };

    fn service() -> Service {
        let task = TaskSpec {
            container: ContainerSpec { image: "web:1".into(), ..ContainerSpec::default() },
            on_disconnect: crate::model::OnDisconnect::StopAfter(std::time::Duration::from_secs(30)),
            ..TaskSpec::default()
        };
        let port = PortConfig { protocol: Protocol::Tcp, target: 80, published: 8080, mode: PublishMode::Ingress };
        let spec = ServiceSpec {
            name: ServiceName::new("web").unwrap(),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            task: task.clone(),
            mode: Mode::Replicated { replicas: 3 },
            ports: vec![port],
            update: UpdateConfig::default(),
            min_available: MinAvailable::Percent(50),
        };
        Service {
            id: ServiceId::new(5),
            meta: crate::model::Meta { version: 3, created_at: Moment(1), updated_at: Moment(2) },
            previous_spec: Some(Box::new(spec.clone())),
            spec,
            spec_version: 2,
            ports: vec![port],
            revisions: BTreeMap::from([(2, Arc::new(Revision { task, ports: vec![port] }))]),
            removing: false,
            update_status: None,
        }
    }

    #[test]
    fn a_service_is_read_back_as_it_was_written() {
        assert_eq!(Service::try_from(pb::Service::from(&service())), Ok(service()));
    }

    #[test]
    fn a_service_without_its_newest_revision_is_refused() {
        let mut wire = pb::Service::from(&service());
        wire.revisions.clear();
        assert!(Service::try_from(wire).is_err());
    }

    #[test]
    fn absurd_numbers_are_refused() {
        let mut wire = pb::ServiceSpec::from(&service().spec);
        wire.mode = Some(pb::service_spec::Mode::Replicated(pb::Replicated { replicas: u32::MAX }));
        let error = ServiceSpec::try_from(wire).unwrap_err().to_string();
        assert_eq!(error, "use 4294967295 as the number of replicas: it must be between 0 and 1000000");
        let mut wire = pb::ServiceSpec::from(&service().spec);
        wire.ports[0].target = 65_536;
        assert!(ServiceSpec::try_from(wire).is_err());
    }
}
