//! More is lost than a swarm can bear: one survivor goes on, and those who come back do no harm.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::managers::{managers, names, wait_for_status};
use crate::support::swarm::{join_as_manager, statuses};
use crate::support::{Machine, SOON, World, can_run, wait_for};

/// What must be the same afterwards.
fn kept(machine: &Machine) -> Vec<String> {
    let mut all = vec![machine.skep(&["info", "--format", "{{.Swarm.Cluster.ID}} {{.Swarm.NodeID}}"]).ok()];
    for role in ["worker", "manager"] {
        all.push(machine.skep(&["swarm", "join-token", "-q", role]).ok());
    }
    all.push(machine.skep(&["swarm", "ca"]).ok());
    all.push(machine.column(&["service", "ls"], "{{.ID}} {{.Name}}").join("\n"));
    all
}

fn running(machine: &Machine, service: &str) -> usize {
    let filter = ["service", "ps", "--filter", "desired-state=running", service];
    let said = machine.skep(&[&filter[..], &["--format", "{{.CurrentState}}"]].concat());
    said.out.lines().filter(|state| state.starts_with("Running")).count()
}

#[test]
fn a_survivor_goes_on_alone_and_no_container_of_those_that_live_is_touched() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    let worker = world.machine();
    worker.join(&all[2]);
    wait_for_status(&all[2], "m4 Ready");
    all[0].skep(&["service", "create", "--name", "web", "--replicas", "8", "skep/hello"]).ok();
    let before = kept(&all[2]);
    let refused = all[2].skep(&["swarm", "init", "--force-new-cluster"]).refused(1);
    assert!(refused.contains("has a leader"), "{refused}");
    let refused = worker.skep(&["swarm", "init", "--force-new-cluster"]).refused(1);
    assert!(refused.contains("is a worker"), "{refused}");
    all[0].kill();
    all[1].kill();
    wait_for("info to say what is lost and what to type", SOON, || {
        let said = all[2].skep(&["info"]).err;
        let parts =
            ["has lost its quorum: 2 of its 3 managers", "m1 at 10.99", "tasks go on", "init --force-new-cluster"];
        parts.iter().all(|part| said.contains(part)).then_some(())
    });
    let (mine, theirs) = (all[2].container_pids(), worker.container_pids());
    assert_eq!((mine.len(), theirs.len()), (2, 2));
    let said = all[2].skep(&["swarm", "init", "--force-new-cluster"]).ok();
    assert!(said.contains("only manager of its swarm") && said.contains("m1") && said.contains("m2"), "{said}");
    assert_eq!(kept(&all[2]), before);
    wait_for("all eight to run on two nodes", SOON, || (running(&all[2], "web") == 8).then_some(()));
    for (machine, pids) in [(&all[2], &mine), (&worker, &theirs)] {
        let now = machine.container_pids();
        assert!(pids.iter().all(|one| now.contains(one)), "{pids:?} {now:?}");
    }
    wait_for_status(&all[2], "m1 Down");
    let fifth = world.machine();
    join_as_manager(&fifth, &all[2]).ok();
    wait_for_status(&all[2], "m5 Ready Reachable");
    // Both come back at once, and would be enough to lead what they remember.
    all[0].start();
    all[1].start();
    for number in 1..=2 {
        wait_for_status(&all[2], &format!("m{number} Ready Reachable"));
        let back = &all[number - 1];
        wait_for("it to answer as a manager", SOON, || (statuses(back).len() == 5).then_some(()));
        assert_eq!(names(back), ["web"]);
        assert_eq!(running(back, "web"), 8);
    }
    assert_eq!(kept(&all[2]), before);
    all[2].skep(&["service", "scale", "web=10"]).ok();
}

#[test]
fn a_survivor_may_go_on_at_another_address_and_a_lone_manager_need_not() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 2);
    let outside = world.machine();
    let refused = outside.skep(&["swarm", "init", "--force-new-cluster"]).refused(1);
    assert!(refused.contains("not part of a swarm"), "{refused}");
    all[0].kill();
    let odd = all[1].skep(&["swarm", "init", "--force-new-cluster", "--advertise-addr", "nosuch0"]).refused(1);
    assert!(odd.contains("nosuch0"), "{odd}");
    all[1].run(&["ip", "addr", "add", "10.99.0.77/24", "dev", "eth0"]);
    all[1].skep(&["swarm", "init", "--force-new-cluster", "--advertise-addr", "10.99.0.77"]).ok();
    let refused = all[1].skep(&["swarm", "init", "--force-new-cluster"]).refused(1);
    assert!(refused.contains("only manager of its swarm already"), "{refused}");
    let token = all[1].skep(&["swarm", "join-token", "worker"]).ok();
    assert!(token.contains("10.99.0.77:2377"), "{token}");
    outside.skep(&["swarm", "join", "--token", token.split_whitespace().nth(12).unwrap(), "10.99.0.77:2377"]);
    all[1].kill();
    all[1].start();
    wait_for_status(&all[1], "m2 Ready Leader");
}

