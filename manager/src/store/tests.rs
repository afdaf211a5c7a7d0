//! The rules of `apply` as tables, and what must hold after anything at all.

mod anything;

use skep_proto::model::{
    Cluster, ClusterId, ClusterSpec, DesiredState, Era, Grant, GrantError, Meta, Mode, Moment, Node, NodeRole,
    NodeSpec, NodeState, PublishMode, ServiceSpec, Slot, Task, TaskState, TaskStatus, TokenText, UpdateStatus,
};

use super::fixture::{create, node, node_id, port, service, service_id, spec, status, task, task_id, transaction};
use super::{Change, Placed, Refusal, Reported, State, Touched};

/// A state and the index of its last entry.
#[derive(Default)]
struct Play {
    state: State,
    index: u64,
}

impl Play {
    fn try_with(&mut self, changes: Vec<Change>) -> (Result<u64, Refusal>, Touched) {
        self.index += 1;
        let mut touched = Touched::default();
        let mut outcomes = self.state.apply(self.index, vec![transaction(self.index * 10, changes)], &mut touched);
        (outcomes.remove(0), touched)
    }

    fn with(&mut self, changes: Vec<Change>) -> Touched {
        let (outcome, touched) = self.try_with(changes);
        outcome.unwrap();
        touched
    }

    fn refused(&mut self, changes: Vec<Change>) -> Refusal {
        let (outcome, touched) = self.try_with(changes);
        assert!(touched.is_empty(), "a refused transaction concerns nobody");
        outcome.unwrap_err()
    }

    fn version(&self, task: u128) -> u64 {
        self.state.task(task_id(task)).unwrap().meta.version
    }

    fn service_version(&self, service: u128) -> u64 {
        self.state.service(service_id(service)).unwrap().meta.version
    }

    fn task_state(&self, task: u128) -> TaskState {
        self.state.task(task_id(task)).unwrap().status.state
    }

    fn desire(&self, task: u128, desired: DesiredState) -> Change {
        Change::SetDesired { task: task_id(task), if_version: self.version(task), desired }
    }

    fn forget(&self, task: u128) -> Change {
        Change::RemoveTask { task: task_id(task), if_version: self.version(task) }
    }

    fn place(&self, task: u128, node: u128) -> Change {
        Change::Assign(vec![Placed { task: task_id(task), if_version: self.version(task), node: node_id(node) }])
    }

    /// Two nodes, one service with two tasks, the first of them running on the first node.
    fn begun() -> Self {
        let mut play = Self::default();
        let nodes = [1, 2].map(|number| Change::PutNode(Box::new(node(number))));
        play.with(nodes.into());
        play.with(vec![create(service(1, "web"))]);
        let tasks = [1, 2].map(|number| Change::CreateTask(Box::new(task(number, 1, u32::try_from(number).unwrap()))));
        play.with(tasks.into());
        play.with(vec![play.place(1, 1)]);
        play.with(vec![report(1, Some(1), TaskState::Running)]);
        play
    }
}

fn report(task: u128, node: Option<u128>, state: TaskState) -> Change {
    let status = TaskStatus::new(state, Moment(1), "seen");
    Change::Report(vec![Reported { task: task_id(task), node: node.map(node_id), status }])
}

fn update(play: &Play, change: impl FnOnce(&mut ServiceSpec)) -> Change {
    let service = play.state.service(service_id(1)).unwrap();
    let mut spec = service.spec.clone();
    change(&mut spec);
    Change::UpdateService { service: service.id, if_version: service.meta.version, spec: Box::new(spec) }
}

