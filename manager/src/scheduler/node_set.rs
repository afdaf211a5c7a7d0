//! The nodes as one scheduling pass sees them: dense, numbered, with what is still free on each.
//!
//! It is built anew for each pass. That costs about a microsecond for six nodes, which is little beside a commit, and there is
//! no second copy of the truth that could drift from the first.

use std::collections::BTreeSet;

use skep_proto::model::{Node, NodeId, Protocol, ServiceId};

use super::filter::Need;
use crate::store::{State, Usage};

/// A node and what this pass has left of it.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) node: &'a Node,
    /// It takes tasks.
    pub(super) open: bool,
    pub(super) cpus_free: u64,
    pub(super) memory_free: u64,
    /// Tasks meant to run there, those placed by this pass among them.
    pub(super) active: u32,
    usage: &'a Usage,
}

/// All nodes, by id.
#[derive(Debug)]
pub(super) struct NodeSet<'a> {
    state: &'a State,
    candidates: Vec<Candidate<'a>>,
    /// The service that the pass is at, and how many of its tasks are meant to run on each node.
    service: Option<ServiceId>,
    here: Vec<u32>,
    /// Host ports taken by this pass.
    ports: BTreeSet<(usize, Protocol, u16)>,
}

impl<'a> NodeSet<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let candidates: Vec<Candidate<'a>> =
            state.nodes_in_use().map(|(node, usage)| Candidate::new(node, usage)).collect();
        let here = vec![0; candidates.len()];
        Self { state, candidates, service: None, here, ports: BTreeSet::new() }
    }

    /// Begins with a group of a service. The groups of one service come one after the other, so that counts of one service at
    /// a time are enough. Where it has fewer tasks than there are nodes, its tasks are counted; otherwise the nodes are asked.
    pub(super) fn turn_to(&mut self, service: ServiceId) {
        if self.service.replace(service) == Some(service) {
            return;
        }
        self.here.fill(0);
        let few = self.candidates.len();
        for (seen, task) in self.state.tasks_of(service).enumerate() {
            if seen == few {
                return self.ask_nodes(service);
            }
            let node = task.node.filter(|_| task.is_live() && task.holds_resources());
            if let Some(index) = node.and_then(|node| self.find(node)) {
                self.here[index] += 1;
            }
        }
    }

    fn ask_nodes(&mut self, service: ServiceId) {
        for (here, candidate) in self.here.iter_mut().zip(&self.candidates) {
            *here = candidate.usage.by_service.get(&service).copied().unwrap_or(0);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    pub(super) fn get(&self, index: usize) -> &Candidate<'a> {
        &self.candidates[index]
    }

    pub(super) fn find(&self, node: NodeId) -> Option<usize> {
        self.candidates.binary_search_by_key(&node, |candidate| candidate.node.id).ok()
    }

    /// How many tasks of the service that the pass is at are meant to run on that node.
    pub(super) fn here(&self, index: usize) -> u32 {
        self.here[index]
    }

    /// Whether one of the ports is taken there.
    pub(super) fn is_port_taken(&self, index: usize, ports: &[(Protocol, u16)]) -> bool {
        let usage = self.candidates[index].usage;
        ports.iter().any(|port| usage.host_ports.contains_key(port) || self.ports.contains(&(index, port.0, port.1)))
    }

    /// Takes what a task needs from the node.
    pub(super) fn place(&mut self, index: usize, need: &Need<'_>) {
        let candidate = &mut self.candidates[index];
        candidate.cpus_free = candidate.cpus_free.saturating_sub(need.nano_cpus);
        candidate.memory_free = candidate.memory_free.saturating_sub(need.memory_bytes);
        candidate.active += 1;
        self.here[index] += 1;
        self.ports.extend(need.ports.iter().map(|&(protocol, port)| (index, protocol, port)));
    }
}

impl<'a> Candidate<'a> {
    fn new(node: &'a Node, usage: &'a Usage) -> Self {
        let has = &node.description.resources;
        Self {
            node,
            open: node.takes_tasks(),
            cpus_free: has.nano_cpus.saturating_sub(usage.nano_cpus),
            memory_free: has.memory_bytes.saturating_sub(usage.memory_bytes),
            active: usage.active,
            usage,
        }
    }

    /// Its name for people: the hostname, or the id as long as there is none.
    pub(super) fn name(&self) -> String {
        let hostname = &self.node.description.hostname;
        if hostname.is_empty() { self.node.id.to_string() } else { hostname.clone() }
    }
}
