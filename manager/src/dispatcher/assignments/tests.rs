use proptest::prelude::*;

use super::*;
use crate::fixture::{World, node_id, replicated};

/// What an agent knows after the messages it was sent.
#[derive(Debug, Default)]
struct Agent {
    tasks: BTreeMap<Vec<u8>, pb::DesiredState>,
    kept: BTreeSet<Vec<u8>>,
    templates: BTreeSet<(Vec<u8>, u64)>,
}

impl Agent {
    fn take(&mut self, page: &pb::Assignments) {
        for template in &page.templates {
            let fresh = self.templates.insert((template.service_id.clone(), template.spec_version));
            assert!(fresh, "a template is sent once a session");
        }
        for task in &page.tasks {
            assert!(self.templates.contains(&(task.service_id.clone(), task.spec_version)), "the template comes first");
            self.tasks.insert(task.task.clone(), task.desired());
        }
        self.kept.extend(page.kept.iter().cloned());
        for id in &page.removed {
            assert!(!page.complete);
            assert!(self.tasks.remove(id).is_some() | self.kept.remove(id), "only what the agent has is removed");
        }
        assert!(page.tasks.len() <= PAGE_TASKS_MAX);
    }
}

fn told(sent: &mut Sent, agent: &mut Agent, world: &World) -> usize {
    let pages = sent.refresh(node_id(1), &world.state);
    pages.iter().for_each(|page| agent.take(page));
    pages.len()
}

/// A world whose only node has that many tasks of one service.
fn world(tasks: u32) -> (World, Vec<TaskId>) {
    let mut world = World::new(1);
    let service = world.create(replicated(tasks));
    let ids = (1..=tasks).map(|slot| world.task(service, Slot::Replica(slot))).collect();
    world.place();
    (world, ids)
}

#[test]
fn a_complete_set_comes_in_pages_and_the_last_says_so() {
    let (world, _) = world(1_200);
    let pages = Sent::default().refresh(node_id(1), &world.state);
    let sizes: Vec<usize> = pages.iter().map(|page| page.tasks.len()).collect();
    assert_eq!(sizes, [PAGE_TASKS_MAX, PAGE_TASKS_MAX, 1_200 - 2 * PAGE_TASKS_MAX]);
    assert!(pages.iter().all(|page| page.complete));
    let ends: Vec<bool> = pages.iter().map(|page| page.complete_end).collect();
    assert_eq!(ends, [false, false, true]);
    assert_eq!(pages.iter().map(|page| page.templates.len()).sum::<usize>(), 1);
}

#[test]
fn a_message_stays_below_its_bytes_whatever_the_specs_are() {
    let mut world = World::new(1);
    for number in 0..8 {
        let mut spec = replicated(1);
        spec.name = skep_proto::model::ServiceName::new(format!("s{number}")).unwrap();
        spec.task.container.args = vec!["x".repeat(PAGE_BYTES_MAX / 3)];
        let service = world.create(spec);
        world.task(service, Slot::Replica(1));
    }
    world.place();
    let pages = Sent::default().refresh(node_id(1), &world.state);
    assert!(pages.len() >= 3);
    assert!(pages.iter().all(|page| page.encoded_len() <= PAGE_BYTES_MAX + 64 * 1024));
}

#[test]
fn nothing_new_is_no_message_and_an_empty_node_is_told_so() {
    let world = World::new(1);
    let mut sent = Sent::default();
    let pages = sent.refresh(node_id(1), &world.state);
    assert_eq!(pages.len(), 1);
    assert!(pages[0].complete && pages[0].complete_end);
    assert!(sent.refresh(node_id(1), &world.state).is_empty());
}

#[test]
fn a_report_is_no_news_for_who_reported_it() {
    let (mut world, ids) = world(1);
    let (mut sent, mut agent) = (Sent::default(), Agent::default());
    told(&mut sent, &mut agent, &world);
    world.report(ids[0], TaskState::Running);
    assert_eq!(told(&mut sent, &mut agent, &world), 0);
    sent.hear_end(ids[0]);
    world.report(ids[0], TaskState::Failed);
    assert_eq!(told(&mut sent, &mut agent, &world), 0);
    world.remove_task(ids[0]);
    assert_eq!(told(&mut sent, &mut agent, &world), 1);
    assert!(agent.tasks.is_empty() && agent.kept.is_empty());
}