#[test]
fn a_change_from_an_older_version_is_refused() {
    let mut play = Play::begun();
    let node_status = Change::SetNodeStatus { node: node_id(1), status: status(NodeState::Down), description: None };
    let stale = [
        Change::RemoveNode { node: node_id(1), if_version: 99 },
        Change::SetNodeSpec { node: node_id(1), if_version: 0, spec: node(1).spec },
        Change::PutNode(Box::new(Node { meta: Meta { version: 7, ..Meta::default() }, ..node(1) })),
        Change::RemoveService { service: service_id(1), if_version: 1 },
        Change::SetUpdateStatus { service: service_id(1), if_version: 1, status: None },
        Change::SetServicePorts { service: service_id(1), if_version: 1, ports: vec![] },
        Change::SetDesired { task: task_id(1), if_version: 3, desired: DesiredState::Shutdown },
        Change::RemoveTask { task: task_id(1), if_version: 3 },
        Change::CreateTask(Box::new(Task { spec_version: 9, ..task(9, 1, 9) })),
    ];
    for change in stale {
        let refusal = play.refused(vec![node_status.clone(), change.clone()]);
        assert!(matches!(refusal, Refusal::Stale { .. }), "{change:?}: {refusal:?}");
    }
    assert_eq!(play.state.node(node_id(1)).unwrap().status.state, NodeState::Ready, "the change before was undone");
}

#[test]
fn what_is_not_there_or_already_there_is_refused() {
    let mut play = Play::begun();
    let cases = [
        (Change::RemoveNode { node: node_id(9), if_version: 1 }, Refusal::NoNode(node_id(9))),
        (Change::RemoveService { service: service_id(9), if_version: 1 }, Refusal::NoService(service_id(9))),
        (Change::RemoveTask { task: task_id(9), if_version: 1 }, Refusal::NoTask(task_id(9))),
        (Change::PutNode(Box::new(node(1))), Refusal::Exists(format!("node {}", node_id(1)))),
        (Change::CreateTask(Box::new(task(1, 1, 1))), Refusal::Exists(format!("task {}", task_id(1)))),
        (Change::CreateTask(Box::new(task(9, 9, 1))), Refusal::NoService(service_id(9))),
        (Change::CreateTask(Box::new(Task { node: Some(node_id(9)), ..task(9, 1, 1) })), Refusal::NoNode(node_id(9))),
        (create(service(2, "WEB")), Refusal::NameTaken { name: "WEB".into(), by: service_id(1) }),
    ];
    for (change, refusal) in cases {
        assert_eq!(play.refused(vec![change]), refusal);
    }
}

fn cluster(version: u64) -> Cluster {
    Cluster {
        id: ClusterId::new(1),
        meta: Meta { version, ..Meta::default() },
        spec: ClusterSpec::default(),
        root_certificate: String::new(),
        root_key: String::new(),
        worker_token: String::new(),
        manager_token: String::new(),
        grants: Vec::new(),
        rotation: None,
        lock: skep_proto::model::Autolock::default(),
        era: Era::default(),
        former_managers: Vec::new(),
    }
}

#[test]
fn the_cluster_is_made_once_and_then_replaced_in_sequence() {
    let mut play = Play::default();
    assert!(matches!(play.refused(vec![Change::PutCluster(Box::new(cluster(1)))]), Refusal::Cluster(_)));
    assert!(play.with(vec![Change::PutCluster(Box::new(cluster(0)))]).cluster);
    assert!(matches!(play.refused(vec![Change::PutCluster(Box::new(cluster(0)))]), Refusal::Cluster(_)));
    assert!(matches!(play.refused(vec![Change::PutCluster(Box::new(cluster(1)))]), Refusal::Stale { .. }));
    play.with(vec![Change::PutCluster(Box::new(cluster(2)))]);
    let meta = play.state.cluster().unwrap().meta;
    assert_eq!((meta.version, meta.created_at, meta.updated_at), (5, Moment(20), Moment(50)));
}

