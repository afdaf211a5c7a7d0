//! A small cluster for the tests of the planners: a state that is changed only by applying transactions, agents that do at
//! once what they are told, and a placement that is good enough where the scheduler is not what is tested.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::{
    Availability, Cluster, ClusterId, ClusterSpec, DesiredState, Meta, Mode, Moment, Node, NodeDescription, NodeId,
    NodeRole, NodeSpec, NodeState, NodeStatus, Platform, PortConfig, Protocol, PublishMode, Resources, Seed, Service,
    ServiceId, ServiceName, ServiceSpec, Slot, Task, TaskId, TaskSpec, TaskState, TaskStatus, UpdateConfig,
};

use crate::store::{Change, Placed, Reported, State, Touched, Transaction};

/// A cluster in a test.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Moment,
    pub(crate) seed: Seed,
}

/// A spec of so many replicas that asks for nothing.
pub(crate) fn replicated(replicas: u32) -> ServiceSpec {
    spec(Mode::Replicated { replicas })
}

/// A spec of that mode that asks for nothing.
pub(crate) fn spec(mode: Mode) -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::new("web").unwrap(),
        labels: BTreeMap::new(),
        task: TaskSpec::default(),
        mode,
        ports: Vec::new(),
        update: UpdateConfig::default(),
    }
}

/// A published TCP port.
pub(crate) fn port(target: u16, published: u16, mode: PublishMode) -> PortConfig {
    PortConfig { protocol: Protocol::Tcp, target, published, mode }
}

impl World {
    /// A cluster of that many ready nodes, with ids from 1 and hostnames `n1` and so on.
    pub(crate) fn new(nodes: u32) -> Self {
        let mut world = Self { state: State::default(), now: Moment(1_000_000_000), seed: Seed::new(1) };
        world.apply((1..=nodes).map(|number| Change::PutNode(Box::new(node(number)))).collect());
        world
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    pub(crate) fn seed(&mut self) -> Seed {
        Seed::new(self.seed.draw())
    }

    /// Applies changes as one transaction, which must be accepted.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        self.commit(&[Transaction { changes, at: self.now }]);
    }

    /// Applies transactions, which must all be accepted.
    pub(crate) fn commit(&mut self, transactions: &[Transaction]) {
        let index = self.state.index() + 1;
        for outcome in self.state.apply(index, transactions, &mut Touched::default()) {
            outcome.unwrap();
        }
    }

    pub(crate) fn history(&mut self, task_history_limit: i32) {
        let spec = ClusterSpec { task_history_limit, ..ClusterSpec::default() };
        let [root_certificate, root_key, worker_token, manager_token] = [const { String::new() }; 4];
        let (id, meta) = (ClusterId::new(1), Meta::default());
        let cluster = Cluster { id, meta, spec, root_certificate, root_key, worker_token, manager_token };
        self.apply(vec![Change::PutCluster(Box::new(cluster))]);
    }

    pub(crate) fn create(&mut self, spec: ServiceSpec) -> ServiceId {
        let id = ServiceId::new(self.seed.draw());
        let service = Service {
            id,
            meta: Meta::default(),
            spec,
            spec_version: 1,
            previous_spec: None,
            ports: Vec::new(),
            revisions: BTreeMap::new(),
            removing: false,
            update_status: None,
        };
        self.apply(vec![Change::CreateService(Box::new(service))]);
        id
    }

    pub(crate) fn update(&mut self, id: ServiceId, edit: impl FnOnce(&mut ServiceSpec)) {
        let service = self.service(id);
        let (if_version, mut spec) = (service.meta.version, service.spec.clone());
        edit(&mut spec);
        self.apply(vec![Change::UpdateService { service: id, if_version, spec: Box::new(spec) }]);
    }

    pub(crate) fn remove(&mut self, service: ServiceId) {
        let if_version = self.service(service).meta.version;
        self.apply(vec![Change::RemoveService { service, if_version }]);
    }

    pub(crate) fn service(&self, id: ServiceId) -> &Service {
        self.state.service(id).unwrap()
    }

    pub(crate) fn edit_node(&mut self, number: u32, edit: impl FnOnce(&mut Node)) {
        let mut node = Node::clone(self.state.node(node_id(number)).unwrap());
        edit(&mut node);
        self.apply(vec![Change::PutNode(Box::new(node))]);
    }

    pub(crate) fn remove_node(&mut self, number: u32) {
        let node = node_id(number);
        let if_version = self.state.node(node).unwrap().meta.version;
        self.apply(vec![Change::RemoveNode { node, if_version }]);
    }

    /// Sets what the user wants of a node.
    pub(crate) fn set(&mut self, number: u32, availability: Availability) {
        self.edit_node(number, |node| node.spec.availability = availability);
    }

    /// Sets whether a node answers.
    pub(crate) fn turn(&mut self, number: u32, state: NodeState) {
        self.edit_node(number, |node| node.status.state = state);
    }

