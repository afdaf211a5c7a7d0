//! Managers that come back after the swarm has changed without them.

use std::fs;

use crate::managers::{managers, names, wait_for_status};
use crate::support::swarm::{change, statuses, voters};
use crate::support::{Machine, SOON, World, can_run, wait_for};

/// Raft id of the machine's member, as it lies on its disk.
fn member(machine: &Machine) -> String {
    fs::read_to_string(machine.data_dir().join("manager/member")).unwrap_or_default()
}

/// The machine is a voter again, and knows what the others know.
fn until_back(machine: &Machine, at: &Machine, managers: usize) {
    let line = format!("{} Ready Reachable", machine.hostname);
    wait_for_status(at, &line);
    wait_for("it to answer as a manager", SOON, || {
        let lines = statuses(machine);
        (voters(&lines) == managers && lines.contains(&line)).then_some(())
    });
    let name = format!("on-{}-{}", machine.hostname, member(machine).trim().replace(' ', "-"));
    wait_for("a change on it", SOON, || (change(machine, &name).code == 0).then_some(()));
}

#[test]
fn a_manager_that_was_demoted_and_promoted_while_it_was_away_comes_back_by_itself() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    let before = [member(&all[1]), member(&all[2])];
    world.cable(&all[2], false);
    wait_for_status(&all[0], "m3 Down Unreachable");
    all[0].skep(&["node", "demote", "m3"]).ok();
    all[0].skep(&["node", "promote", "-d", "m3"]).ok();
    world.cable(&all[2], true);
    until_back(&all[2], &all[0], 3);
    all[1].kill();
    wait_for_status(&all[0], "m2 Down Unreachable");
    all[0].skep(&["node", "demote", "m2"]).ok();
    all[0].skep(&["node", "promote", "-d", "m2"]).ok();
    all[1].start();
    until_back(&all[1], &all[0], 3);
    let after = [member(&all[1]), member(&all[2])];
    assert!(before[0] != after[0] && before[1] != after[1], "{before:?} {after:?}");
    // All three count: one may go.
    all[0].kill();
    wait_for("the two others to decide", SOON, || (change(&all[1], "without-m1").code == 0).then_some(()));
}

#[test]
fn an_old_manager_that_knows_nobody_of_a_restored_swarm_is_called_and_joins_it() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    change(&all[0], "kept").ok();
    let (file, key) = (all[0].scratch("backup").display().to_string(), all[0].scratch("key"));
    fs::write(&key, all[0].skep(&["backup", "-q", &file]).ok()).unwrap();
    change(&all[0], "lost").ok();
    all.iter_mut().for_each(Machine::kill);
    let fresh = world.machine();
    fresh.skep(&["restore", "--key-file", &key.display().to_string(), &file]).ok();
    // All of them: they lead what they remember, and know nothing of the machine that took their place.
    all.iter_mut().for_each(Machine::start);
    for machine in &all {
        until_back(machine, &fresh, 4);
        assert!(names(machine).contains(&"kept".to_owned()) && !names(machine).contains(&"lost".to_owned()));
    }
}

#[test]
fn a_lone_manager_that_was_thought_lost_stands_down_before_the_survivor_at_another_address() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    all.iter_mut().for_each(Machine::kill);
    all[2].move_to("10.99.0.77");
    all[2].options = ["--advertise-addr", "10.99.0.77"].map(str::to_owned).to_vec();
    all[2].start();
    all[2].skep(&["swarm", "init", "--force-new-cluster", "--advertise-addr", "10.99.0.77"]).ok();
    change(&all[2], "new").ok();
    all[0].start();
    all[1].start();
    for machine in &all[..2] {
        until_back(machine, &all[2], 3);
        assert!(names(machine).contains(&"new".to_owned()));
    }
}

#[test]
fn a_join_that_was_cut_short_is_taken_up_by_the_next_start() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let all = managers(&world, 2);
    let mut joiner = world.machine();
    let token = all[0].skep(&["swarm", "join-token", "-q", "manager"]).ok();
    let remote = format!("{}:2377", all[0].address);
    std::thread::scope(|scope| {
        let (data_dir, pid) = (joiner.data_dir(), joiner.pid());
        let joining = scope.spawn(|| joiner.skep(&["swarm", "join", "--token", token.trim(), &remote]));
        wait_for("it to have drawn its id", SOON, || data_dir.join("manager/member").exists().then_some(()));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        joining.join().unwrap();
    });
    joiner.kill();
    joiner.start();
    until_back(&joiner, &all[0], 3);
    assert_eq!(statuses(&all[0]).len(), 3, "it is the node that it was");
    // What there is before the first word of the others: an id, a key, and an empty log.
    joiner.kill();
    let before = member(&joiner);
    for dir in ["wal", "snap"] {
        for entry in fs::read_dir(joiner.data_dir().join("manager").join(dir)).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    joiner.start();
    wait_for_status(&all[0], "m3 Ready Reachable");
    wait_for("another id", SOON, || (!member(&joiner).is_empty() && member(&joiner) != before).then_some(()));
    until_back(&joiner, &all[0], 3);
}

#[test]
fn a_manager_that_was_demoted_can_leave_at_once() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let all = managers(&world, 3);
    for (place, by) in [(2, 0), (0, 1)] {
        all[by].skep(&["node", "demote", &all[place].hostname]).ok();
        all[place].skep(&["swarm", "leave"]).ok();
        assert_eq!(all[place].skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim(), "inactive");
        wait_for_status(&all[by], &format!("{} Down", all[place].hostname));
    }
    let refused = all[1].skep(&["swarm", "leave"]).refused(1);
    assert!(refused.contains("last manager"), "{refused}");
}
