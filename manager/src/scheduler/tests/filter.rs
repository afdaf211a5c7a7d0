//! What keeps a task off a node, and the words for it.

use skep_proto::model::{Availability, Constraint, Mode, NodeState, PublishMode, ServiceSpec};

use crate::fixture::{World, port, replicated, spec};

fn cpus(count: u64) -> ServiceSpec {
    let mut spec = replicated(1);
    spec.task.reservations.nano_cpus = count * 1_000_000_000;
    spec
}

fn constrained(key: &str, value: &str) -> ServiceSpec {
    let mut spec = replicated(1);
    spec.task.placement.constraints = vec![Constraint { key: key.to_owned(), equal: true, value: value.to_owned() }];
    spec
}

fn explanation(mut world: World, spec: ServiceSpec) -> String {
    let service = world.create(spec);
    world.more(service, 1);
    let plan = world.schedule();
    assert!(plan.placed.is_empty() && plan.complete);
    plan.waiting.into_iter().next().unwrap().1
}

#[test]
fn an_explanation_counts_the_reasons_and_names_nodes() {
    let mut paused = World::new(1);
    paused.set(1, Availability::Pause);
    let mut full = World::new(1);
    full.edit_node(1, |node| node.description.trouble = "its disk is full".into());
    let mut memory = replicated(1);
    memory.task.reservations.memory_bytes = 9 << 30;
    let mut host = replicated(1);
    host.ports = vec![port(80, 80, PublishMode::Host)];
    host.task.placement.max_replicas_per_node = Some(0);
    let table = [
        (World::new(0), replicated(1), "no suitable node (there is none)"),
        (paused, replicated(1), "no suitable node (1 node not available for new tasks): n1 is paused"),
        (
            full,
            replicated(1),
            "no suitable node (1 node not available for new tasks): n1 can begin none: its disk is full",
        ),
        (
            World::new(2),
            cpus(5),
            "no suitable node (insufficient resources on 2 nodes): n1 has 4 CPUs free, 5 needed; n2 has 4 CPUs free, 5 needed",
        ),
        (
            World::new(1),
            memory,
            "no suitable node (insufficient resources on 1 node): n1 has 8192 MiB free, 9216 needed",
        ),
        (
            World::new(1),
            constrained("node.hostname", "n9"),
            "no suitable node (scheduling constraints not satisfied on 1 node): n1 does not satisfy node.hostname==n9",
        ),
        (World::new(1), host, "no suitable node (max replicas per node limit reached on 1 node): n1 has 0 already"),
    ];
    for (world, spec, expected) in table {
        assert_eq!(explanation(world, spec), expected);
    }
}

#[test]
fn the_biggest_count_comes_first_and_few_nodes_are_named() {
    let mut world = World::new(6);
    world.turn(1, NodeState::Down);
    let mut spec = constrained("node.labels.disk", "ssd");
    spec.task.reservations.nano_cpus = 1;
    let text = explanation(world, spec);
    assert_eq!(
        text,
        "no suitable node (scheduling constraints not satisfied on 5 nodes; 1 node not available for new tasks): n1 is \
         down; n2 does not satisfy node.labels.disk==ssd; n3 does not satisfy node.labels.disk==ssd; 3 more"
    );
}

#[test]
fn nothing_reserved_is_given_twice() {
    let mut world = World::new(2);
    let service = world.create(cpus(3));
    world.more(service, 3);
    let plan = world.schedule();
    assert_eq!((plan.placed.len(), plan.waiting.len()), (2, 1));
    assert!(world.schedule().placed.is_empty());
}

#[test]
fn a_host_port_is_taken_once_a_node_by_all_groups_of_a_pass() {
    let mut world = World::new(2);
    for (name, tasks) in [("a", 1), ("b", 2)] {
        let mut spec = replicated(tasks);
        spec.name = skep_proto::model::ServiceName::new(name).unwrap();
        spec.ports = vec![port(80, 80, PublishMode::Host)];
        let service = world.create(spec);
        world.more(service, tasks);
    }
    let plan = world.schedule();
    assert_eq!((plan.placed.len(), plan.waiting.len()), (2, 1));
    assert!(plan.waiting[0].1.contains("host-mode port already in use on 2 nodes"), "{}", plan.waiting[0].1);
}

#[test]
fn max_replicas_per_node_holds_over_passes() {
    let mut world = World::new(2);
    let mut spec = replicated(5);
    spec.task.placement.max_replicas_per_node = Some(2);
    let service = world.create(spec);
    world.more(service, 3);
    assert_eq!(world.schedule().placed.len(), 3);
    world.more(service, 2);
    assert_eq!(world.schedule().placed.len(), 1);
}

#[test]
fn a_global_task_goes_to_its_node_or_nowhere() {
    let mut world = World::new(3);
    let mut spec = spec(Mode::Global);
    spec.task.reservations.nano_cpus = 3_000_000_000;
    let service = world.create(spec);
    world.edit_node(2, |node| node.description.resources.nano_cpus = 1);
    world.on_each(service, 3);
    let plan = world.schedule();
    assert_eq!(world.counts(service).into_keys().collect::<Vec<_>>(), [1, 3]);
    assert!(plan.waiting[0].1.contains("insufficient resources on 1 node"), "{}", plan.waiting[0].1);
}