#[test]
fn a_task_that_the_managers_ended_is_stopped_on_its_node() {
    let (mut world, ids) = world(1);
    let (mut sent, mut agent) = (Sent::default(), Agent::default());
    told(&mut sent, &mut agent, &world);
    world.report(ids[0], TaskState::Rejected);
    assert_eq!(told(&mut sent, &mut agent, &world), 1);
    assert_eq!(agent.tasks[&ids[0].to_bytes()], pb::DesiredState::Shutdown);
    world.desire(ids[0], DesiredState::Shutdown);
    assert_eq!(told(&mut sent, &mut agent, &world), 0, "it is told once");
}

#[test]
fn an_ended_task_is_kept_for_its_logs_and_an_orphan_goes() {
    let (mut world, ids) = world(2);
    world.report(ids[0], TaskState::Failed);
    world.report(ids[1], TaskState::Orphaned);
    let mut agent = Agent::default();
    told(&mut Sent::default(), &mut agent, &world);
    assert!(agent.tasks.is_empty());
    assert_eq!(agent.kept, BTreeSet::from([ids[0].to_bytes()]));
}

/// One thing that may happen in a cluster.
#[derive(Clone, Copy, Debug)]
enum Step {
    Make(u32),
    Place,
    Report(usize, TaskState),
    Desire(usize, DesiredState),
    Forget(usize),
    Update,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop::sample::select(vec![TaskState::Running, TaskState::Complete, TaskState::Failed]);
    let desired = prop::sample::select(vec![DesiredState::Shutdown, DesiredState::Remove]);
    prop_oneof![
        (1u32..9).prop_map(Step::Make),
        Just(Step::Place),
        (0usize..20, state).prop_map(|(task, state)| Step::Report(task, state)),
        (0usize..20, desired).prop_map(|(task, desired)| Step::Desire(task, desired)),
        (0usize..20).prop_map(Step::Forget),
        Just(Step::Update),
        Just(Step::Look),
    ]
}

proptest! {
    #[test]
    fn whenever_it_looks_an_agent_knows_exactly_its_duties(
        steps in prop::collection::vec(step(), 1..60),
        follows: bool,
    ) {
        let mut world = World::new(2);
        let service = world.create(replicated(1));
        let (mut sent, mut agent) = (Sent::default(), Agent::default());
        for step in steps.into_iter().chain([Step::Look]) {
            let ids: Vec<TaskId> = world.state.tasks().map(|task| task.id).collect();
            let pick = |number: usize| ids.get(number % ids.len().max(1)).copied();
            match step {
                Step::Make(slot) => drop(world.task(service, Slot::Replica(slot))),
                Step::Place => drop(world.place()),
                Step::Report(number, state) => pick(number)
                    .filter(|id| world.state.task(*id).unwrap().node.is_some())
                    .into_iter()
                    .for_each(|id| world.report(id, state)),
                Step::Desire(number, desired) => pick(number)
                    .filter(|id| world.state.task(*id).unwrap().desired <= desired)
                    .into_iter()
                    .for_each(|id| world.desire(id, desired)),
                Step::Forget(number) => pick(number).into_iter().for_each(|id| world.remove_task(id)),
                Step::Update => world.update(service, |spec| spec.task.force_update += 1),
                Step::Look => {
                    let news = std::mem::take(&mut world.touched).tasks.remove(&node_id(1)).unwrap_or_default();
                    let news = if follows { News::Tasks(news) } else { News::Anything };
                    sent.follow(node_id(1), &world.state, &news).iter().for_each(|page| agent.take(page));
                    let acts = |task: &Task| match duty(task) {
                        Duty::Act(desired) => Some((task.id.to_bytes(), pb::DesiredState::from(desired))),
                        Duty::Keep | Duty::Forget => None,
                    };
                    let expected: BTreeMap<_, _> = world.state.tasks_on(node_id(1)).filter_map(acts).collect();
                    let ended = |id: &Vec<u8>| {
                        let task = world.state.task(TaskId::from_bytes(id).unwrap());
                        task.is_some_and(|task| task.status.state.is_terminal())
                    };
                    let knows = agent.tasks.iter().filter(|(id, _)| !ended(id));
                    let knows: BTreeMap<_, _> = knows.map(|(id, desired)| (id.clone(), *desired)).collect();
                    prop_assert_eq!(&knows, &expected);
                }
            }
        }
    }
}
