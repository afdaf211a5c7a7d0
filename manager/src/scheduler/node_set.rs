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
    pub(super) cpus_free: u64,
    pub(super) memory_free: u64,
    /// Tasks meant to run there, those placed by this pass among them.
    pub(super) active: u32,
    usage: &'a Usage,
    /// Placed by this pass, of the service that it is at.
    placed_here: u32,
}

/// All nodes, by id.
#[derive(Debug)]
pub(super) struct NodeSet<'a> {
    candidates: Vec<Candidate<'a>>,
    service: Option<ServiceId>,
    changed: Vec<usize>,
    ports: BTreeSet<(usize, Protocol, u16)>,
}

impl<'a> NodeSet<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let candidates = state.nodes().map(|node| Candidate::new(node, state.usage(node.id))).collect();
        Self { candidates, service: None, changed: Vec::new(), ports: BTreeSet::new() }
    }

    /// Begins with a group of a service. The groups of one service come one after the other, so that counts of one service at
    /// a time are enough.
    pub(super) fn turn_to(&mut self, service: ServiceId) {
        if self.service == Some(service) {
            return;
        }
        self.service = Some(service);
        for index in self.changed.drain(..) {
            self.candidates[index].placed_here = 0;
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

    /// How many tasks of the service are meant to run on that node.
    pub(super) fn here(&self, index: usize, service: ServiceId) -> u32 {
        let candidate = &self.candidates[index];
        candidate.usage.by_service.get(&service).map_or(0, |count| *count) + candidate.placed_here
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
        if candidate.placed_here == 0 {
            self.changed.push(index);
        }
        candidate.placed_here += 1;
        self.ports.extend(need.ports.iter().map(|&(protocol, port)| (index, protocol, port)));
    }
}

impl<'a> Candidate<'a> {
    fn new(node: &'a Node, usage: &'a Usage) -> Self {
        let has = &node.description.resources;
        Self {
            node,
            cpus_free: has.nano_cpus.saturating_sub(usage.nano_cpus),
            memory_free: has.memory_bytes.saturating_sub(usage.memory_bytes),
            active: usage.active,
            usage,
            placed_here: 0,
        }
    }

    /// Its name for people: the hostname, or the id as long as there is none.
    pub(super) fn name(&self) -> String {
        let hostname = &self.node.description.hostname;
        if hostname.is_empty() { self.node.id.to_string() } else { hostname.clone() }
    }
}
