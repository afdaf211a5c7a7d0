//! Whatever is proposed: indexes equal a recount, a refused transaction leaves no trace, versions grow, and the codec, a snapshot and
//! a replay all lead to the same state.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use skep_proto::model::{
    Availability, DesiredState, Mode, Moment, NodeId, NodeState, Protocol, PublishMode, Revision, ServiceId, Slot,
    Task, TaskId, TaskState, TaskStatus,
};

use super::super::chunk::{Head, Rebuild, tasks};
use super::super::fixture::{node, node_id, port, service, service_id, spec, status, task, task_id, transaction};
use super::super::freeze::Frozen;
use super::super::{Change, Placed, Reported, State, Touched, Transaction, Usage, codec};

/// What a state holds, in a form that can be compared: objects, and all that its queries say.
#[derive(Debug, PartialEq)]
struct View {
    objects: (Vec<String>, Vec<String>, Vec<Task>),
    slots: BTreeMap<(ServiceId, Slot), Vec<TaskId>>,
    on: BTreeMap<NodeId, BTreeSet<TaskId>>,
    waiting: BTreeMap<(ServiceId, u64), BTreeSet<TaskId>>,
    usage: BTreeMap<NodeId, Usage>,
    names: BTreeMap<String, ServiceId>,
    ports: BTreeMap<(Protocol, u16), ServiceId>,
    host_ports: BTreeSet<(Protocol, u16, ServiceId)>,
}

fn objects(state: &State) -> (Vec<String>, Vec<String>, Vec<Task>) {
    let nodes = state.nodes().map(|node| format!("{node:?}")).collect();
    let services = state.services().map(|service| format!("{service:?}")).collect();
    (nodes, services, state.tasks().cloned().collect())
}

/// What the indexes say.
fn seen(state: &State) -> View {
    let slots = |service: ServiceId| {
        let slots = state.slots(service);
        slots.map(move |(slot, tasks)| ((service, slot), tasks.iter().map(|task| task.id).collect()))
    };
    let nodes = || state.nodes().map(|node| node.id);
    View {
        objects: objects(state),
        slots: state.services().flat_map(|service| slots(service.id)).collect(),
        on: nodes().map(|id| (id, state.tasks_on(id).map(|task| task.id).collect())).collect(),
        waiting: state.unassigned().map(|(group, tasks)| (group, tasks.clone())).collect(),
        usage: nodes().map(|id| (id, state.usage(id).clone())).collect(),
        names: state.names.clone().into_iter().collect(),
        ports: state.ports.clone(),
        host_ports: state.host_ports.clone(),
    }
}

/// The same from the objects alone.
fn counted(state: &State) -> View {
    let mut slots: BTreeMap<_, Vec<&Task>> = BTreeMap::new();
    let mut waiting: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for task in state.tasks() {
        slots.entry((task.service, task.slot)).or_default().push(task);
        if task.status.state == TaskState::Pending && task.desired <= DesiredState::Running {
            waiting.entry((task.service, task.spec_version)).or_default().insert(task.id);
        }
    }
    slots.values_mut().for_each(|tasks| tasks.sort_by_key(|task| (task.meta.created_at, task.id)));
    let ids = |tasks: Vec<&Task>| tasks.into_iter().map(|task| task.id).collect();
    let on = |id: NodeId| state.tasks().filter(move |task| task.node == Some(id));
    let listed = || state.services().filter(|service| !service.removing);
    let published = |service: &skep_proto::model::Service| {
        let ports = service.spec.ports.iter().chain(&service.ports).copied();
        let ports: Vec<_> = ports.filter(|port| port.mode == PublishMode::Ingress && port.published != 0).collect();
        let id = service.id;
        ports.into_iter().map(move |port| ((port.protocol, port.published), id))
    };
    let on_nodes = |service: &skep_proto::model::Service| {
        let (ports, id) = (State::host_ports(&service.spec.ports), service.id);
        ports.into_iter().map(move |(protocol, port)| (protocol, port, id))
    };
    View {
        objects: objects(state),
        slots: slots.into_iter().map(|(key, tasks)| (key, ids(tasks))).collect(),
        on: state.nodes().map(|node| (node.id, on(node.id).map(|task| task.id).collect())).collect(),
        waiting,
        usage: state.nodes().map(|node| (node.id, used(state, on(node.id)))).collect(),
        names: listed().map(|service| (service.spec.name.folded(), service.id)).collect(),
        ports: listed().flat_map(|service| published(service)).collect(),
        host_ports: listed().flat_map(|service| on_nodes(service)).collect(),
    }
}

