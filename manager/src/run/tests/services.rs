//! Services, nodes and refusals, as a user of the API meets them.

use std::time::Duration;

use skep_proto::model::NodeState;
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Said;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::manager_message::Message as Heard;
use tonic::{Code, Status};

use super::client::{Agent, World};

const SLOW: Duration = Duration::from_secs(60);

pub(super) fn replicated(name: &str, replicas: u32) -> pb::ServiceSpec {
    let container = pb::ContainerSpec { image: "skep/hello".into(), ..Default::default() };
    pb::ServiceSpec {
        name: name.into(),
        task: Some(pb::TaskSpec { container: Some(container), ..Default::default() }),
        mode: Some(pb::service_spec::Mode::Replicated(pb::Replicated { replicas })),
        ..Default::default()
    }
}

async fn control(world: &World) -> ControlClient<tonic::transport::Channel> {
    ControlClient::new(world.connect(Some(&world.founder())).await)
}

pub(super) async fn create(world: &World, spec: pb::ServiceSpec) -> pb::CreateServiceReply {
    try_create(world, spec).await.unwrap()
}

async fn try_create(world: &World, spec: pb::ServiceSpec) -> Result<pb::CreateServiceReply, Status> {
    let reply = control(world).await.create_service(pb::CreateServiceRequest { spec: Some(spec) }).await?;
    Ok(reply.into_inner())
}

/// Does at once what it is told.
pub(super) async fn obey(mut agent: Agent) {
    let mut seq = 0;
    while let Some(message) = agent.hear().await {
        let Heard::Assignments(assignments) = message else { continue };
        let status = |task: &pb::Assignment| {
            let state = match task.desired() {
                pb::DesiredState::Running => pb::TaskState::Running,
                pb::DesiredState::Ready => pb::TaskState::Ready,
                _ => pb::TaskState::Shutdown,
            };
            let status = pb::TaskStatus { state: state.into(), at: 1, ..Default::default() };
            pb::TaskReport { task: task.task.clone(), status: Some(status) }
        };
        let tasks: Vec<_> = assignments.tasks.iter().map(status).collect();
        if !tasks.is_empty() {
            seq += 1;
            agent.say(Said::Report(pb::StatusReport { seq, tasks })).await;
        }
    }
}

