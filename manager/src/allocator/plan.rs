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
    let by_another = |protocol: Protocol, number: u16| {
        state.published_by(protocol, number).is_some_and(|holder| holder != service.id)
    };
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
