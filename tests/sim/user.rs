//! The user: asks for services, changes them, moves nodes about, and remembers what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_manager::store::State;
use skep_proto::model::{
    Availability, MinAvailable, Mode, NodeId, NodeRole, OnDisconnect, PublishMode, Resources, RestartCondition,
    RestartPolicy, ServiceId, ServiceName, ServiceSpec, TaskSpec, UpdateConfig,
};

use super::asks::{Ask, Call, Edit, View, port, zone};
use super::chance::Chance;
use super::executor::{CRASHING, ENDING, MISSING, STEADY};
use super::time::Us;

/// Services that may exist at a time.
const SERVICES_MAX: usize = 8;

/// Managers that are wanted at a time.
const MANAGERS_MAX: usize = 5;

/// Versions that objects have at least.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    pub(crate) services: BTreeMap<ServiceId, u64>,
    pub(crate) nodes: BTreeMap<NodeId, u64>,
}

impl Promises {
    /// Those that a state of that index has.
    pub(crate) fn upto(&self, index: u64) -> Self {
        let mut kept = self.clone();
        kept.services.retain(|_, version| *version <= index);
        kept.nodes.retain(|_, version| *version <= index);
        kept
    }

    fn service(&mut self, id: ServiceId, version: u64) {
        let newest = self.services.entry(id).or_default();
        *newest = version.max(*newest);
    }

    fn node(&mut self, id: NodeId, version: u64) {
        let newest = self.nodes.entry(id).or_default();
        *newest = version.max(*newest);
    }
}

/// What was acknowledged or seen, and what was asked for that takes it back.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) promised: Promises,
    pub(crate) removed_services: BTreeSet<ServiceId>,
    pub(crate) removed_nodes: BTreeSet<NodeId>,
}

/// The user.
#[derive(Debug, Default)]
pub(crate) struct User {
    count: u64,
    /// Everything that was asked.
    pub(crate) calls: BTreeMap<u64, Call>,
    /// What there was before.
    pub(crate) begun: View,
    /// What each look must see at least.
    pub(crate) looks: BTreeMap<u64, Promises>,
    pub(crate) history: History,
}

impl User {
    /// Asks for something, given what can be seen of the cluster.
    pub(crate) fn ask(&mut self, chance: &mut Chance, state: &State, now: Us) -> (u64, Ask) {
        self.count += 1;
        let ask = choose(chance, state, self.count);
        self.calls.insert(self.count, Call { ask: ask.clone(), begun: now, ended: None });
        match &ask {
            Ask::Remove(service) => drop(self.history.removed_services.insert(*service)),
            Ask::RemoveNode(node) => drop(self.history.removed_nodes.insert(*node)),
            Ask::Look => drop(self.looks.insert(self.count, self.history.promised.clone())),
            _ => {}
        }
        (self.count, ask)
    }

    /// Asks for something else about the same object, or looks.
    pub(crate) fn ask_beside(&mut self, chance: &mut Chance, ask: &Ask, now: Us) -> u64 {
        let asked = match ask {
            Ask::Create(service, _) | Ask::Scale(service, _) | Ask::Edit(service, _) | Ask::Remove(service) => {
                beside_service(chance, *service)
            }
            Ask::Availability(node, _)
            | Ask::Label(node, _)
            | Ask::Role(node, _)
            | Ask::AddNode(node)
            | Ask::RemoveNode(node) => beside_node(chance, *node),
            Ask::Look => None,
        };
        let Some(ask) = asked else { return self.look(now) };
        self.count += 1;
        self.calls.insert(self.count, Call { ask, begun: now, ended: None });
        self.count
    }

    /// Looks at what there is; whatever was acknowledged by now must be seen.
    pub(crate) fn look(&mut self, now: Us) -> u64 {
        self.count += 1;
        self.calls.insert(self.count, Call { ask: Ask::Look, begun: now, ended: None });
        self.looks.insert(self.count, self.history.promised.clone());
        self.count
    }

    /// The call with that number was committed at that version.
    pub(crate) fn acknowledged(&mut self, number: u64, version: u64) {
        let Some(call) = self.calls.get(&number) else { return };
        match &call.ask {
            Ask::Create(service, _) | Ask::Scale(service, _) | Ask::Edit(service, _) | Ask::Remove(service) => {
                self.history.promised.service(*service, version);
            }
            Ask::Availability(node, _)
            | Ask::Label(node, _)
            | Ask::Role(node, _)
            | Ask::AddNode(node)
            | Ask::RemoveNode(node) => {
                self.history.promised.node(*node, version);
            }
            Ask::Look => {}
        }
    }

    /// A look saw this: whoever looks later must see it, too.
    pub(crate) fn seen(&mut self, state: &State) {
        state.services().for_each(|service| self.history.promised.service(service.id, service.meta.version));
        state.nodes().for_each(|node| self.history.promised.node(node.id, node.meta.version));
    }
}