#[test]
fn a_join_counts_and_a_refused_node_counts_nothing() {
    let mut play = Play::default();
    let grant = |token: &str, uses| Grant {
        token: token.into(),
        role: NodeRole::Worker,
        expires_at: Some(Moment(90)),
        uses,
        used: 0,
        is_rotated: false,
    };
    let cluster = Cluster {
        worker_token: "standing".into(),
        grants: vec![grant("two", Some(2)), grant("timed", None)],
        ..cluster(0)
    };
    play.with(vec![Change::PutCluster(Box::new(cluster))]);
    let join = |token: &str, id| vec![Change::UseToken(TokenText(token.into())), Change::PutNode(Box::new(node(id)))];
    play.with(join("two", 1));
    assert!(matches!(play.refused(join("two", 1)), Refusal::Exists(_)));
    assert_eq!(play.state.cluster().unwrap().grants[0].used, 1, "the node was not made, so nobody has joined");
    play.with(join("two", 2));
    let spent = GrantError::UsedUp { role: NodeRole::Worker, uses: 2 };
    assert_eq!(play.refused(join("two", 3)), Refusal::Token(spent));
    let version = play.state.cluster().unwrap().meta.version;
    play.with(join("timed", 3));
    play.with(join("standing", 4));
    assert_eq!(play.state.cluster().unwrap().meta.version, version, "what is not counted is not written");
    assert_eq!(play.refused(join("other", 5)), Refusal::NoToken);
    assert!(matches!(play.refused(join("timed", 5)), Refusal::Token(GrantError::Expired { .. })));
}

#[test]
fn name_and_mode_of_a_service_stay() {
    let mut play = Play::begun();
    let renamed = update(&play, |it| it.name = skep_proto::model::ServiceName::new("other").unwrap());
    let global = update(&play, |it| it.mode = Mode::Global);
    for (change, field) in [(renamed, "name"), (global, "mode")] {
        assert_eq!(play.refused(vec![change]), Refusal::Immutable { name: "web".into(), field });
    }
}

#[test]
fn the_last_node_that_is_to_be_a_manager_stays_one() {
    let mut play = Play::default();
    let manager = |number| Node { spec: NodeSpec { role: NodeRole::Manager, ..node(number).spec }, ..node(number) };
    play.with([1, 2].map(|number| Change::PutNode(Box::new(manager(number)))).into());
    let demote = |play: &Play, number| {
        let if_version = play.state.node(node_id(number)).unwrap().meta.version;
        Change::SetNodeSpec { node: node_id(number), if_version, spec: node(number).spec }
    };
    play.with(vec![demote(&play, 1)]);
    assert_eq!(play.refused(vec![demote(&play, 2)]), Refusal::LastManager(node_id(2)));
    assert_eq!(play.state.node(node_id(2)).unwrap().spec.role, NodeRole::Manager);
}

#[test]
fn an_ingress_port_is_given_out_once() {
    let mut play = Play::begun();
    play.with(vec![update(&play, |it| it.ports = vec![port(80, 8080, PublishMode::Ingress)])]);
    let mut other = service(2, "other");
    other.spec.ports = vec![port(90, 8080, PublishMode::Ingress)];
    let taken = Refusal::PortTaken { port: 8080, protocol: skep_proto::model::Protocol::Tcp, by: "web".into() };
    assert_eq!(play.refused(vec![create(other.clone())]), taken);
    other.spec.ports = vec![port(90, 8080, PublishMode::Host)];
    assert_eq!(play.refused(vec![create(other.clone())]), taken);
    other.spec.ports = vec![port(90, 8081, PublishMode::Host), port(91, 0, PublishMode::Ingress)];
    play.with(vec![create(other.clone())]);
    assert!(!play.state.service(service_id(2)).unwrap().ports_allocated());
    let choose = |ports, if_version| Change::SetServicePorts { service: service_id(2), if_version, ports };
    let ports = |chosen| vec![port(90, 8081, PublishMode::Host), port(91, chosen, PublishMode::Ingress)];
    assert_eq!(play.refused(vec![choose(ports(8080), play.service_version(2))]), taken);
    play.with(vec![choose(ports(30_000), play.service_version(2))]);
    assert_eq!(play.state.service(service_id(2)).unwrap().current().ports, ports(30_000));
    assert_eq!(play.state.published_by(skep_proto::model::Protocol::Tcp, 30_000), Some(service_id(2)));
}

