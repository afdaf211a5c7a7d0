//! A whole agent against a manager on loopback and simulated containers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "driver: runs whole agents")]

mod fake;
mod join;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake::{Manager, PATIENCE, Plain, Visit, id, set};
use skep_agent::identity::Identity;
use skep_agent::order::Exited;
use skep_agent::sim::{SimConfig, SimExecutor};
use skep_agent::sys::LogLine;
use skep_agent::{Agent, AgentConfig};
use skep_proto::model::{ClusterId, DesiredState, Moment, NodeId, NodeRole, TaskId, TaskState};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Heard;
use skep_proto::pb::manager_message::Message as Said;

/// What a node trusts, as it lies on its disk.
fn root() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
}

fn config(dir: &Path, managers: &[&str]) -> AgentConfig {
    let identity = Identity {
        node: NodeId::new(9),
        cluster: ClusterId::new(1),
        role: NodeRole::Worker,
        certificate: String::new(),
        key: String::new(),
        root: root(),
    };
    AgentConfig {
        named: Vec::new(),
        data_dir: dir.to_owned(),
        vault: skep_agent::vault::Vault::at(dir),
        identity: Arc::new(identity),
        managers: managers.iter().map(ToString::to_string).collect(),
        address: String::new(),
        hostname: Some("here".into()),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        version: "1".into(),
    }
}

async fn start(dir: &Path, manager: &Manager, executor: &Arc<SimExecutor>) -> Agent {
    Agent::start_with(config(dir, &[&manager.address]), Arc::clone(executor) as _, Arc::new(Plain)).await.unwrap()
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// An agent with running tasks and its open session.
async fn running(dir: &Path, manager: &mut Manager, executor: &Arc<SimExecutor>, tasks: &[TaskId]) -> (Agent, Visit) {
    let agent = start(dir, manager, executor).await;
    let mut visit = manager.visit().await;
    visit.welcome(&[]).await;
    visit.say(set("hello", tasks, DesiredState::Running)).await;
    visit.until(tasks.to_vec(), TaskState::Running).await;
    (agent, visit)
}

fn ids(range: std::ops::Range<u128>) -> Vec<TaskId> {
    range.map(id).collect()
}

#[tokio::test]
async fn fifty_tasks_are_made_at_once_but_not_all_at_once_and_reported_running() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let slow = SimConfig { prepare: Duration::from_millis(20), ..SimConfig::default() };
    let executor = Arc::new(SimExecutor::new(slow));
    let tasks = ids(1..51);
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &tasks).await;
    assert_eq!((executor.running(), executor.counts().preparing_max), (tasks, 8));
    assert!(visit.statuses.values().all(|s| s.pid > 0 && !s.container_id.is_empty()));
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn the_hello_describes_the_node_and_heartbeats_follow() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let agent = start(dir.path(), &manager, &Arc::default()).await;
    let mut visit = manager.visit().await;
    let description = visit.welcome(&[]).await.description.unwrap();
    assert_eq!((description.hostname.as_str(), description.engine_labels["a"].as_str()), ("here", "b"));
    for _ in 0..3 {
        assert!(matches!(visit.hear().await, Some(Heard::Heartbeat(_))));
    }
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn exit_codes_and_missing_images_are_told_in_words() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor = Arc::default();
    let (agent, mut visit) = running(dir.path(), &mut manager, &executor, &ids(1..3)).await;
    executor.exit(id(1), Exited { code: 3, ..Exited::default() });
    executor.exit(id(2), Exited::default());
    visit.until([id(1)], TaskState::Failed).await;
    visit.until([id(2)], TaskState::Complete).await;
    assert_eq!(visit.statuses[&id(1)].error, "task: non-zero exit (3)");
    assert_eq!(visit.statuses[&id(2)].exit_code, Some(0));
    drop(visit);
    let mut visit = manager.visit().await;
    visit.welcome(&[]).await;
    visit.say(set("missing", &ids(5..6), DesiredState::Running)).await;
    visit.until([id(5)], TaskState::Rejected).await;
    assert_eq!(visit.statuses[&id(5)].error, "no such image: missing");
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn everything_is_told_again_to_the_next_session() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor = Arc::default();
    let tasks = ids(1..4);
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &tasks).await;
    drop(visit);
    let mut visit = manager.visit().await;
    visit.welcome(&[]).await;
    visit.until(tasks, TaskState::Running).await;
    assert_eq!(executor.counts().started, 3, "nothing was started again");
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn what_happens_without_managers_is_told_when_one_is_back() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..3)).await;
    let mut second = Manager::start().await;
    let addresses = [manager.address.clone(), second.address.clone()];
    visit.say(Said::Farewell(pb::Farewell::default())).await;
    let mut visit = manager.visit().await;
    visit.welcome(&addresses).await;
    drop((visit, manager));
    executor.exit(id(1), Exited { code: 9, ..Exited::default() });
    let mut visit = second.visit().await;
    visit.welcome(&addresses).await;
    visit.until([id(1)], TaskState::Failed).await;
    visit.until([id(2)], TaskState::Running).await;
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_hint_at_the_leader_is_followed_and_remembered() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let mut leader = Manager::start().await;
    let agent = start(dir.path(), &manager, &Arc::default()).await;
    let mut visit = manager.visit().await;
    visit.hear().await;
    visit.say(Said::Farewell(pb::Farewell { leader: leader.address.clone(), ..pb::Farewell::default() })).await;
    let mut visit = leader.visit().await;
    visit.welcome(std::slice::from_ref(&leader.address)).await;
    let view = agent.view();
    wait_for("the leader is shown", || view.borrow().manager.as_ref() == Some(&leader.address)).await;
    agent.shutdown(false).await.unwrap();
    let nobody = config(dir.path(), &[]);
    let agent = Agent::start_with(nobody, Arc::<SimExecutor>::default() as _, Arc::new(Plain)).await.unwrap();
    leader.visit().await;
    drop(agent);
}

