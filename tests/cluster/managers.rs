//! Several managers: real daemons, killed, stopped, cut off, moved, promoted and demoted.

use crate::support::swarm::{change, join_as_manager, statuses};
use crate::support::{Machine, SOON, World, can_run, wait_for};

/// A swarm of that many managers; the first one leads.
pub(crate) fn managers(world: &World, count: usize) -> Vec<Machine> {
    let first = world.machine();
    first.init();
    let mut all = vec![first];
    for _ in 1..count {
        let next = world.machine();
        join_as_manager(&next, &all[0]).ok();
        all.push(next);
    }
    all
}

pub(crate) fn wait_for_status(machine: &Machine, wanted: &str) {
    wait_for(wanted, SOON, || statuses(machine).contains(&wanted.to_owned()).then_some(()));
}

/// Which of them leads, as the first that runs says.
pub(crate) fn leader(all: &[Machine]) -> usize {
    wait_for("a leader", SOON, || {
        let running = all.iter().find(|machine| machine.runs())?;
        let leads = statuses(running).into_iter().find(|line| line.ends_with("Leader"))?;
        let hostname = leads.split(' ').next()?.to_owned();
        all.iter().position(|machine| machine.hostname == hostname && machine.runs())
    })
}

pub(crate) fn names(machine: &Machine) -> Vec<String> {
    machine.column(&["service", "ls"], "{{.Name}}")
}

#[test]
fn all_managers_hear_each_other_as_was_settled_with_the_swarm() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (first, mut second, third) = (world.machine(), world.machine(), world.machine());
    let timing = ["--raft-heartbeat", "50ms", "--raft-election"];
    let init = |election| [&["swarm", "init", "--advertise-addr", &first.address][..], &timing, &[election]].concat();
    let refused = first.skep(&init("200ms")).refused(1);
    assert!(refused.contains("election time of Raft") && refused.contains("between 250ms and 1m"), "{refused}");
    first.skep(&init("600ms")).ok();
    join_as_manager(&second, &first).ok();
    third.join(&first);
    wait_for_status(&first, "m3 Ready");
    first.skep(&["node", "promote", "m3"]).ok();
    wait_for_status(&first, "m3 Ready Reachable");
    second.kill();
    second.start();
    for machine in [&first, &second, &third] {
        let page = machine.skep(&["info"]).ok();
        assert!(page.contains("   Heartbeat: 50ms\n   Election: 600ms\n"), "{}: {page}", machine.hostname);
    }
    first.skep(&["swarm", "update", "--task-history-limit", "3"]).ok();
}

/// Service and slot of a container's name, which ends with the task's id.
fn slot(name: &str) -> String {
    name.rsplit_once('.').unwrap().0.to_owned()
}

#[test]
fn every_manager_answers_and_a_killed_leader_is_replaced() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    let worker = world.machine();
    worker.join(&all[2]);
    wait_for_status(&all[1], "m4 Ready");
    all[1].skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    let before = worker.container_pids();
    let old = leader(&all);
    let lost: Vec<String> = all[old].container_pids().iter().map(|(name, _)| slot(name)).collect();
    all[old].kill();
    let other = (old + 1) % 3;
    all[other].skep(&["service", "create", "-d", "--replicas", "0", "--name", "after", "skep/hello"]).ok();
    let new = leader(&all);
    assert_ne!(new, old);
    assert_eq!(names(&all[other]), ["after", "web"]);
    wait_for_status(&all[other], &format!("m{} Down Unreachable", old + 1));
    let (kept, come): (Vec<_>, Vec<_>) = worker.container_pids().into_iter().partition(|task| before.contains(task));
    assert_eq!(kept, before, "a change of leader moves no task");
    assert!(come.iter().all(|(name, _)| lost.contains(&slot(name))), "only what ran on the dead machine: {come:?}");
    all[old].start();
    wait_for_status(&all[old], &format!("m{} Ready Reachable", old + 1));
    assert_eq!(names(&all[old]), ["after", "web"]);
    all[old].skep(&["service", "rm", "web", "after"]).ok();
}

#[test]
fn a_clean_stop_of_the_leader_hands_over_and_without_a_majority_nothing_runs_less() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    all[0].skep(&["service", "create", "--name", "web", "--replicas", "3", "skep/hello"]).ok();
    let first = leader(&all);
    all[first].stop();
    let second = leader(&all);
    all[second].skep(&["service", "create", "-d", "--replicas", "0", "--name", "one", "skep/hello"]).ok();
    all[second].kill();
    let last = 3 - first - second;
    let pids = all[last].container_pids();
    let sentence = all[last].skep(&["service", "ls"]).refused(1);
    assert!(
        sentence.contains("2 of its 3 managers do not answer") && sentence.contains("start the missing managers"),
        "{sentence}"
    );
    assert_eq!(all[last].container_pids(), pids, "tasks run on");
    all[first].start();
    wait_for("two of three to answer again", SOON, || (all[last].skep(&["service", "ls"]).code == 0).then_some(()));
    assert_eq!(names(&all[last]), ["one", "web"]);
}