fn used<'a>(state: &State, tasks: impl Iterator<Item = &'a Task>) -> Usage {
    let mut usage = Usage::default();
    for task in tasks.filter(|task| (TaskState::Assigned..=TaskState::Running).contains(&task.status.state)) {
        let revision: &Revision = &state.service(task.service).unwrap().revisions[&task.spec_version];
        usage.nano_cpus += revision.task.reservations.nano_cpus;
        usage.memory_bytes += revision.task.reservations.memory_bytes;
        State::host_ports(&revision.ports).into_iter().for_each(|port| *usage.host_ports.entry(port).or_default() += 1);
        if task.desired <= DesiredState::Running {
            usage.active += 1;
            *usage.by_service.entry(task.service).or_default() += 1;
        }
    }
    usage
}

/// A wish: it becomes a change when the state's versions are known. Few ids, so that wishes meet.
#[derive(Clone, Debug)]
struct Wish {
    kind: usize,
    node: u128,
    service: u128,
    task: u128,
    number: u16,
    choice: Index,
    is_stale: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let ids = (1u128..4, 1u128..4, 1u128..12);
    (0usize..18, ids, 0u16..4, any::<Index>(), proptest::bool::weighted(0.05)).prop_map(
        |(kind, (node, service, task), number, choice, is_stale)| Wish {
            kind,
            node,
            service,
            task,
            number,
            choice,
            is_stale,
        },
    )
}

impl Wish {
    fn change(&self, state: &State) -> Change {
        let (node, service, task) = (node_id(self.node), service_id(self.service), task_id(self.task));
        match self.kind {
            0 | 1 => self.put_node(state),
            2 => Change::RemoveNode { node, if_version: self.version(state.node(node).map(|it| it.meta.version)) },
            3 | 4 => self.set_node(state),
            5 | 6 => Change::CreateService { service, spec: Box::new(self.service().spec) },
            7 => Change::UpdateService {
                service,
                if_version: self.service_version(state),
                spec: Box::new(self.service().spec),
            },
            8 => Change::RemoveService { service, if_version: self.service_version(state) },
            9 => {
                Change::SetServicePorts { service, if_version: self.service_version(state), ports: self.ports(30_000) }
            }
            10 | 11 => Change::CreateTask(Box::new(self.task(state))),
            12 => Change::SetDesired { task, if_version: self.task_version(state), desired: self.desired() },
            13 | 14 => Change::Assign(vec![Placed { task, if_version: self.task_version(state), node }; 2]),
            15 | 16 => Change::Report(vec![self.report(state)]),
            _ => Change::RemoveTask { task, if_version: self.task_version(state) },
        }
    }

    fn version(&self, there: Option<u64>) -> u64 {
        if self.is_stale { 12_345 } else { there.unwrap_or(0) }
    }

    fn service_version(&self, state: &State) -> u64 {
        self.version(state.service(service_id(self.service)).map(|it| it.meta.version))
    }

    fn task_version(&self, state: &State) -> u64 {
        self.version(state.task(task_id(self.task)).map(|it| it.meta.version))
    }

    fn put_node(&self, state: &State) -> Change {
        let mut put = node(self.node);
        put.meta.version = self.version(state.node(put.id).map(|it| it.meta.version));
        put.spec.availability = *self.choice.get(&[Availability::Active, Availability::Active, Availability::Drain]);
        Change::PutNode(Box::new(put))
    }

    fn set_node(&self, _: &State) -> Change {
        let state = *self.choice.get(&[NodeState::Ready, NodeState::Ready, NodeState::Down]);
        Change::SetNodeStatus { node: node_id(self.node), status: status(state), description: None }
    }

    fn ports(&self, chosen: u16) -> Vec<skep_proto::model::PortConfig> {
        match self.number {
            0 => vec![],
            1 => vec![port(80, chosen, PublishMode::Ingress)],
            2 => vec![port(80, 8080, PublishMode::Host)],
            _ => vec![port(80, 9000, PublishMode::Ingress), port(81, 0, PublishMode::Host)],
        }
    }

    fn service(&self) -> skep_proto::model::Service {
        let mode = if self.service == 3 { Mode::Global } else { Mode::Replicated { replicas: 2 } };
        let mut made = service(self.service, "x");
        made.spec = spec(["one", "two"][self.choice.index(2)], mode);
        made.spec.ports = self.ports(0);
        made.spec.task.reservations.nano_cpus = self.number.into();
        made.spec.task.reservations.memory_bytes = 1 << self.number;
        made
    }