#[test]
fn a_port_that_tasks_take_on_their_nodes_is_not_given_to_the_whole_cluster() {
    let mut play = Play::begun();
    let (tcp, host) = (skep_proto::model::Protocol::Tcp, port(90, 8080, PublishMode::Host));
    for number in [2, 3] {
        let mut other = service(number, &format!("other{number}"));
        other.spec.ports = vec![host];
        play.with(vec![create(other)]);
    }
    assert_eq!(play.state.port_taken_by(tcp, 8080, service_id(2)), Some(service_id(3)));
    let ingress = update(&play, |it| it.ports = vec![port(80, 8080, PublishMode::Ingress)]);
    assert_eq!(play.refused(vec![ingress]), Refusal::PortTaken { port: 8080, protocol: tcp, by: "other2".into() });
    for number in [2, 3] {
        let (service, if_version) = (service_id(number), play.service_version(number));
        play.with(vec![Change::RemoveService { service, if_version }]);
    }
    assert_eq!(play.state.port_taken_by(tcp, 8080, service_id(1)), None);
    play.with(vec![update(&play, |it| it.ports = vec![port(80, 8080, PublishMode::Ingress)])]);
}

#[test]
fn a_removed_service_frees_its_name_and_ports_and_goes_with_its_last_task() {
    let mut play = Play::begun();
    play.with(vec![update(&play, |it| it.ports = vec![port(80, 8080, PublishMode::Ingress)])]);
    play.with(vec![Change::RemoveService { service: service_id(1), if_version: play.service_version(1) }]);
    assert!(play.state.service(service_id(1)).unwrap().removing);
    let mut again = service(2, "web");
    again.spec.ports = vec![port(80, 8080, PublishMode::Ingress)];
    play.with(vec![create(again)]);
    assert_eq!(play.state.service_by_name("Web").unwrap().id, service_id(2));
    assert_eq!(play.refused(vec![Change::CreateTask(Box::new(task(5, 1, 5)))]), Refusal::NoService(service_id(1)));
    play.with(vec![play.forget(1)]);
    assert!(play.state.service(service_id(1)).is_some());
    play.with(vec![play.forget(2)]);
    assert!(play.state.service(service_id(1)).is_none());
}

#[test]
fn a_revision_stays_while_a_task_runs_it() {
    let mut play = Play::begun();
    let status = UpdateStatus { completed: true, started_at: Moment(1), completed_at: None, message: "done".into() };
    let if_version = play.service_version(1);
    play.with(vec![Change::SetUpdateStatus { service: service_id(1), if_version, status: Some(status) }]);
    play.with(vec![update(&play, |it| it.task.force_update = 1)]);
    play.with(vec![update(&play, |it| it.task.force_update = 2)]);
    let versions =
        |play: &Play| -> Vec<u64> { play.state.service(service_id(1)).unwrap().revisions.keys().copied().collect() };
    assert_eq!(versions(&play), [1, 3], "nothing ever ran revision 2");
    assert_eq!(play.state.service(service_id(1)).unwrap().update_status, None);
    play.with(vec![play.forget(1)]);
    assert_eq!(versions(&play), [1, 3]);
    play.with(vec![play.forget(2)]);
    assert_eq!(versions(&play), [3]);
}

#[test]
fn a_removed_node_orphans_what_had_not_ended() {
    let mut play = Play::begun();
    play.with(vec![play.place(2, 1)]);
    play.with(vec![report(2, Some(1), TaskState::Complete)]);
    let made_for_it = Task { node: Some(node_id(1)), slot: Slot::Node(node_id(1)), ..task(3, 1, 1) };
    play.with(vec![Change::CreateTask(Box::new(made_for_it))]);
    let if_version = play.state.node(node_id(1)).unwrap().meta.version;
    let touched = play.with(vec![Change::RemoveNode { node: node_id(1), if_version }]);
    assert!(touched.services.contains(&service_id(1)) && touched.nodes.contains(&node_id(1)));
    let states = [1, 2, 3].map(|number| play.task_state(number));
    assert_eq!(states, [TaskState::Orphaned, TaskState::Complete, TaskState::Orphaned]);
    assert_eq!((play.state.tasks_on(node_id(1)).count(), play.state.unassigned().count()), (0, 0));
    assert_eq!(play.state.usage(node_id(1)).active, 0);
}

