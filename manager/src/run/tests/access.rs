//! Who may call what: every RPC of every proto file, called by everybody. One that is in no table fails.
#![expect(clippy::disallowed_methods, reason = "a test: reads the proto files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use skep_proto::model::{ClusterId, NodeId, NodeRole};
use skep_proto::pb;
use tonic::Code;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::client::{Member, World, request};
use crate::ca::certificate::Root;
use crate::ca::{Subject, sign_request};
use crate::store::Change;

/// Callers, from the least trusted to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// Shows no certificate.
    Nobody,
    /// A manager whose certificate's time is over.
    Lapsed,
    /// The right root, but another cluster's name in it.
    Foreign,
    /// Was a manager until a moment ago, and is no node any more.
    Removed,
    /// A worker.
    Worker,
    /// A manager by its certificate; the state says worker.
    Demoted,
    /// A worker by its certificate; the state says manager.
    Promoted,
    /// A manager.
    Manager,
}

const ALL: [Who; 8] =
    [Who::Nobody, Who::Lapsed, Who::Foreign, Who::Removed, Who::Worker, Who::Demoted, Who::Promoted, Who::Manager];

/// The least that each RPC asks for. What is not on the port at all asks for more than anybody has.
fn least(path: &str) -> Option<Option<Who>> {
    let (service, method) = path.strip_prefix("/skep.v1.")?.split_once('/')?;
    Some(match (service, method) {
        ("Ca", "GetRoot" | "Join" | "Withdraw") => Some(Who::Nobody),
        ("Ca", "Renew") | ("Dispatcher", "Session") | ("LogBroker", "Listen" | "Publish") => Some(Who::Worker),
        // About itself; a manager that was demoted a moment ago may still ask whether it is one.
        ("Membership", "Leave" | "Probe" | "GetSeat") => Some(Who::Worker),
        ("Control" | "Authority", _) | ("Membership", "Join") => Some(Who::Manager),
        // Here there is no Raft beneath the manager; its own test asks who may call it.
        ("Local" | "Raft", _) => None,
        _ => return None,
    })
}

/// Every RPC that is written down anywhere.
fn paths() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/skep/v1");
    let mut found = BTreeSet::new();
    for file in fs::read_dir(dir).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let mut service = String::new();
        for line in text.lines().map(str::trim_start) {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.trim_end_matches(['{', ' ']).to_owned();
            } else if let Some((method, _)) = line.strip_prefix("rpc ").and_then(|rest| rest.split_once('(')) {
                found.insert(format!("/skep.v1.{service}/{method}"));
            }
        }
    }
    found
}

/// The one that a removed node may still open.
const SESSION: &str = "/skep.v1.Dispatcher/Session";

/// What an empty message to that RPC came to.
async fn call(channel: Channel, path: &str) -> Code {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let message = tonic::Request::new(tokio_stream::once(pb::Empty {}));
    let codec = ProstCodec::<pb::Empty, pb::Empty>::default();
    let answer = grpc.streaming(message, path.parse().unwrap(), codec).await;
    answer.err().map_or(Code::Ok, |status| status.code())
}

fn certified(world: &World, node: NodeId, cluster: ClusterId) -> Member {
    let (csr, key) = request();
    let ours = world.store.read().cluster().cloned().unwrap();
    let subject = Subject { node, role: NodeRole::Manager, cluster };
    let certificate = sign_request(&Root::of(&ours), &csr, subject, crate::sys::now()).unwrap();
    Member { id: node, certificate, key }
}

async fn callers(world: &World) -> BTreeMap<Who, Option<Member>> {
    let (demoted, removed) =
        (world.join_with(world.manager_token()).await, world.join_with(world.manager_token()).await);
    let promoted = world.join().await;
    world.set_role(demoted.id, NodeRole::Worker).await;
    world.set_role(promoted.id, NodeRole::Manager).await;
    let if_version = world.store.read().node(removed.id).unwrap().meta.version;
    world.propose(vec![Change::RemoveNode { node: removed.id, if_version }]).await;
    BTreeMap::from([
        (Who::Nobody, None),
        (Who::Lapsed, Some(world.lapsed(&world.founder()))),
        (Who::Foreign, Some(certified(world, world.founder.node, ClusterId::new(1)))),
        (Who::Removed, Some(removed)),
        (Who::Worker, Some(world.join().await)),
        (Who::Demoted, Some(demoted)),
        (Who::Promoted, Some(promoted)),
        (Who::Manager, Some(world.founder())),
    ])
}

#[tokio::test]
async fn every_rpc_is_for_those_that_the_table_says_and_for_nobody_else() {
    let world = World::new(Duration::from_secs(60)).await;
    let callers = callers(&world).await;
    let paths = paths();
    assert!(paths.len() > 20 && paths.contains("/skep.v1.Control/RotateToken"), "{paths:?}");
    let mut wrong = Vec::new();
    for who in ALL {
        let channel = world.connect(callers[&who].as_ref()).await;
        for path in &paths {
            let Some(least) = least(path) else { panic!("{path} is in no table: who may call it?") };
            let code = call(channel.clone(), path).await;
            let fits = match least {
                None => code == Code::Unimplemented,
                Some(least) if who >= least || (who == Who::Lapsed && path == "/skep.v1.Ca/Renew") => {
                    !matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented)
                }
                // It is told in the stream that it was removed.
                Some(_) if who == Who::Removed && path == SESSION => code == Code::Ok,
                Some(_) if who == Who::Nobody => code == Code::Unauthenticated,
                Some(_) => code == Code::PermissionDenied,
            };
            if !fits {
                wrong.push(format!("{who:?} {path}: {code:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.store.read().nodes().count(), 4, "nothing was changed");
}
