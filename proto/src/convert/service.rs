//! Services as the managers keep them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::ConvertError;
use super::fields::{each, meta, meta_out, moment, moment_ms, required};
use crate::model::{Moment, PortConfig, Revision, Service, ServiceId, ServiceSpec, UpdateStatus};
use crate::pb;

impl TryFrom<pb::Service> for Service {
    type Error = ConvertError;

    fn try_from(service: pb::Service) -> Result<Self, ConvertError> {
        let (id, meta) = meta(service.meta, "service")?;
        let previous = service.previous_spec.map(ServiceSpec::try_from).transpose()?;
        let spec = ServiceSpec::try_from(required(service.spec, "service", "spec")?)?;
        let ports: Vec<PortConfig> = each(service.ports)?;
        let mut revisions: BTreeMap<_, _> = service.revisions.into_iter().map(revision).collect::<Result<_, _>>()?;
        let newest = || Arc::new(Revision { task: spec.task.clone(), ports: ports.clone() });
        revisions.entry(service.spec_version).or_insert_with(newest);
        Ok(Self {
            id: ServiceId::from_bytes(&id)?,
            meta,
            spec,
            spec_version: service.spec_version,
            previous_spec: previous.map(Box::new),
            ports,
            revisions,
            removing: service.removing,
            update_status: service.update_status.map(Into::into),
        })
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
            revisions: older(service).map(revision_out).collect(),
            removing: service.removing,
            update_status: service.update_status.as_ref().map(Into::into),
        }
    }
}

/// The newest revision is what spec and ports say, and not written a second time.
fn older(service: &Service) -> impl Iterator<Item = (&u64, &Arc<Revision>)> {
    service.revisions.iter().filter(|(version, _)| **version != service.spec_version)
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
    use super::*;
    use crate::model::{ContainerSpec, MinAvailable, Mode, Protocol, PublishMode, ServiceName, TaskSpec, UpdateConfig};

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
    fn only_older_revisions_are_written() {
        let mut service = service();
        assert!(pb::Service::from(&service).revisions.is_empty());
        let mut older = Revision::clone(service.current());
        older.task.container.image = "web:0".into();
        service.revisions.insert(1, Arc::new(older));
        let wire = pb::Service::from(&service);
        assert_eq!(wire.revisions.iter().map(|it| it.spec_version).collect::<Vec<_>>(), [1]);
        assert_eq!(Service::try_from(wire), Ok(service));
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
