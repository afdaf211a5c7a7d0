//! Which services still lack a port, and the change that gives it to them.

use skep_proto::model::{Moment, PortConfig, Protocol, Service};

use super::port::{Exhausted, assign};
use crate::store::{Change, State, Transaction};

/// What to propose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The change, if there is one.
    pub transaction: Option<Transaction>,
    /// Why there is none though one is needed.
    pub failure: Option<Exhausted>,
}

/// Services that wait for a port.
pub fn waiting(state: &State) -> impl Iterator<Item = &Service> {
    state.services().map(AsRef::as_ref).filter(|service| !service.removing && !service.ports_allocated())
}

/// Plans one service. The transaction names the service's version, and `apply` refuses a port that was taken meanwhile.
#[must_use]
pub fn plan(state: &State, service: &Service, now: Moment) -> Plan {
    if service.removing || service.ports_allocated() {
        return Plan::default();
    }
    let by_another = |protocol: Protocol, number: u16| state.port_taken_by(protocol, number, service.id).is_some();
    match assign(&service.spec.ports, &previous(service), by_another) {
        Ok(ports) => Plan { transaction: Some(transaction(service, ports, now)), failure: None },
        Err(exhausted) => Plan { transaction: None, failure: Some(exhausted) },
    }
}

/// What the service's tasks have now, the newest revision first.
fn previous(service: &Service) -> Vec<PortConfig> {
    let revisions = service.revisions.values().rev().flat_map(|revision| revision.ports.iter());
    service.ports.iter().chain(revisions).copied().collect()
}

fn transaction(service: &Service, ports: Vec<PortConfig>, now: Moment) -> Transaction {
    let (service, if_version) = (service.id, service.meta.version);
    Transaction { changes: vec![Change::SetServicePorts { service, if_version, ports }], at: now }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::PublishMode;

    use super::*;
    use crate::fixture::{World, port, replicated};

    fn allocate(world: &mut World) -> usize {
        let plans: Vec<Plan> = waiting(&world.state).map(|service| plan(&world.state, service, world.now)).collect();
        let transactions: Vec<Transaction> = plans.into_iter().filter_map(|plan| plan.transaction).collect();
        world.commit(&transactions);
        transactions.len()
    }

    #[test]
    fn a_service_gets_its_ports_once_and_keeps_them_over_updates() {
        let mut world = World::new(1);
        let mut spec = replicated(1);
        spec.ports = vec![port(80, 0, PublishMode::Ingress)];
        let service = world.create(spec);
        assert_eq!((allocate(&mut world), allocate(&mut world)), (1, 0));
        let given = world.service(service).ports.clone();
        assert_eq!(given, [port(80, 30_000, PublishMode::Ingress)]);
        world.update(service, |spec| spec.ports.push(port(81, 0, PublishMode::Ingress)));
        allocate(&mut world);
        assert_eq!(world.service(service).ports[1], port(81, 30_001, PublishMode::Ingress));
        assert!(world.service(service).ports_allocated());
    }

    #[test]
    fn ports_of_a_removed_service_are_free_at_once() {
        let mut world = World::new(1);
        for name in ["a", "b"] {
            let mut spec = replicated(1);
            spec.name = skep_proto::model::ServiceName::new(name).unwrap();
            spec.ports = vec![port(80, 0, PublishMode::Ingress)];
            let service = world.create(spec);
            allocate(&mut world);
            assert_eq!(world.service(service).ports[0].published, 30_000);
            world.remove(service);
        }
    }
}