async fn until_converged(world: &World, name: &str) -> pb::ServiceProgress {
    let request = pb::WatchServiceRequest { r#ref: name.into(), until_removed: false };
    let mut stream = control(world).await.watch_service(request).await.unwrap().into_inner();
    let mut last = pb::ServiceProgress::default();
    while let Some(progress) = stream.message().await.unwrap() {
        last = progress;
    }
    last
}

#[tokio::test]
async fn a_service_converges_scales_and_goes() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let agent = world.open(&member).await;
    world.until_node(member.id, NodeState::Ready).await;
    let scenario = async {
        let created = create(&world, replicated("web", 3)).await;
        let progress = until_converged(&world, "web").await;
        assert_eq!((progress.running, progress.desired, progress.converged), (3, 3, true));
        let mut control = control(&world).await;
        let current = control.get_service(pb::RefRequest { r#ref: "web".into() }).await.unwrap().into_inner();
        let version = current.service.unwrap().meta.unwrap().version;
        let spec = Some(replicated("web", 1));
        let update = pb::UpdateServiceRequest { r#ref: "web".into(), version, spec };
        control.update_service(update).await.unwrap();
        let progress = until_converged(&world, "web").await;
        assert_eq!((progress.running, progress.leftover), (1, 0), "{progress:?}");
        control.remove_service(pb::RefRequest { r#ref: "web".into() }).await.unwrap();
        let id = skep_proto::model::ServiceId::from_bytes(&created.meta.unwrap().id).unwrap();
        let request = pb::WatchServiceRequest { r#ref: id.to_string(), until_removed: true };
        if let Ok(stream) = control.watch_service(request).await {
            let mut stream = stream.into_inner();
            while let Some(progress) = stream.message().await.unwrap() {
                assert!(progress.removed || progress.desired == 0);
            }
        }
        assert!(world.store.read().service(id).is_none());
        assert_eq!(world.store.read().task_count(), 0);
    };
    tokio::select! {
        () = obey(agent) => panic!("the session ended"),
        done = tokio::time::timeout(super::client::PATIENCE, scenario) => done.unwrap(),
    }
}

#[tokio::test]
async fn refusals_have_a_code_and_a_reason() {
    let world = World::new(SLOW).await;
    create(&world, replicated("web", 0)).await;
    let taken = try_create(&world, replicated("Web", 0)).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken}");
    let mut spec = replicated("api", 1);
    spec.task.as_mut().unwrap().container.as_mut().unwrap().image = "No Such".into();
    let bad = try_create(&world, spec).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    assert!(bad.message().starts_with("failed to use \"No Such\" as an image"), "{bad}");
    let mut control = control(&world).await;
    let update = |version| pb::UpdateServiceRequest { r#ref: "web".into(), version, spec: Some(replicated("web", 1)) };
    assert_eq!(control.update_service(update(0)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(control.update_service(update(1)).await.unwrap_err().code(), Code::Aborted);
    let none = control.get_service(pb::RefRequest { r#ref: "nope".into() }).await.unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
}

#[tokio::test]
async fn a_service_that_cannot_be_placed_says_why() {
    let world = World::new(SLOW).await;
    create(&world, replicated("web", 1)).await;
    let request = pb::WatchServiceRequest { r#ref: "web".into(), until_removed: false };
    let mut stream = control(&world).await.watch_service(request).await.unwrap().into_inner();
    let explained = async {
        loop {
            let progress = stream.message().await.unwrap().expect("it never converges");
            assert!(!progress.converged);
            if progress.slots.iter().any(|slot| !slot.error.is_empty()) {
                return;
            }
        }
    };
    tokio::time::timeout(super::client::PATIENCE, explained).await.unwrap();
}

#[tokio::test]
async fn nodes_are_listed_drained_and_removed_only_when_down() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let agent = world.open(&member).await;
    world.until_node(member.id, NodeState::Ready).await;
    let mut control = control(&world).await;
    let mut stream = control.list_nodes(pb::ListNodesRequest::default()).await.unwrap().into_inner();
    let mut nodes = Vec::new();
    while let Some(entry) = stream.message().await.unwrap() {
        nodes.push((entry.leader, entry.self_));
    }
    nodes.sort_unstable();
    assert_eq!(nodes, [(false, false), (true, true)]);
    let word = member.id.to_string();
    let node = control.get_node(pb::RefRequest { r#ref: word[..20].into() }).await.unwrap().into_inner().node.unwrap();
    let spec = pb::NodeSpec { availability: pb::Availability::Drain.into(), ..node.spec.unwrap() };
    let version = node.meta.unwrap().version;
    let update = pb::UpdateNodeRequest { r#ref: word.clone(), version, spec: Some(spec) };
    let drained = control.update_node(update).await.unwrap().into_inner().node.unwrap().spec.unwrap();
    assert_eq!(drained.availability(), pb::Availability::Drain);
    let remove = pb::RemoveNodeRequest { r#ref: word, force: false };
    let alive = control.remove_node(remove.clone()).await.unwrap_err();
    assert_eq!(alive.code(), Code::FailedPrecondition, "{alive}");
    agent.say(Said::Goodbye(pb::Goodbye { leaving: true })).await;
    world.until_node(member.id, NodeState::Down).await;
    control.remove_node(remove).await.unwrap();
    assert!(world.store.read().node(member.id).is_none());
    let own = pb::RemoveNodeRequest { r#ref: world.founder.node.to_string(), force: true };
    assert_eq!(control.remove_node(own).await.unwrap_err().code(), Code::FailedPrecondition);
}
