//! Which of the nodes that would do is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::{Availability, ServiceName, ServiceSpec, Slot, TaskState};

use crate::fixture::{World, node_id, pending, replicated};
use crate::scheduler::PLACED_MAX;
use crate::store::Change;

fn named(name: &str) -> ServiceSpec {
    ServiceSpec { name: ServiceName::new(name).unwrap(), ..replicated(1) }
}

/// Nodes 1 and 2 in the east, 3 in the west, 4 without a label.
fn zones() -> World {
    let mut world = World::new(4);
    for (node, zone) in [(1, "east"), (2, "east"), (3, "west")] {
        world.edit_node(node, |node| drop(node.spec.labels.insert("zone".to_owned(), zone.to_owned())));
    }
    world
}

fn by_zone() -> ServiceSpec {
    let mut spec = replicated(1);
    spec.task.placement.spread = vec!["node.labels.zone".to_owned()];
    spec
}

#[test]
fn tasks_level_up_by_service_first_and_by_node_second() {
    let mut world = World::new(3);
    let other = world.create(named("other"));
    world.more(other, 4);
    world.force_onto(other, 1);
    let service = world.create(named("web"));
    world.more(service, 2);
    world.schedule();
    assert_eq!(world.counts(service), BTreeMap::from([(2, 1), (3, 1)]), "the busy node is the last choice");
    world.more(service, 4);
    world.schedule();
    assert_eq!(world.counts(service), BTreeMap::from([(1, 2), (2, 2), (3, 2)]), "but the service is spread evenly");
}

#[test]
fn equal_nodes_are_chosen_by_chance() {
    let chosen = |seed| {
        let mut world = World::new(20);
        world.seed = skep_proto::model::Seed::new(seed);
        let service = world.create(replicated(1));
        world.more(service, 1);
        world.schedule().placed[0].node
    };
    let nodes: std::collections::BTreeSet<_> = (0..20).map(chosen).collect();
    assert!(nodes.len() > 5, "{nodes:?}");
    assert_eq!(chosen(3), chosen(3));
}

#[test]
fn preferences_divide_tasks_evenly_over_label_values() {
    let mut world = zones();
    let service = world.create(by_zone());
    world.more(service, 6);
    world.schedule();
    assert_eq!(world.counts(service), BTreeMap::from([(1, 1), (2, 1), (3, 2), (4, 2)]));
}

#[test]
fn tasks_on_nodes_that_take_no_more_count_for_their_branch() {
    let mut world = zones();
    let service = world.create(by_zone());
    world.more(service, 4);
    world.force_onto(service, 1);
    world.set(1, Availability::Pause);
    world.more(service, 4);
    world.schedule();
    assert_eq!(world.counts(service), BTreeMap::from([(1, 4), (3, 2), (4, 2)]));
}

#[test]
fn a_full_branch_leaves_its_share_to_the_others() {
    let mut world = zones();
    world.edit_node(3, |node| node.description.resources.nano_cpus = 1_000_000_000);
    let mut spec = by_zone();
    spec.task.reservations.nano_cpus = 1_000_000_000;
    let service = world.create(spec);
    world.more(service, 7);
    world.schedule();
    assert_eq!(world.counts(service).get(&3), Some(&1));
    assert_eq!(world.counts(service).values().sum::<u32>(), 7);
}

#[test]
fn preferences_nest() {
    let mut world = zones();
    world.edit_node(1, |node| drop(node.spec.labels.insert("rack".to_owned(), "a".to_owned())));
    let mut spec = by_zone();
    spec.task.placement.spread.push("node.labels.rack".to_owned());
    let service = world.create(spec);
    world.more(service, 12);
    world.schedule();
    assert_eq!(world.counts(service), BTreeMap::from([(1, 2), (2, 2), (3, 4), (4, 4)]));
}

#[test]
fn a_replacement_avoids_the_node_where_it_failed_until_that_is_forgotten() {
    for (age, avoided) in [(0, true), (200, true), (240, false)] {
        let mut world = World::new(2);
        let others = world.create(named("others"));
        world.more(others, 3);
        world.force_onto(others, 2);
        let service = world.create(named("web"));
        world.more(service, 1);
        world.schedule();
        let failed = world.state.slot(service, Slot::Replica(1)).next().unwrap();
        assert_eq!(failed.node, Some(node_id(1)), "the emptier node comes first");
        let failed = failed.id;
        world.report(failed, TaskState::Failed);
        world.wait(Duration::from_secs(age));
        let mut next = pending(world.seed.draw(), service, Slot::Replica(1));
        next.replaces = Some(failed);
        world.apply(vec![Change::CreateTask(Box::new(next))]);
        world.schedule();
        assert_eq!(world.counts(service).contains_key(&2), avoided, "after {age} s");
    }
}

#[test]
fn a_pass_is_bounded_and_says_that_more_waits() {
    let mut world = World::new(2);
    let service = world.create(replicated(1));
    world.more(service, 5_000);
    let plan = world.schedule();
    assert_eq!((plan.placed.len(), plan.complete), (PLACED_MAX, false));
    let plan = world.schedule();
    assert_eq!((plan.placed.len(), plan.complete), (5_000 - PLACED_MAX, true));
    assert_eq!(world.counts(service), BTreeMap::from([(1, 2_500), (2, 2_500)]));
}
