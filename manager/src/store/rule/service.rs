//! Services, their revisions, names and ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::model::{Mode, PortConfig, Protocol, Revision, Service, ServiceId, ServiceSpec, UpdateStatus};

use super::super::apply::Work;
use super::super::error::Refusal;
use super::super::port::{claims, host_claims, settled};
use super::in_sequence;

impl Work<'_> {
    pub(in super::super) fn create_service(&mut self, id: ServiceId, spec: ServiceSpec) -> Result<(), Refusal> {
        if self.state.service(id).is_some() {
            return Err(Refusal::Exists(format!("service {id}")));
        }
        let ports = settled(&spec.ports, &[]);
        let revision = Revision { task: spec.task.clone(), ports: ports.clone() };
        let service = Service {
            id,
            meta: self.stamp(None),
            spec,
            spec_version: 1,
            previous_spec: None,
            ports,
            revisions: BTreeMap::from([(1, Arc::new(revision))]),
            removing: false,
            update_status: None,
        };
        self.name_is_free(&service)?;
        self.ports_are_free(&service)?;
        self.write_service(id, Some(service));
        Ok(())
    }

    pub(in super::super) fn update_service(
        &mut self,
        id: ServiceId,
        was: u64,
        spec: ServiceSpec,
    ) -> Result<(), Refusal> {
        let before = self.service(id, was)?;
        stays_what_it_is(&before.spec, &spec)?;
        let ports = settled(&spec.ports, &before.ports);
        let spec_version = before.spec_version + 1;
        let revision = Revision { task: spec.task.clone(), ports: ports.clone() };
        let mut after = Service {
            meta: self.stamp(Some(&before.meta)),
            spec,
            spec_version,
            previous_spec: Some(Box::new(before.spec.clone())),
            ports,
            update_status: None,
            ..Service::clone(&before)
        };
        // A scaled service of ten thousand tasks then has one task spec in memory, not two.
        let same = before.current();
        let revision = if **same == revision { Arc::clone(same) } else { Arc::new(revision) };
        after.revisions.insert(spec_version, revision);
        self.ports_are_free(&after)?;
        self.write_used(after);
        Ok(())
    }

    pub(in super::super) fn remove_service(&mut self, id: ServiceId, was: u64) -> Result<(), Refusal> {
        let before = self.service(id, was)?;
        let after = Service { meta: self.stamp(Some(&before.meta)), removing: true, ..Service::clone(&before) };
        self.write_used(after);
        Ok(())
    }

    pub(in super::super) fn set_service_ports(
        &mut self,
        id: ServiceId,
        was: u64,
        ports: Vec<PortConfig>,
    ) -> Result<(), Refusal> {
        let before = self.service(id, was)?;
        let revision = Revision { ports: ports.clone(), ..Revision::clone(before.current()) };
        let meta = self.stamp(Some(&before.meta));
        let mut after = Service { meta, ports, ..Service::clone(&before) };
        after.revisions.insert(after.spec_version, Arc::new(revision));
        self.ports_are_free(&after)?;
        self.write_service(id, Some(after));
        Ok(())
    }

    pub(in super::super) fn set_update_status(
        &mut self,
        id: ServiceId,
        was: u64,
        status: Option<UpdateStatus>,
    ) -> Result<(), Refusal> {
        let before = self.service(id, was)?;
        let meta = self.stamp(Some(&before.meta));
        self.write_service(id, Some(Service { meta, update_status: status, ..Service::clone(&before) }));
        Ok(())
    }

    /// After a task went: the service goes with the last one if it is being removed, a revision with its last one if it is old.
    pub(super) fn tidy_service(&mut self, id: ServiceId) {
        let Some(entry) = self.state.services.get(&id) else { return };
        let (service, used) = (&entry.service, &entry.tasks_by_version);
        let is_needed = |version: &u64| *version == service.spec_version || used.contains_key(version);
        let goes = service.removing && used.is_empty();
        if goes || !service.revisions.keys().all(is_needed) {
            self.write_used(Service::clone(&Arc::clone(service)));
        }
    }

    /// Writes a service without the revisions that nothing refers to; a removed one without tasks goes.
    fn write_used(&mut self, mut service: Service) {
        let (id, current) = (service.id, service.spec_version);
        let used = self.state.services.get(&id).map(|entry| &entry.tasks_by_version);
        let is_used = |version: &u64| used.is_some_and(|used| used.contains_key(version));
        service.revisions.retain(|version, _| *version == current || is_used(version));
        let goes = service.removing && used.is_none_or(BTreeMap::is_empty);
        self.write_service(id, (!goes).then_some(service));
    }

    /// A service that is not being removed, at the version that the change was computed from.
    fn service(&self, id: ServiceId, was: u64) -> Result<Arc<Service>, Refusal> {
        let service = self.state.service(id).filter(|service| !service.removing).ok_or(Refusal::NoService(id))?;
        in_sequence("service", &id, service.meta.version, was)?;
        Ok(Arc::clone(service))
    }

    fn name_is_free(&self, service: &Service) -> Result<(), Refusal> {
        let name = &service.spec.name;
        match self.state.names.get(&name.folded()) {
            Some(&by) => Err(Refusal::NameTaken { name: name.to_string(), by }),
            None => Ok(()),
        }
    }

    fn ports_are_free(&self, service: &Service) -> Result<(), Refusal> {
        let id = service.id;
        let ingress = claims(service).into_iter().map(|(p, port)| (p, port, self.state.port_taken_by(p, port, id)));
        let shared = |(p, port)| (p, port, self.state.published_by(p, port).filter(|by| *by != id));
        let host = host_claims(service).into_iter().map(shared);
        ingress.chain(host).try_for_each(|(protocol, port, by)| self.port_is_free(protocol, port, by))
    }

    fn port_is_free(&self, protocol: Protocol, port: u16, by: Option<ServiceId>) -> Result<(), Refusal> {
        match by.and_then(|by| self.state.service(by)) {
            Some(by) => Err(Refusal::PortTaken { port, protocol, by: by.spec.name.to_string() }),
            None => Ok(()),
        }
    }
}

fn stays_what_it_is(before: &ServiceSpec, after: &ServiceSpec) -> Result<(), Refusal> {
    let refuse = |field| Err(Refusal::Immutable { name: before.name.to_string(), field });
    let is_global = |spec: &ServiceSpec| spec.mode == Mode::Global;
    match () {
        () if before.name != after.name => refuse("name"),
        () if is_global(before) != is_global(after) => refuse("mode"),
        () => Ok(()),
    }
}
