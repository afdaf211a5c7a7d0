//! The unlock key: who gets it, and how it changes.

use std::time::Duration;

use skep_proto::model::{NodeRole, UnlockKey};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::control_client::ControlClient;
use tonic::Code;
use tonic::transport::Channel;

use super::client::{World, request};

const SLOW: Duration = Duration::from_secs(60);

async fn turn(control: &mut ControlClient<Channel>, autolock: bool) {
    let cluster = control.get_cluster(pb::Empty {}).await.unwrap().into_inner().cluster.unwrap();
    let spec = Some(pb::ClusterSpec { autolock, ..cluster.spec.unwrap() });
    let version = cluster.meta.unwrap().version;
    let after = control.update_cluster(pb::UpdateClusterRequest { version, spec }).await.unwrap().into_inner();
    let after = after.cluster.unwrap();
    assert_eq!(
        (after.spec.unwrap().autolock, after.lock),
        (autolock, None),
        "the key is told to nobody who did not ask"
    );
}

async fn key(control: &mut ControlClient<Channel>, id: &str) -> Result<UnlockKey, tonic::Status> {
    let reply = control.get_unlock_key(pb::UnlockKeyRequest { id: id.to_owned() }).await?.into_inner();
    let key: UnlockKey = reply.key.parse().unwrap();
    assert_eq!(key.id().to_string(), reply.id);
    Ok(key)
}

#[tokio::test]
async fn the_key_is_made_kept_replaced_and_given_up() {
    let world = World::new(SLOW).await;
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    for refused in
        [key(&mut control, "").await.unwrap_err(), control.rotate_unlock_key(pb::Empty {}).await.map(drop).unwrap_err()]
    {
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("autolock is off"), "{refused}");
    }
    turn(&mut control, true).await;
    let first = key(&mut control, "").await.unwrap();
    turn(&mut control, true).await;
    assert_eq!(key(&mut control, "").await.unwrap(), first, "it is on already");
    let second = control.rotate_unlock_key(pb::Empty {}).await.unwrap().into_inner().key;
    assert_eq!(key(&mut control, "").await.unwrap().to_string(), second);
    assert_ne!(first.to_string(), second);
    assert_eq!(key(&mut control, &first.id().to_string()).await.unwrap(), first, "for who was away meanwhile");
    assert_eq!(key(&mut control, "00000000").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(key(&mut control, "x").await.unwrap_err().code(), Code::InvalidArgument);
    turn(&mut control, false).await;
    assert_eq!(key(&mut control, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(key(&mut control, &first.id().to_string()).await.unwrap(), first);
    let state = world.store.read();
    assert_eq!(state.cluster().unwrap().lock.version, 3);
}

#[tokio::test]
async fn a_manager_gets_the_key_with_its_certificate_and_a_worker_never() {
    let world = World::new(SLOW).await;
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    turn(&mut control, true).await;
    control.rotate_unlock_key(pb::Empty {}).await.unwrap();
    let in_force = key(&mut control, "").await.unwrap();
    let mut ca = CaClient::new(world.connect(None).await);
    let join = |token| pb::JoinRequest { token, csr: request().0, ..Default::default() };
    assert_eq!(ca.join(join(world.worker_token())).await.unwrap().into_inner().lock, None);
    let lock = ca.join(join(world.manager_token())).await.unwrap().into_inner().lock.unwrap();
    assert_eq!((lock.version, lock.key, lock.past.len()), (2, in_force.as_bytes().to_vec(), 0));
    let worker = world.join().await;
    let mut ca = CaClient::new(world.connect(Some(&worker)).await);
    assert_eq!(ca.renew(pb::RenewRequest { csr: request().0 }).await.unwrap().into_inner().lock, None);
    let mut control = ControlClient::new(world.connect(Some(&worker)).await);
    assert_eq!(key(&mut control, "").await.unwrap_err().code(), Code::PermissionDenied);
    let promoted = world.join_with(world.worker_token()).await;
    world.set_role(promoted.id, NodeRole::Manager).await;
    let mut ca = CaClient::new(world.connect(Some(&promoted)).await);
    let lock = ca.renew(pb::RenewRequest { csr: request().0 }).await.unwrap().into_inner().lock.unwrap();
    assert_eq!(lock.key, in_force.as_bytes().to_vec());
}
