//! Certificates whose time is over: good for the next one, in the hands of whom the swarm knows by its key, and for nothing else.

use std::time::Duration;

use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use tonic::Code;

use super::client::World;
use crate::ca::{NodeIdentity, renewed_by_itself};
use crate::caller::key_of;
use crate::store::Change;

const SLOW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_node_that_was_off_for_months_gets_its_next_certificate_and_is_back() {
    let world = World::new(SLOW).await;
    let lapsed = world.lapsed(&world.join().await);
    let refused = DispatcherClient::new(world.connect(Some(&lapsed)).await).session(tokio_stream::empty()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("good for nothing but getting the next one"), "{refused}");
    let renewed = world.renew(&lapsed).await.unwrap();
    drop(world.open(&renewed).await);
}

#[tokio::test]
async fn the_answer_may_be_lost_on_the_way() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    for _ in 0..3 {
        world.renew(&member).await.unwrap();
    }
    let first = world.lapsed(&member);
    let second = world.renew(&first).await.unwrap();
    let third = world.renew(&world.lapsed(&second)).await.unwrap();
    let forgotten = world.renew(&first).await.unwrap_err();
    assert!(forgotten.message().contains("its key is not the one that the swarm knows it by"), "{forgotten}");
    world.renew(&world.lapsed(&third)).await.unwrap();
}

#[tokio::test]
async fn another_key_a_removed_node_and_a_manager_that_lapsed_get_nothing() {
    let world = World::new(SLOW).await;
    let (member, other) = (world.join().await, world.join().await);
    let thief = super::client::Member { id: member.id, ..other.clone() };
    let refused = world.renew(&world.lapsed(&thief)).await.unwrap_err();
    assert!(refused.message().contains("its key is not the one"), "{refused}");
    let lapsed = world.lapsed(&world.founder());
    let refused = ControlClient::new(world.connect(Some(&lapsed)).await).get_cluster(pb::Empty {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let gone = world.lapsed(&other);
    let if_version = world.store.read().node(other.id).unwrap().meta.version;
    world.propose(vec![Change::RemoveNode { node: other.id, if_version }]).await;
    let refused = world.renew(&gone).await.unwrap_err();
    assert!(refused.message().contains("was removed from the swarm"), "{refused}");
}

#[tokio::test]
async fn a_manager_whose_own_has_lapsed_makes_itself_one_for_the_same_key() {
    let world = World::new(SLOW).await;
    let good = world.founder.clone();
    assert!(renewed_by_itself(&world.store.read(), &good).unwrap().is_none(), "there is no need");
    let lapsed = NodeIdentity { certificate: world.lapsed(&world.founder()).certificate, ..good.clone() };
    let made = renewed_by_itself(&world.store.read(), &lapsed).unwrap().unwrap();
    assert_eq!((key_of(&made.certificate), &made.key), (key_of(&good.certificate), &good.key));
    world.front.use_identity(&made).unwrap();
    world.join().await;
    let worker = world.join().await;
    let worker = NodeIdentity { node: worker.id, certificate: world.lapsed(&worker).certificate, ..lapsed };
    assert!(renewed_by_itself(&world.store.read(), &worker).unwrap().is_none(), "only managers have the root's key");
}