    /// Places what waits, each on the node with the fewest tasks.
    pub(crate) fn place(&mut self) -> bool {
        let waiting: Vec<TaskId> = self.state.unassigned().flat_map(|(_, tasks)| tasks.iter().copied()).collect();
        let before = self.state.index();
        for id in waiting {
            let task = self.state.task(id).unwrap();
            let fits = |node: &&std::sync::Arc<Node>| {
                node.takes_tasks() && task.node.is_none_or(|at| at == node.id) && self.allows(task, node)
            };
            let best = self.state.nodes().filter(fits).min_by_key(|node| self.state.usage(node.id).active);
            if let Some(node) = best.map(|node| node.id) {
                self.apply(vec![Change::Assign(vec![Placed { task: id, if_version: task.meta.version, node }])]);
            }
        }
        before != self.state.index()
    }

    fn allows(&self, task: &Task, node: &Node) -> bool {
        self.service(task.service).revisions[&task.spec_version].task.placement.allows(node)
    }

    /// Agents of nodes that are not down do what they are told.
    pub(crate) fn agents(&mut self) -> bool {
        let reports: Vec<Reported> = self.state.tasks().filter_map(|task| self.answer(task)).collect();
        let acts = !reports.is_empty();
        self.apply(vec![Change::Report(reports)]);
        acts
    }

    fn answer(&self, task: &Task) -> Option<Reported> {
        let node =
            task.node.and_then(|node| self.state.node(node)).filter(|node| node.status.state != NodeState::Down)?;
        let state = match task.desired {
            DesiredState::Running if task.status.state < TaskState::Running => TaskState::Running,
            DesiredState::Shutdown | DesiredState::Remove => TaskState::Shutdown,
            _ => return None,
        };
        let status = TaskStatus::new(state, self.now, "told");
        task.holds_resources().then_some(Reported { task: task.id, node: Some(node.id), status })
    }

    /// An agent says something of a task.
    pub(crate) fn report(&mut self, task: TaskId, state: TaskState) {
        let node = self.state.task(task).unwrap().node;
        let status = TaskStatus::new(state, self.now, "reported");
        self.apply(vec![Change::Report(vec![Reported { task, node, status }])]);
    }

    /// Tasks of a service that run.
    pub(crate) fn running(&self, service: ServiceId) -> Vec<&Task> {
        self.state.tasks().filter(|task| task.service == service && task.status.state == TaskState::Running).collect()
    }

    /// Slot numbers of a service in which a task is live.
    pub(crate) fn live_slots(&self, service: ServiceId) -> Vec<u32> {
        let live = self.state.slots(service).filter(|(_, tasks)| tasks.iter().any(|task| task.is_live()));
        live.map(|(slot, _)| match slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        })
        .collect()
    }
}

/// The id of a node of [`World::new`].
pub(crate) fn node_id(number: u32) -> NodeId {
    NodeId::new(u128::from(number))
}

fn node(number: u32) -> Node {
    let resources = Resources { nano_cpus: 4_000_000_000, memory_bytes: 8 << 30, pids: 0 };
    Node {
        id: node_id(number),
        meta: Meta::default(),
        spec: NodeSpec { labels: BTreeMap::new(), availability: Availability::Active, role: NodeRole::Worker },
        description: NodeDescription {
            hostname: format!("n{number}"),
            platform: Platform { os: "linux".to_owned(), architecture: "x86_64".to_owned() },
            resources,
            engine_version: String::new(),
            engine_labels: BTreeMap::new(),
        },
        status: NodeStatus { state: NodeState::Ready, message: String::new(), address: String::new() },
        role: NodeRole::Worker,
        manager: None,
        certificate: String::new(),
    }
}

/// For components that look at tasks and do not make them.
impl World {
    /// A task of the service's current spec, desired to run, not placed yet.
    pub(crate) fn task(&mut self, service: ServiceId, slot: Slot) -> TaskId {
        let id = TaskId::new(self.seed.draw());
        let task = Task {
            id,
            meta: Meta::default(),
            service,
            slot,
            spec_version: self.service(service).spec_version,
            node: match slot {
                Slot::Replica(_) => None,
                Slot::Node(node) => Some(node),
            },
            desired: DesiredState::Running,
            status: TaskStatus::new(TaskState::Pending, self.now, "made"),
            start_after: None,
            replaces: None,
            restarts: Vec::new(),
        };
        self.apply(vec![Change::CreateTask(Box::new(task))]);
        id
    }

    /// Changes what is wanted of a task.
    pub(crate) fn desire(&mut self, task: TaskId, desired: DesiredState) {
        let if_version = self.state.task(task).unwrap().meta.version;
        self.apply(vec![Change::SetDesired { task, if_version, desired }]);
    }

    /// Forgets a task.
    pub(crate) fn remove_task(&mut self, task: TaskId) {
        let if_version = self.state.task(task).unwrap().meta.version;
        self.apply(vec![Change::RemoveTask { task, if_version }]);
    }
}