#[test]
fn desired_only_grows() {
    let mut play = Play::begun();
    play.with(vec![play.desire(1, DesiredState::Shutdown)]);
    let version = play.version(1);
    play.with(vec![play.desire(1, DesiredState::Shutdown)]);
    assert_eq!(play.version(1), version, "the same again is no change");
    assert_eq!(play.refused(vec![play.desire(1, DesiredState::Running)]), Refusal::Backward(task_id(1)));
}

/// Makes a placement stale in one way.
type Prepare = fn(&mut Play) -> Change;

#[test]
fn a_stale_placement_is_passed_over_and_what_still_waits_is_looked_at_again() {
    let cases: [(&str, bool, Prepare); 5] = [
        ("another version", true, |_| {
            Change::Assign(vec![Placed { task: task_id(2), if_version: 1, node: node_id(2) }])
        }),
        ("no such node", true, |play| play.place(2, 9)),
        ("a node that is down", true, |play| {
            let down = Change::SetNodeStatus { node: node_id(2), status: status(NodeState::Down), description: None };
            play.with(vec![down]);
            play.place(2, 2)
        }),
        ("no longer wanted", false, |play| {
            play.with(vec![play.desire(2, DesiredState::Remove)]);
            play.place(2, 2)
        }),
        ("ended", false, |play| {
            play.with(vec![report(2, None, TaskState::Shutdown)]);
            play.place(2, 2)
        }),
    ];
    for (why, scheduling, prepare) in cases {
        let mut play = Play::begun();
        let change = prepare(&mut play);
        assert_eq!(play.with(vec![change]), Touched { scheduling, ..Touched::default() }, "{why}");
        assert_eq!(play.state.task(task_id(2)).unwrap().node, None, "{why}");
    }
}

#[test]
fn observed_states_only_grow_and_only_the_own_node_says_them() {
    let cases = [
        (1, Some(1), TaskState::Failed, true),
        (1, Some(1), TaskState::Running, false),
        (1, Some(1), TaskState::Starting, false),
        (1, Some(2), TaskState::Failed, false),
        (1, None, TaskState::Orphaned, true),
        (2, None, TaskState::Shutdown, true),
        (2, None, TaskState::Running, false),
        (2, Some(1), TaskState::Failed, false),
        (9, None, TaskState::Shutdown, false),
    ];
    for (number, node, state, taken) in cases {
        let mut play = Play::begun();
        let same = TaskStatus { applied_at: Moment(0), ..TaskStatus::new(TaskState::Running, Moment(1), "seen") };
        let mut touched = play.with(vec![report(number, node, state)]);
        assert_eq!(!touched.is_empty(), taken, "{number} {node:?} {state:?}");
        let again = Reported { task: task_id(1), node: Some(node_id(1)), status: same };
        touched = Play::begun().with(vec![Change::Report(vec![again])]);
        assert!(touched.is_empty(), "the same report again writes nothing");
    }
}

#[test]
fn only_those_concerned_are_touched() {
    let mut play = Play::begun();
    let touched = play.with(vec![report(1, Some(1), TaskState::Failed)]);
    assert_eq!(
        (touched.assignments.len(), touched.scheduling),
        (0, true),
        "the agent knows; another task waits for room"
    );
    let touched = play.with(vec![play.place(2, 1)]);
    assert_eq!((touched.assignments.contains(&node_id(1)), touched.scheduling), (true, false));
    let touched = play.with(vec![report(2, Some(1), TaskState::Running)]);
    assert_eq!((touched.assignments.len(), touched.services.len(), touched.scheduling), (0, 1, false));
    let touched = play.with(vec![report(2, None, TaskState::Rejected)]);
    assert!(touched.assignments.contains(&node_id(1)), "the agent must be told what was decided over its head");
    assert!(!touched.scheduling, "nobody waits for the room");
}

