use super::*;
use crate::fixture::{World, node_id, replicated};

#[test]
fn an_id_a_name_and_a_prefix_mean_the_service() {
    let mut world = World::new(1);
    let id = world.create(replicated(1));
    for word in [id.to_string(), "web".into(), "WEB".into(), id.to_string()[..8].to_owned()] {
        assert_eq!(service(&world.state, &word).unwrap().id, id, "{word}");
    }
    assert!(matches!(service(&world.state, "nope"), Err(LookupError::None { .. })));
    assert!(matches!(service(&world.state, ""), Err(LookupError::Empty { .. })));
}

#[test]
fn a_removed_service_means_nothing_any_more() {
    let mut world = World::new(1);
    let id = world.create(replicated(1));
    world.task(id, skep_proto::model::Slot::Replica(1));
    world.remove(id);
    assert!(service(&world.state, "web").is_err());
    assert!(service(&world.state, &id.to_string()).is_err());
}

#[test]
fn hostnames_need_not_be_unique_and_then_are_ambiguous() {
    let mut world = World::new(3);
    assert_eq!(node(&world.state, "n2").unwrap().id, node_id(2));
    world.edit_node(3, |node| node.description.hostname = "N2".into());
    let ambiguous = node(&world.state, "n2").unwrap_err();
    assert!(ambiguous.to_string().contains(&node_id(3).to_string()), "{ambiguous}");
    assert!(matches!(node(&world.state, "0000"), Err(LookupError::Ambiguous { .. })), "all ids begin so");
    assert_eq!(node(&world.state, &node_id(3).to_string()).unwrap().id, node_id(3));
}
