//! What must hold for any cluster and any services.

use proptest::prelude::*;
use skep_proto::model::{Availability, Constraint, PublishMode, ServiceId, ServiceName, ServiceSpec};

use crate::fixture::{World, node_id, port, replicated};

/// What a service asks for.
#[derive(Clone, Debug)]
struct Ask {
    tasks: u32,
    cpus: u64,
    max_per_node: Option<u32>,
    host_port: bool,
    zone: Option<bool>,
    spread: bool,
}

fn ask() -> impl Strategy<Value = Ask> {
    let max = proptest::option::weighted(0.2, 1u32..4);
    let zone = proptest::option::weighted(0.3, any::<bool>());
    (0u32..40, 0u64..3, max, prop::bool::weighted(0.2), zone, any::<bool>()).prop_map(
        |(tasks, cpus, max_per_node, host_port, zone, spread)| Ask {
            tasks,
            cpus,
            max_per_node,
            host_port,
            zone,
            spread,
        },
    )
}

fn spec_of(index: usize, ask: &Ask) -> ServiceSpec {
    let mut spec = replicated(ask.tasks);
    spec.name = ServiceName::new(format!("s{index}")).unwrap();
    spec.task.reservations.nano_cpus = ask.cpus * 1_000_000_000;
    spec.task.placement.max_replicas_per_node = ask.max_per_node;
    let constraint = |equal| Constraint { key: "node.labels.zone".to_owned(), equal, value: "east".to_owned() };
    spec.task.placement.constraints = ask.zone.map(constraint).into_iter().collect();
    if ask.spread {
        spec.task.placement.spread = vec!["node.labels.zone".to_owned()];
    }
    if ask.host_port {
        spec.ports = vec![port(80, 80, PublishMode::Host)];
    }
    spec
}

fn cluster(nodes: &[(u64, bool, Availability)]) -> World {
    let mut world = World::new(u32::try_from(nodes.len()).unwrap());
    for (number, &(cpus, east, availability)) in (1..).zip(nodes) {
        world.edit_node(number, |node| {
            node.description.resources.nano_cpus = cpus * 1_000_000_000;
            node.spec.availability = availability;
            let zone = if east { "east" } else { "west" };
            node.spec.labels.insert("zone".to_owned(), zone.to_owned());
        });
    }
    world
}

fn nodes() -> impl Strategy<Value = Vec<(u64, bool, Availability)>> {
    let availability = prop_oneof![4 => Just(Availability::Active), 1 => Just(Availability::Pause)];
    prop::collection::vec((0u64..20, any::<bool>(), availability), 0..8)
}

fn invariant_node_is_not_overcommitted(world: &World, number: u32) {
    let (node, usage) = (world.state.node(node_id(number)).unwrap(), world.state.usage(node_id(number)));
    assert!(usage.nano_cpus <= node.description.resources.nano_cpus);
    assert!(usage.host_ports.values().all(|count| *count == 1));
    assert!(usage.active == 0 || node.takes_tasks());
}

fn invariant_service_is_where_it_may_be(world: &World, service: ServiceId) {
    let placement = &world.service(service).spec.task.placement;
    for (number, count) in world.counts(service) {
        assert!(placement.allows(world.state.node(node_id(number)).unwrap()));
        assert!(placement.max_replicas_per_node.is_none_or(|max| count <= max));
    }
}

proptest! {
    #[test]
    fn what_is_placed_fits_and_what_is_not_is_explained(nodes in nodes(), asks in prop::collection::vec(ask(), 1..6)) {
        let mut world = cluster(&nodes);
        for (index, ask) in asks.iter().enumerate() {
            let service = world.create(spec_of(index, ask));
            world.more(service, ask.tasks);
        }
        let plan = world.schedule();
        for number in 1..=u32::try_from(nodes.len()).unwrap() {
            invariant_node_is_not_overcommitted(&world, number);
        }
        for service in world.state.services().map(|service| service.id).collect::<Vec<_>>() {
            invariant_service_is_where_it_may_be(&world, service);
        }
        let left: Vec<_> = world.state.unassigned().map(|(group, _)| group).collect();
        prop_assert_eq!(plan.waiting.iter().map(|(group, _)| *group).collect::<Vec<_>>(), left);
        prop_assert!(plan.waiting.iter().all(|(_, why)| why.starts_with("no suitable node (")));
    }

    #[test]
    fn a_second_pass_finds_nothing_that_the_first_could_have_placed(nodes in nodes(), asks in prop::collection::vec(ask(), 1..6)) {
        let mut world = cluster(&nodes);
        for (index, ask) in asks.iter().enumerate() {
            let service = world.create(spec_of(index, ask));
            world.more(service, ask.tasks);
        }
        let first = world.schedule();
        let second = world.schedule();
        prop_assert!(second.placed.is_empty());
        prop_assert_eq!(first.waiting.len(), second.waiting.len());
    }

    #[test]
    fn without_limits_no_node_has_two_tasks_more_than_another(count in 1u32..9, rounds in prop::collection::vec(1u32..30, 1..5)) {
        let mut world = World::new(count);
        let service = world.create(replicated(1));
        for round in rounds {
            world.more(service, round);
            world.schedule();
        }
        let counts = world.counts(service);
        let least = if counts.len() < usize::try_from(count).unwrap() { 0 } else { *counts.values().min().unwrap() };
        prop_assert!(*counts.values().max().unwrap() <= least + 1);
    }
}