#[test]
fn a_node_change_touches_its_services_only_if_a_decision_may_differ() {
    let mut play = Play::begun();
    let mut everywhere = service(2, "everywhere");
    everywhere.spec = spec("everywhere", Mode::Global);
    play.with(vec![create(everywhere)]);
    let moved = skep_proto::model::NodeStatus { address: "10.0.0.1:7".into(), ..status(NodeState::Ready) };
    let set = |status| Change::SetNodeStatus { node: node_id(1), status, description: None };
    let touched = play.with(vec![set(moved.clone())]);
    assert_eq!((touched.nodes.len(), touched.services.len(), touched.scheduling), (1, 0, false));
    assert!(play.with(vec![set(moved)]).is_empty(), "nothing new");
    let touched = play.with(vec![set(status(NodeState::Down))]);
    assert_eq!((touched.services.len(), touched.scheduling), (2, false));
    let touched = play.with(vec![set(status(NodeState::Ready))]);
    assert_eq!((touched.services.len(), touched.scheduling), (2, true), "a task waits and there is room again");
}

#[test]
fn a_node_keeps_the_moment_since_which_it_is_what_it_is() {
    let mut play = Play::begun();
    let set = |status| Change::SetNodeStatus { node: node_id(1), status, description: None };
    play.with(vec![set(status(NodeState::Down))]);
    let since = play.state.node(node_id(1)).unwrap().status.since;
    assert!(since > Moment(0));
    let words = skep_proto::model::NodeStatus { message: "still".into(), ..status(NodeState::Down) };
    play.with(vec![set(words)]);
    let is = play.state.node(node_id(1)).unwrap().status.clone();
    assert_eq!((is.since, is.message.as_str()), (since, "still"));
    play.with(vec![set(status(NodeState::Ready))]);
    assert!(play.state.node(node_id(1)).unwrap().status.since > since);
}

#[test]
fn slots_list_their_tasks_oldest_first() {
    let mut play = Play::begun();
    play.with(vec![Change::CreateTask(Box::new(task(7, 1, 1))), Change::CreateTask(Box::new(task(4, 1, 1)))]);
    let of_slot = |play: &Play| -> Vec<u128> {
        play.state.slot(service_id(1), Slot::Replica(1)).map(|task| task.id.bits()).collect()
    };
    assert_eq!(of_slot(&play), [1, 4, 7], "of one moment, by id");
    play.with(vec![play.forget(4)]);
    assert_eq!(of_slot(&play), [1, 7]);
    let slots: Vec<_> = play.state.slots(service_id(1)).map(|(slot, tasks)| (slot, tasks.len())).collect();
    assert_eq!(slots, [(Slot::Replica(1), 2), (Slot::Replica(2), 1)]);
}

#[test]
fn a_node_reserves_for_tasks_that_have_not_ended() {
    let mut play = Play::begun();
    play.with(vec![update(&play, |it| {
        it.task.reservations.nano_cpus = 5;
        it.ports = vec![port(80, 8080, PublishMode::Host)];
    })]);
    play.with(vec![Change::CreateTask(Box::new(Task { spec_version: 2, ..task(3, 1, 3) }))]);
    play.with(vec![play.place(3, 1)]);
    let usage = play.state.usage(node_id(1)).clone();
    assert_eq!((usage.nano_cpus, usage.active, usage.by_service[&service_id(1)], usage.host_ports.len()), (5, 2, 2, 1));
    play.with(vec![play.desire(3, DesiredState::Shutdown)]);
    let usage = play.state.usage(node_id(1)).clone();
    assert_eq!((usage.nano_cpus, usage.active, usage.host_ports.len()), (5, 1, 1), "until it has stopped");
    play.with(vec![report(3, Some(1), TaskState::Shutdown)]);
    let usage = play.state.usage(node_id(1)).clone();
    assert_eq!((usage.nano_cpus, usage.active, usage.host_ports.len()), (0, 1, 0));
}