fn choose(chance: &mut Chance, state: &State, number: u64) -> Ask {
    let services: Vec<ServiceId> = state.services().filter(|service| !service.removing).map(|s| s.id).collect();
    let nodes: Vec<NodeId> = state.nodes().map(|node| node.id).collect();
    let (service, node) = (chance.pick(&services), chance.pick(&nodes));
    let dice = chance.below(100);
    let ask = match (dice, service, node) {
        (0..15, Some(service), _) => Some(Ask::Scale(service, u32::try_from(chance.below(9)).unwrap_or(1))),
        (15..40, Some(service), _) => Some(Ask::Edit(service, edit(chance))),
        (40..48, Some(service), _) => Some(Ask::Remove(service)),
        (48..66, _, Some(node)) => {
            use Availability::{Active, Drain, Pause};
            chance.pick(&[Active, Active, Active, Pause, Drain]).map(|wanted| Ask::Availability(node, wanted))
        }
        (66..74, _, Some(node)) => chance.pick(&["a", "b", ""]).map(|zone| Ask::Label(node, zone.to_owned())),
        (74..77, _, Some(node)) if nodes.len() > 3 && !is_manager(state, node) => Some(Ask::RemoveNode(node)),
        (77..80, ..) => Some(Ask::AddNode(NodeId::new(chance.bits()))),
        (80..86, ..) => Some(Ask::Look),
        (86..90, _, Some(node)) => Some(Ask::Role(node, role(state, node))),
        _ => None,
    };
    let create = |chance: &mut Chance| {
        let id = ServiceId::new(chance.bits());
        Ask::Create(id, Box::new(spec(chance, number)))
    };
    match ask {
        Some(ask) => ask,
        None if services.len() < SERVICES_MAX => create(chance),
        None => service.map_or_else(|| create(chance), Ask::Remove),
    }
}

fn beside_service(chance: &mut Chance, service: ServiceId) -> Option<Ask> {
    match chance.below(4) {
        0 => Some(Ask::Scale(service, u32::try_from(chance.below(9)).unwrap_or(1))),
        1 => Some(Ask::Edit(service, Edit::Env(chance.below(3)))),
        2 => Some(Ask::Edit(service, Edit::Max(chance.pick(&[None, Some(1), Some(3)]).flatten()))),
        _ => None,
    }
}

fn beside_node(chance: &mut Chance, node: NodeId) -> Option<Ask> {
    use Availability::{Active, Drain, Pause};
    match chance.below(3) {
        0 => chance.pick(&[Active, Active, Pause, Drain]).map(|wanted| Ask::Availability(node, wanted)),
        1 => chance.pick(&["a", "b", ""]).map(|zone| Ask::Label(node, zone.to_owned())),
        _ => None,
    }
}

fn is_manager(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.manager.is_some())
}

/// Another one than it has, unless there are managers enough.
fn role(state: &State, node: NodeId) -> NodeRole {
    let managers = state.nodes().filter(|node| node.spec.role == NodeRole::Manager).count();
    if is_manager(state, node) || managers >= MANAGERS_MAX { NodeRole::Worker } else { NodeRole::Manager }
}

fn edit(chance: &mut Chance) -> Edit {
    match chance.below(10) {
        0..3 => Edit::Image(image(chance)),
        3 => Edit::Force,
        4 => Edit::Env(chance.below(3)),
        5 => Edit::Zone(chance.pick(&[None, Some("a"), Some("b")]).flatten()),
        6 => Edit::Rollout(rollout(chance)),
        7 => Edit::Memory(chance.below(4) << 30),
        8 => Edit::HostPort(chance.pick(&[0, 8_080, 8_081]).unwrap_or(0)),
        _ => Edit::Max(chance.pick(&[None, Some(1), Some(3)]).flatten()),
    }
}

fn image(chance: &mut Chance) -> &'static str {
    let images = [STEADY, STEADY, STEADY, STEADY, CRASHING, ENDING, MISSING];
    chance.pick(&images).unwrap_or(STEADY)
}

fn rollout(chance: &mut Chance) -> UpdateConfig {
    UpdateConfig {
        parallelism: u32::try_from(chance.below(4)).unwrap_or(1),
        delay: Duration::from_millis(chance.below(3) * 300),
        start_first: chance.once_in(400),
    }
}

fn restart(chance: &mut Chance) -> RestartPolicy {
    use RestartCondition::{Any, None as Never, OnFailure};
    RestartPolicy {
        condition: chance.pick(&[Any, Any, Any, OnFailure, OnFailure, Never]).unwrap_or(Any),
        delay: Duration::from_millis(chance.below(5) * 700),
        max_attempts: chance.pick(&[None, None, None, Some(2)]).flatten(),
        window: chance.pick(&[None, None, Some(Duration::from_secs(10))]).flatten(),
    }
}

fn spec(chance: &mut Chance, number: u64) -> ServiceSpec {
    let mut task = TaskSpec { restart: restart(chance), ..TaskSpec::default() };
    task.container.image = image(chance).to_owned();
    task.container.stop_grace = Duration::from_millis(chance.between(1, 30) * 100);
    if chance.once_in(300) {
        task.reservations = Resources { memory_bytes: chance.between(1, 3) << 30, nano_cpus: 0, pids: 0 };
    }
    if chance.once_in(200) {
        task.placement.constraints.extend(zone(chance.pick(&["a", "b"])));
    }
    if chance.once_in(200) {
        task.placement.max_replicas_per_node = Some(2);
    }
    if chance.once_in(400) {
        task.on_disconnect = OnDisconnect::StopAfter(Duration::from_millis(chance.between(5_000, 9_000)));
    }
    let mode = if chance.once_in(250) {
        Mode::Global
    } else {
        Mode::Replicated { replicas: u32::try_from(chance.below(9)).unwrap_or(1) }
    };
    let ports = match chance.below(10) {
        0 => vec![port(0, PublishMode::Ingress)],
        1 => vec![port(9_000, PublishMode::Ingress)],
        2 => vec![port(8_080, PublishMode::Host)],
        _ => Vec::new(),
    };
    let name = ServiceName::new(format!("s{number}")).expect("a letter and digits");
    let few = u32::try_from(chance.below(3)).unwrap_or(0);
    let min_available = chance.pick(&[MinAvailable::Tasks(0), MinAvailable::Tasks(few), MinAvailable::Percent(50)]);
    let (labels, min_available) = (BTreeMap::new(), min_available.unwrap_or_default());
    let mut update = rollout(chance);
    update.start_first &= !task.is_single_writer();
    ServiceSpec { name, labels, task, mode, ports, update, min_available }
}