#[tokio::test]
async fn a_manager_that_came_while_the_session_lived_is_remembered_and_turned_to() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let mut other = Manager::start().await;
    let executor: Arc<SimExecutor> = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..3)).await;
    let addresses = vec![manager.address.clone(), other.address.clone()];
    visit.say(Said::Managers(pb::Managers { addresses })).await;
    let view = agent.view();
    wait_for("the other one is known", || view.borrow().managers.contains(&other.address)).await;
    drop((visit, manager));
    let mut visit = other.visit().await;
    visit.welcome(&[]).await;
    visit.until(ids(1..3), TaskState::Running).await;
    agent.shutdown(false).await.unwrap();
    let nobody = config(dir.path(), &[]);
    let agent = Agent::start_with(nobody, Arc::clone(&executor) as _, Arc::new(Plain)).await.unwrap();
    other.visit().await;
    assert_eq!(executor.counts().started, 2, "no task notices");
    drop(agent);
}

#[tokio::test]
async fn a_restarted_daemon_takes_up_what_it_finds() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor: Arc<SimExecutor> = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..4)).await;
    let pid = visit.statuses[&id(1)].pid;
    agent.shutdown(false).await.unwrap();
    assert_eq!(executor.running(), ids(1..4), "containers outlive the daemon");
    executor.exit(id(2), Exited { code: 5, ..Exited::default() });
    let agent = start(dir.path(), &manager, &executor).await;
    let mut visit = manager.visit().await;
    visit.welcome(&[]).await;
    visit.until([id(1), id(3)], TaskState::Running).await;
    visit.until([id(2)], TaskState::Failed).await;
    assert_eq!((visit.statuses[&id(1)].pid, visit.statuses[&id(2)].exit_code), (pid, Some(5)));
    assert_eq!(executor.counts().started, 3);
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn containers_that_no_task_claims_are_removed_at_the_start() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor: Arc<SimExecutor> = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..3)).await;
    agent.shutdown(false).await.unwrap();
    drop(visit);
    std::fs::remove_file(dir.path().join("agent/tasks")).unwrap();
    let agent = start(dir.path(), &manager, &executor).await;
    wait_for("the strays are gone", || executor.containers().is_empty()).await;
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_no_more_in_the_set_is_stopped_and_removed() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor: Arc<SimExecutor> = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..4)).await;
    drop(visit);
    let mut visit = manager.visit().await;
    visit.welcome(&[]).await;
    visit.say(set("hello", &ids(2..3), DesiredState::Running)).await;
    wait_for("two are gone", || executor.containers() == ids(2..3)).await;
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_stop_says_goodbye_and_leaves_containers_while_leaving_removes_them() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor: Arc<SimExecutor> = Arc::default();
    for leaving in [false, true] {
        let (agent, mut visit) = running(dir.path(), &mut manager, &executor, &ids(1..4)).await;
        let parted = tokio::spawn(async move {
            loop {
                if let Some(Heard::Goodbye(goodbye)) = visit.hear().await {
                    return goodbye.leaving;
                }
            }
        });
        agent.shutdown(leaving).await.unwrap();
        assert_eq!(parted.await.unwrap(), leaving);
        assert_eq!(executor.containers().is_empty(), leaving);
    }
    assert!(!dir.path().join("agent").exists());
}

