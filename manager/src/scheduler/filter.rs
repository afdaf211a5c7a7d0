//! Whether a task may be on a node, for how many there is room, and how to say why not.

use skep_proto::model::{Availability, Constraint, Node, NodeState, Placement, Protocol, Revision};

use super::node_set::{Candidate, NodeSet};
use crate::store::State;

/// Most nodes named in an explanation. Three show the pattern; the counts before them cover all.
const NAMED_MAX: usize = 3;

/// What each task of a group needs.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) nano_cpus: u64,
    pub(super) memory_bytes: u64,
    pub(super) ports: Vec<(Protocol, u16)>,
    pub(super) placement: &'a Placement,
}

/// The first thing that keeps a task off a node. The order is the order of the checks: cheap before dear, and what a
/// person would rule out first before the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit<'a> {
    /// It takes no tasks.
    Unavailable,
    /// Too few CPUs are free.
    Cpus,
    /// Too little memory is free.
    Memory,
    /// A constraint does not hold.
    Constraint(&'a Constraint),
    /// A port is taken.
    Port,
    /// It has as many tasks of the service as it may.
    Replicas(u32),
}

impl<'a> Need<'a> {
    pub(super) fn new(revision: &'a Revision) -> Self {
        let reserved = &revision.task.reservations;
        Self {
            nano_cpus: reserved.nano_cpus,
            memory_bytes: reserved.memory_bytes,
            ports: State::host_ports(&revision.ports),
            placement: &revision.task.placement,
        }
    }

    /// For how many more tasks the node has room; at least one.
    pub(super) fn room(&self, nodes: &NodeSet<'_>, index: usize) -> Result<u32, Unfit<'a>> {
        let candidate = nodes.get(index);
        if !candidate.open {
            return Err(Unfit::Unavailable);
        }
        let cpus = fitting(candidate.cpus_free, self.nano_cpus).ok_or(Unfit::Cpus)?;
        let memory = fitting(candidate.memory_free, self.memory_bytes).ok_or(Unfit::Memory)?;
        if let Some(broken) = self.placement.constraints.iter().find(|constraint| !constraint.holds(candidate.node)) {
            return Err(Unfit::Constraint(broken));
        }
        let ports = self.room_for_ports(nodes, index)?;
        Ok(cpus.min(memory).min(ports).min(self.room_for_replicas(nodes, index)?))
    }

    fn room_for_ports(&self, nodes: &NodeSet<'_>, index: usize) -> Result<u32, Unfit<'a>> {
        match self.ports.as_slice() {
            [] => Ok(u32::MAX),
            ports if nodes.is_port_taken(index, ports) => Err(Unfit::Port),
            _ => Ok(1),
        }
    }

    fn room_for_replicas(&self, nodes: &NodeSet<'_>, index: usize) -> Result<u32, Unfit<'a>> {
        let Some(max) = self.placement.max_replicas_per_node else { return Ok(u32::MAX) };
        match max.saturating_sub(nodes.here(index)) {
            0 => Err(Unfit::Replicas(max)),
            room => Ok(room),
        }
    }

    /// Why none of these nodes takes one more task of the group.
    pub(super) fn explain(&self, nodes: &NodeSet<'_>, of: impl Iterator<Item = usize>) -> String {
        let mut tally = Tally::default();
        for index in of {
            if let Err(unfit) = self.room(nodes, index) {
                tally.add(unfit, || self.detail(unfit, nodes.get(index)));
            }
        }
        tally.sentence()
    }

    fn detail(&self, unfit: Unfit<'_>, candidate: &Candidate<'_>) -> String {
        let name = candidate.name();
        match unfit {
            Unfit::Unavailable => format!("{name} {}", closed(candidate.node)),
            Unfit::Cpus => {
                format!("{name} has {} CPUs free, {} needed", cpus(candidate.cpus_free), cpus(self.nano_cpus))
            }
            Unfit::Memory => {
                format!("{name} has {} MiB free, {} needed", mib(candidate.memory_free), mib(self.memory_bytes))
            }
            Unfit::Constraint(Constraint { key, equal, value }) => {
                format!("{name} does not satisfy {key}{}{value}", if *equal { "==" } else { "!=" })
            }
            Unfit::Port => format!("{name} has another task on the port"),
            Unfit::Replicas(max) => format!("{name} has {max} already"),
        }
    }
}

/// How many times `need` fits in what is free; `None` when not once.
fn fitting(free: u64, need: u64) -> Option<u32> {
    match free.checked_div(need) {
        None => Some(u32::MAX),
        Some(0) => None,
        Some(times) => Some(u32::try_from(times).unwrap_or(u32::MAX)),
    }
}

/// Why a node takes no tasks.
fn closed(node: &Node) -> String {
    let why = match (node.status.state, node.spec.availability) {
        (NodeState::Down, _) => "is down",
        (NodeState::Disconnected, _) => "is stopped",
        (NodeState::Unknown, _) => "is not heard of yet",
        (NodeState::Ready, Availability::Drain) => "is drained",
        (NodeState::Ready, Availability::Pause) => "is paused",
        (NodeState::Ready, Availability::Active) => return format!("can begin none: {}", node.description.trouble),
    };
    why.to_owned()
}

fn cpus(nano: u64) -> String {
    let text = format!("{}.{:03}", nano / 1_000_000_000, nano % 1_000_000_000 / 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

/// The classes that rejections are counted in, each with its words around the count.
const CLASSES: [(&str, &str); 5] = [
    ("", " not available for new tasks"),
    ("insufficient resources on ", ""),
    ("scheduling constraints not satisfied on ", ""),
    ("host-mode port already in use on ", ""),
    ("max replicas per node limit reached on ", ""),
];

fn class(unfit: Unfit<'_>) -> usize {
    match unfit {
        Unfit::Unavailable => 0,
        Unfit::Cpus | Unfit::Memory => 1,
        Unfit::Constraint(_) => 2,
        Unfit::Port => 3,
        Unfit::Replicas(_) => 4,
    }
}

/// Rejections counted.
#[derive(Debug, Default)]
struct Tally {
    counts: [usize; CLASSES.len()],
    named: Vec<String>,
}

impl Tally {
    fn add(&mut self, unfit: Unfit<'_>, detail: impl FnOnce() -> String) {
        self.counts[class(unfit)] += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(detail());
        }
    }

    /// The biggest count first, then some nodes by name.
    fn sentence(self) -> String {
        let total: usize = self.counts.iter().sum();
        if total == 0 {
            return "no suitable node (there is none)".to_owned();
        }
        let mut classes: Vec<(usize, usize)> = self.counts.into_iter().enumerate().filter(|(_, n)| *n > 0).collect();
        classes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let counted: Vec<String> = classes.into_iter().map(|(class, count)| clause(CLASSES[class], count)).collect();
        let more = total - self.named.len();
        let rest = if more == 0 { String::new() } else { format!("; {more} more") };
        format!("no suitable node ({}): {}{rest}", counted.join("; "), self.named.join("; "))
    }
}

fn clause((before, after): (&str, &str), count: usize) -> String {
    format!("{before}{count} node{}{after}", if count == 1 { "" } else { "s" })
}