    fn task(&self, state: &State) -> Task {
        let mut made = task(self.task, self.service, u32::from(self.number) + 1);
        let version = state.service(made.service).map_or(1, |service| service.spec_version);
        made.spec_version = if self.is_stale { 1 } else { version };
        if self.service == 3 {
            made.slot = Slot::Node(node_id(self.node));
            made.node = Some(node_id(self.node));
        }
        made
    }

    fn desired(&self) -> DesiredState {
        use DesiredState::{Ready, Remove, Running, Shutdown};
        *self.choice.get(&[Ready, Running, Shutdown, Remove])
    }

    fn report(&self, state: &State) -> Reported {
        let task = task_id(self.task);
        let node = state.task(task).and_then(|task| task.node).filter(|_| self.number != 0);
        Reported { task, node, status: TaskStatus::new(*self.choice.get(&TaskState::ALL), Moment(7), "seen") }
    }
}

fn versions(state: &State) -> BTreeMap<String, u64> {
    let nodes = state.nodes().map(|it| (format!("n{}", it.id), it.meta.version));
    let services = state.services().map(|it| (format!("s{}", it.id), it.meta.version));
    nodes.chain(services).chain(state.tasks().map(|it| (format!("t{}", it.id), it.meta.version))).collect()
}

/// Through bytes and back.
fn recoded(transaction: &Transaction) -> Transaction {
    codec::decode(&codec::encode(std::slice::from_ref(transaction))).unwrap().remove(0).unwrap()
}

fn frozen_copy(state: &State, frozen: Frozen) -> State {
    let mut rebuild = Rebuild::default();
    let (ticket, index) = (frozen.ticket, frozen.index);
    Head::new(frozen).for_each(|chunk| rebuild.add(chunk).unwrap());
    let mut next = Some(0);
    while let Some(from) = next {
        let (some, then) = state.frozen_tasks(ticket, from, 2).unwrap();
        rebuild.add(tasks(&some)).unwrap();
        next = then;
    }
    rebuild.finish(index)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn indexes_equal_a_recount_and_a_refusal_leaves_no_trace(
        wishes in proptest::collection::vec(proptest::collection::vec(wish(), 1..4), 1..60),
    ) {
        let mut state = State::default();
        for (index, wishes) in (1..).zip(&wishes) {
            let before = (seen(&state), versions(&state));
            let changes = wishes.iter().map(|wish| wish.change(&state)).collect();
            let made = transaction(index, changes);
            prop_assert_eq!(&recoded(&made), &made);
            let mut touched = Touched::default();
            let outcome = state.apply(index, vec![made], &mut touched).remove(0);
            prop_assert_eq!(state.index(), index);
            prop_assert_eq!(seen(&state), counted(&state));
            if outcome.is_err() {
                prop_assert_eq!(&seen(&state), &before.0);
                prop_assert!(touched.is_empty());
            }
            for (object, version) in versions(&state) {
                let was = before.1.get(&object).copied().unwrap_or(0);
                prop_assert!(version == index || version == was, "{object}: {was} to {version}");
            }
        }
    }

    #[test]
    fn frozen_moments_are_read_back_whatever_happens_meanwhile(
        first in proptest::collection::vec(wish(), 1..60),
        then in proptest::collection::vec(wish(), 1..60),
        last in proptest::collection::vec(wish(), 1..30),
    ) {
        let mut state = State::default();
        let mut index = 0;
        let mut play = |state: &mut State, wishes: &[Wish]| for wish in wishes {
            index += 1;
            let change = wish.change(state);
            drop(state.apply(index, vec![transaction(index, vec![change])], &mut Touched::default()));
        };
        play(&mut state, &first);
        let (at_first, first) = (seen(&state), state.freeze());
        play(&mut state, &then);
        let (at_second, second) = (seen(&state), state.freeze());
        play(&mut state, &last);
        prop_assert_eq!(seen(&frozen_copy(&state, first.clone())), at_first);
        drop(state.thaw(first.ticket));
        play(&mut state, &then);
        prop_assert_eq!(seen(&frozen_copy(&state, second.clone())), at_second);
        drop(state.thaw(second.ticket));
        prop_assert!(state.frozen_tasks(second.ticket, 0, 2).is_none());
        prop_assert_eq!(seen(&state), counted(&state));
    }
}