#[tokio::test]
async fn a_removed_node_tells_its_owner_and_calls_nobody() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor: Arc<SimExecutor> = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..2)).await;
    visit.say(Said::Farewell(pb::Farewell { removed: true, ..pb::Farewell::default() })).await;
    let mut view = agent.view();
    tokio::time::timeout(PATIENCE, view.wait_for(|view| view.removed)).await.unwrap().unwrap();
    agent.leave().await.unwrap();
    assert!(executor.containers().is_empty());
}

#[tokio::test]
async fn a_node_that_is_told_another_role_gets_a_certificate_with_it_and_keeps_its_session() {
    let (dir, mut manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    let executor: Arc<SimExecutor> = Arc::default();
    let (agent, visit) = running(dir.path(), &mut manager, &executor, &ids(1..3)).await;
    let mut view = agent.view();
    assert_eq!(view.borrow().role, None, "this manager has said nothing of it");
    for role in [NodeRole::Manager, NodeRole::Worker] {
        *manager.role.lock() = role;
        visit.say(Said::Standing(pb::Standing { role: pb::NodeRole::from(role).into(), ..Default::default() })).await;
        let renewed = |view: &skep_agent::AgentView| view.role == Some(role) && view.identity.role == role;
        let seen = tokio::time::timeout(PATIENCE, view.wait_for(renewed)).await.unwrap().unwrap().clone();
        assert_eq!((seen.identity.node, seen.manager.as_ref()), (NodeId::new(9), Some(&manager.address)));
        assert_eq!(
            skep_agent::identity::disk::load(&skep_agent::vault::Vault::at(dir.path())).unwrap().unwrap().role,
            role
        );
    }
    assert_eq!(executor.counts().started, 2, "no task notices");
    agent.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_damaged_list_keeps_the_agent_from_starting_and_says_the_way_out() {
    let (dir, manager) = (tempfile::tempdir().unwrap(), Manager::start().await);
    std::fs::create_dir_all(dir.path().join("agent")).unwrap();
    std::fs::write(dir.path().join("agent/tasks"), b"garbage").unwrap();
    let executor: Arc<SimExecutor> = Arc::default();
    let result = Agent::start_with(config(dir.path(), &[&manager.address]), executor as _, Arc::new(Plain)).await;
    assert!(result.unwrap_err().to_string().contains("move the file away"));
}

#[tokio::test]
async fn log_lines_are_shipped_and_a_missing_log_is_told() {
    let options = pb::LogOptions { follow: true, tail: -1, ..pb::LogOptions::default() };
    let tasks = [id(1), id(77)].map(TaskId::to_bytes).to_vec();
    let subscription = pb::LogSubscription { id: vec![7], tasks, options: Some(options), close: false };
    let (dir, executor) = (tempfile::tempdir().unwrap(), Arc::<SimExecutor>::default());
    let mut first = Manager::start().await;
    let (agent, visit) = running(dir.path(), &mut first, &executor, &ids(1..2)).await;
    let line = |n: u64| LogLine { at: Moment(n), stderr: false, data: format!("line {n}").into(), partial: false };
    executor.print(id(1), line(1));
    let mut second = Manager::with_subscription(Some(subscription)).await;
    visit.say(Said::Farewell(pb::Farewell { leader: second.address.clone(), ..pb::Farewell::default() })).await;
    let mut visit = second.visit().await;
    visit.welcome(&[]).await;
    let published = Arc::clone(&second.published);
    let lines = move || published.lock().iter().map(|m| m.lines.len()).sum::<usize>();
    wait_for("the first line is there", || lines() == 1).await;
    executor.print(id(1), line(2));
    wait_for("the followed line is there", || lines() == 2).await;
    let problem = second.published.lock().iter().find(|m| !m.error.is_empty()).cloned().unwrap();
    assert!(problem.error.ends_with("no such container") && problem.subscription == [7], "{}", problem.error);
    agent.shutdown(false).await.unwrap();
}