#[test]
fn a_cut_off_leader_serves_nobody_and_comes_back_as_a_follower() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let all = managers(&world, 3);
    let old = leader(&all);
    let other = (old + 1) % 3;
    world.cable(&all[old], false);
    wait_for("another leader", SOON, || {
        let said = all[other].skep(&["service", "create", "-d", "--replicas", "0", "--name", "cut", "skep/hello"]);
        (said.code == 0).then_some(())
    });
    all[old].skep(&["service", "ls"]).refused(1);
    world.cable(&all[old], true);
    wait_for("it to know what it missed", SOON, || {
        let said = all[old].skep(&["service", "ls", "--format", "{{.Name}}"]);
        (said.code == 0 && said.out.contains("cut")).then_some(())
    });
    wait_for_status(&all[old], &format!("m{} Ready Reachable", old + 1));
}

#[test]
fn nodes_are_promoted_demoted_and_leave() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let first = world.machine();
    first.init();
    let (second, third) = (world.machine(), world.machine());
    second.join(&first);
    third.join(&first);
    let refused = first.skep(&["node", "demote", "m1"]).refused(1);
    assert!(refused.contains("it is the last manager of the swarm"), "{refused}");
    first.skep(&["node", "promote", "m2", "m3"]).ok();
    wait_for_status(&second, "m3 Ready Reachable");
    wait_for_status(&third, "m3 Ready Reachable");
    for manager in [&first, &second, &third] {
        let info = manager.skep(&["info"]).ok();
        let all = [&first, &second, &third].map(|machine| format!("\n   {}:2377\n", machine.address));
        assert!(all.iter().all(|address| info.contains(address)), "{info}");
    }
    third.skep(&["service", "create", "-d", "--replicas", "0", "--name", "there", "skep/hello"]).ok();
    first.skep(&["node", "demote", "m1"]).ok();
    wait_for("the first to be a worker", SOON, || {
        let said = first.skep(&["node", "ls"]);
        (said.code == 1 && said.err.contains("worker nodes can't")).then_some(())
    });
    let state = first.data_dir().join("manager");
    wait_for("the state of the cluster to be gone from a worker", SOON, || (!state.exists()).then_some(()));
    wait_for_status(&second, "m1 Ready");
    let refused = second.skep(&["swarm", "leave"]).refused(1);
    assert!(refused.contains("is a manager"), "{refused}");
    second.skep(&["swarm", "leave", "--force"]).ok();
    wait_for_status(&third, "m2 Down");
    // Also when it led: nobody has to miss it to find out.
    let why = third.skep(&["node", "inspect", "m2", "--format", "{{.Status.Message}}"]).ok();
    assert_eq!(why.trim(), "the node has left the swarm");
    wait_for_status(&third, "m3 Ready Leader");
    third.skep(&["node", "rm", "m2"]).ok();
    assert_eq!(names(&third), ["there"]);
    join_as_manager(&second, &third).ok();
    wait_for("the second to be back under another id", SOON, || {
        statuses(&third).contains(&"m2 Ready Reachable".to_owned()).then_some(())
    });
}

#[test]
fn a_manager_that_lost_its_state_gets_it_back_from_the_others() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    all[0].skep(&["service", "create", "-d", "--replicas", "0", "--name", "there", "skep/hello"]).ok();
    let victim = (leader(&all) + 1) % 3;
    all[victim].kill();
    std::fs::remove_dir_all(all[victim].data_dir().join("manager")).unwrap();
    all[victim].start();
    wait_for_status(&all[victim], &format!("m{} Ready Reachable", victim + 1));
    assert_eq!(names(&all[victim]), ["there"]);
    assert_eq!(statuses(&all[victim]).len(), 3);
}

#[test]
fn the_last_manager_that_is_not_locked_tells_the_unlock_key_although_nobody_leads() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    all[0].skep(&["swarm", "update", "--autolock"]).ok();
    let key = all[0].skep(&["swarm", "unlock-key", "-q"]).ok();
    for machine in &mut all[1..] {
        machine.stop();
        machine.start();
    }
    let words = all[0].skep(&["swarm", "join-token", "worker"]).refused(1);
    assert!(words.contains("2 of its 3 managers do not answer"), "{words}");
    all[0].skep(&["swarm", "unlock-key", "--rotate"]).refused(1);
    assert_eq!(all[0].skep(&["swarm", "unlock-key", "-q"]).ok(), key);
    all[1].skep_with(&["swarm", "unlock"], key.as_bytes()).ok();
    wait_for("two to decide again", SOON, || (change(&all[0], "again").code == 0).then_some(()));
}