/// Creates services one after the other until it is told to stop; gives how many were acknowledged.
fn write_on(machine: &Machine, stop: &AtomicBool, made: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let name = format!("s{:04}", made.load(Ordering::Relaxed));
        machine.skep(&["service", "create", "-d", "--replicas", "0", "--name", &name, "skep/hello"]).ok();
        made.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes a backup while others write; gives the names that must and those that may be in it.
fn backup_under_writes(writer: &Machine, taker: &Machine, file: &Path, key: &Path) -> (usize, usize) {
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| write_on(writer, &stop, &made));
        wait_for("some writes", SOON, || (made.load(Ordering::Relaxed) > 10).then_some(()));
        let before = made.load(Ordering::Relaxed);
        let drawn = taker.skep(&["backup", "-q", &file.display().to_string()]).ok();
        let after = made.load(Ordering::Relaxed) + 1;
        stop.store(true, Ordering::Relaxed);
        std::fs::write(key, drawn).unwrap();
        (before, after)
    })
}

/// A restore that must be refused: one sentence, and the machine is in no swarm afterwards.
fn refused(machine: &Machine, file: &Path, key: &Path, words: &str) {
    let (file, key) = (file.display().to_string(), key.display().to_string());
    let sentence = machine.skep(&["restore", "--key-file", &key, &file]).refused(1);
    assert!(sentence.contains(words) && sentence.lines().count() == 1, "{words}: {sentence}");
    assert_eq!(machine.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim(), "inactive");
    assert!(!machine.data_dir().join("manager").exists() && !machine.data_dir().join("swarm.json").exists());
}

fn restore_refusals(fresh: &Machine, file: &Path, key: &Path) {
    let whole = std::fs::read(file).unwrap();
    let (odd, other) = (fresh.scratch("odd"), fresh.scratch("other-key"));
    refused(fresh, &fresh.scratch("nothing"), key, "read the backup");
    std::fs::write(&other, "a key that opens nothing").unwrap();
    refused(fresh, file, &other, "the key is not the one");
    for (bytes, words) in [
        (b"#!/bin/sh\necho not a backup at all\n".to_vec(), "it is not a backup"),
        (whole[..whole.len() - 7].to_vec(), "it was cut short"),
        (whole[..whole.len() / 2].to_vec(), "it was cut short"),
        ([&whole[..], b"x"].concat(), "it is damaged"),
        (changed(&whole, whole.len() - 20), "it is damaged"),
        (changed(&whole, 200), "it is damaged"),
    ] {
        std::fs::write(&odd, bytes).unwrap();
        refused(fresh, &odd, key, words);
    }
}

fn changed(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 0x40;
    bytes
}

#[test]
fn a_backup_of_a_busy_swarm_is_restored_on_another_machine_and_workers_find_it_with_their_tasks() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    let worker = world.machine();
    worker.join(&all[0]);
    wait_for_status(&all[1], "m4 Ready");
    all[1].skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    let (file, key) = (all[1].scratch("backup"), all[1].scratch("key"));
    let (before, after) = backup_under_writes(&all[0], &all[1], &file, &key);
    let again = all[1].skep(&["backup", &file.display().to_string()]).refused(1);
    assert!(again.contains("--force"), "{again}");
    let refusal = worker.skep(&["backup", &worker.scratch("b").display().to_string()]).refused(1);
    assert!(refusal.contains("not a swarm manager") && !worker.scratch("b").exists(), "{refusal}");
    let known = kept(&all[1]);
    for machine in &mut all {
        machine.kill();
    }
    let pids = worker.container_pids();
    let fresh = world.machine();
    restore_refusals(&fresh, &file, &key);
    let (file, key) = (file.display().to_string(), key.display().to_string());
    let said = fresh.skep(&["restore", "--key-file", &key, "--availability", "drain", &file]).ok();
    assert!(said.contains("is its only manager") && said.contains("m1, m2, m3"), "{said}");
    let here = fresh.skep(&["restore", "--key-file", &key, &file]).refused(1);
    assert!(here.contains("part of one already"), "{here}");
    assert_eq!(kept(&fresh)[1..4], known[1..4], "tokens and root are the same");
    let id = |info: &str| info.split(' ').next().map(str::to_owned);
    assert_eq!(id(&kept(&fresh)[0]), id(&known[0]), "it is the same cluster");
    let mut there = names(&fresh);
    there.retain(|name| name != "web");
    there.sort();
    assert!((before..=after).contains(&there.len()), "{before} {} {after}", there.len());
    assert_eq!(there, (0..there.len()).map(|number| format!("s{number:04}")).collect::<Vec<_>>(), "one moment");
    let token = fresh.skep(&["swarm", "join-token", "-q", "worker"]).ok();
    let met = worker.skep(&["swarm", "join", "--token", token.trim(), &format!("{}:2377", fresh.address)]).ok();
    assert!(met.contains("found its swarm again"), "{met}");
    wait_for("all four to run on the worker", SOON, || (running(&fresh, "web") == 4).then_some(()));
    let now = worker.container_pids();
    assert!(pids.iter().all(|one| now.contains(one)), "{pids:?} {now:?}");
    wait_for_status(&fresh, "m1 Down");
    fresh.skep(&["service", "scale", "web=5"]).ok();
}
