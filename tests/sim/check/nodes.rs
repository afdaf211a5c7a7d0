//! What must hold of what nodes and the cluster give out.

use std::collections::{BTreeMap, BTreeSet};

use skep_manager::store::{State, Touched};
use skep_proto::model::{NodeId, Protocol, PublishMode, Revision, Task};

use super::{Verdict, broken};

/// Tasks that hold something of a node, each with what it runs.
fn holders(state: &State, node: NodeId) -> impl Iterator<Item = (&Task, &Revision)> {
    state.tasks_on(node).filter(|task| task.holds_resources()).filter_map(|task| {
        let revision = state.service(task.service)?.revisions.get(&task.spec_version)?;
        Some((task, revision.as_ref()))
    })
}

fn host_ports(revision: &Revision) -> impl Iterator<Item = (Protocol, u16)> {
    let fixed = revision.ports.iter().filter(|port| port.mode == PublishMode::Host && port.published != 0);
    fixed.map(|port| (port.protocol, port.published))
}

/// What is reserved is promised: a task that finds less than was reserved for it is killed by somebody else's memory.
pub(super) fn invariant_reservations_are_never_overcommitted(state: &State, node: NodeId) -> Verdict {
    let Some(there) = state.node(node) else { return Ok(()) };
    let (has, mut cpus, mut memory) = (there.description.resources, 0u64, 0u64);
    for (_, revision) in holders(state, node) {
        cpus += revision.task.reservations.nano_cpus;
        memory += revision.task.reservations.memory_bytes;
    }
    if cpus > has.nano_cpus || memory > has.memory_bytes {
        let what = format!("node {node}: {cpus} of {} CPUs, {memory} of {} bytes", has.nano_cpus, has.memory_bytes);
        return broken("reservations_are_never_overcommitted", what);
    }
    Ok(())
}

/// Two tasks cannot listen on one port of one machine: the second would fail, again and again.
pub(super) fn invariant_a_host_port_is_given_once_on_a_node(state: &State, node: NodeId) -> Verdict {
    let mut taken = BTreeMap::new();
    for (task, revision) in holders(state, node) {
        for port in host_ports(revision) {
            if let Some(by) = taken.insert(port, task.id) {
                let what = format!("node {node}: {port:?} is held by {by} and {}", task.id);
                return broken("a_host_port_is_given_once_on_a_node", what);
            }
        }
    }
    Ok(())
}

/// The scheduler trusts the counts that the store keeps up; one that is off places too much or nothing.
pub(super) fn invariant_usage_is_what_a_count_gives(state: &State, node: NodeId) -> Verdict {
    if state.node(node).is_none() {
        return Ok(());
    }
    let usage = state.usage(node);
    let (mut memory, mut active, mut ports) = (0, 0, BTreeMap::<_, u32>::new());
    for (task, revision) in holders(state, node) {
        memory += revision.task.reservations.memory_bytes;
        active += u32::from(task.desired.is_live());
        host_ports(revision).for_each(|port| *ports.entry(port).or_default() += 1);
    }
    if (memory, active, &ports) != (usage.memory_bytes, usage.active, &usage.host_ports) {
        let what = format!("node {node}: counted {memory} bytes, {active} tasks, {ports:?}; kept {usage:?}");
        return broken("usage_is_what_a_count_gives", what);
    }
    Ok(())
}

/// A published port leads to one service; to two it would lead to whichever came last.
pub(super) fn invariant_published_ports_are_given_once(state: &State, touched: &Touched) -> Verdict {
    let with_ports = |id| state.service(id).is_some_and(|service| !service.ports.is_empty());
    if !touched.services.iter().any(|id| with_ports(*id)) {
        return Ok(());
    }
    let mut taken = BTreeSet::new();
    for service in state.services().filter(|service| !service.removing) {
        for port in service.ports.iter().filter(|port| port.mode == PublishMode::Ingress) {
            if !taken.insert((port.protocol, port.published)) {
                let what = format!("port {} of service {}", port.published, service.id);
                return broken("published_ports_are_given_once", what);
            }
        }
    }
    Ok(())
}
