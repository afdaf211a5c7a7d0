//! Disks that are full, hang, or forget what they have acknowledged.

use std::fs;

use crate::support::disk::Disk;
use crate::support::swarm::{Swarm, join_as_manager, statuses, voters};
use crate::support::{Machine, SOON, World, can_run, wait_for};

/// Three managers, of which the first leads and has its data on a disk of its own.
fn with_disk(make: impl FnOnce(&Machine) -> Option<Disk>) -> Option<Swarm> {
    let world = World::new();
    let first = world.machine_with(|machine| machine.disk = make(machine));
    first.disk.as_ref()?;
    first.init();
    let mut machines = vec![first];
    for _ in 0..2 {
        let next = world.machine();
        join_as_manager(&next, &machines[0]).ok();
        machines.push(next);
    }
    let swarm = Swarm { machines, world, silent: None };
    swarm.until("three managers", |lines| voters(lines) == 3 && lines.contains(&"m1 Ready Leader".to_owned()));
    Some(swarm)
}

fn disk(swarm: &Swarm) -> &Disk {
    swarm.machines[0].disk.as_ref().expect("it has one")
}

/// The leader's disk fills up in the middle of a write. Elsewhere its log is broken from then on, and with it the manager, or the cluster.
/// Here another one leads at once, what runs runs on, and the full one is back as soon as there is room.
#[test]
fn the_leaders_disk_is_full() {
    if !can_run() {
        return;
    }
    let mut swarm = with_disk(|machine| Some(Disk::small(&machine.data_dir(), 24))).expect("memory can be mounted");
    swarm.machines[0].skep(&["service", "create", "--name", "web", "--replicas", "3", "skep/hello"]).ok();
    let before: Vec<_> = swarm.machines.iter().map(Machine::container_pids).collect();
    disk(&swarm).fill();
    // Small writes still fit into what the log has set aside; then they do not.
    let mut number = 0;
    wait_for("another leader", SOON, || {
        number += 1;
        let label = format!("{}={}", number, "x".repeat(64 << 10));
        let said = swarm.machines[1].skep(&["service", "update", "-d", "--label-add", &label, "web"]);
        let lines = statuses(&swarm.machines[1]);
        let leads = lines.iter().any(|line| line.ends_with(" Leader") && !line.starts_with("m1 "));
        (leads && said.code == 0).then_some(())
    });
    swarm.change(1, "while-full");
    let after: Vec<_> = swarm.machines.iter().map(Machine::container_pids).collect();
    assert_eq!(before, after, "no container noticed");
    let info = swarm.machines[0].skep(&["info"]);
    assert!(info.err.contains("this manager takes no changes") && info.err.contains("No space left"), "{info:?}");
    disk(&swarm).empty();
    swarm.until_line("m1 Ready Reachable");
    // And what it has is good: it is read at the next start.
    swarm.machines[0].kill();
    swarm.machines[0].start();
    swarm.until_line("m1 Ready Reachable");
    swarm.machines[1].kill();
    let names = wait_for("the full one and another to be a majority", SOON, || {
        let said = swarm.machines[0].skep(&["service", "ls", "--format", "{{.Name}}"]);
        (said.code == 0).then_some(said.out)
    });
    assert_eq!(names.lines().collect::<Vec<_>>(), ["web", "while-full"]);
}

/// A worker's disk fills up. Elsewhere it gets task after task, and none of them ever begins. Here it gets no more, what it could not begin
/// runs elsewhere, what it runs goes on, and it is back as soon as there is room.
#[test]
fn a_workers_disk_is_full() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let manager = world.machine();
    manager.init();
    // With room for the image, which is the binary itself.
    let full = world.machine_with(|machine| machine.disk = Some(Disk::small(&machine.data_dir(), 300)));
    let other = world.machine();
    [&full, &other].iter().for_each(|worker| worker.join(&manager));
    let create = |name: &str, more: &[&str]| {
        let shape = ["service", "create", "--name", name, "--constraint", "node.role==worker"];
        manager.skep(&[&shape[..], more, &["skep/hello"]].concat())
    };
    create("web", &["--replicas", "4"]).ok();
    let before = full.container_pids();
    assert_eq!(before.len(), 2);
    full.disk.iter().for_each(Disk::fill);
    create("late", &["-d", "--replicas", "4", "--stop-grace-period", "1s"]).ok();
    wait_for("the trouble to be told", SOON, || {
        let said = manager.skep(&["node", "inspect", "m2", "--format", "{{.Status.Message}}"]);
        said.out.contains("No space left").then_some(())
    });
    create("next", &["--replicas", "4"]).ok();
    let names = |machine: &Machine, of: &str| {
        let of = format!("/{of}.");
        machine.container_pids().iter().filter(|(name, _)| name.starts_with(&of)).count()
    };
    assert_eq!((names(&full, "next"), names(&other, "next")), (0, 4));
    wait_for("what could not begin to run elsewhere", SOON * 2, || (names(&other, "late") == 4).then_some(()));
    assert!(before.iter().all(|container| full.container_pids().contains(container)), "what ran runs on");
    full.disk.iter().for_each(Disk::empty);
    wait_for("it to take tasks again", SOON, || {
        manager.skep(&["service", "update", "--force", "next"]).ok();
        (names(&full, "next") > 0).then_some(())
    });
}

/// The leader's disk does not answer: a write takes seconds, or for ever. Elsewhere every change waits for it. Here another one leads.
#[test]
fn the_leaders_disk_hangs() {
    if !can_run() {
        return;
    }
    let Some(mut swarm) = with_disk(|machine| Disk::freezable(&machine.data_dir(), 64)) else {
        assert!(std::env::var_os("SKEP_REQUIRE_ALL").is_none(), "a disk that hangs needs a loop device");
        eprintln!("SKIP: there are no loop devices");
        return;
    };
    disk(&swarm).freeze();
    swarm.silent = Some(0);
    swarm.change(1, "while-it-hangs");
    assert_ne!(swarm.leader(), 0);
    disk(&swarm).thaw();
    swarm.silent = None;
    swarm.until_line("m1 Ready Reachable");
    wait_for("it to have what it missed", SOON, || {
        let said = swarm.machines[0].skep(&["service", "ls", "--format", "{{.Name}}"]);
        (said.out.trim() == "while-it-hangs").then_some(())
    });
}

/// A manager starts with less of its log than it acknowledged: the end was cut off, or an older copy was put back. Elsewhere it panics at
/// each start. Here the leader sends it what is missing.
#[test]
fn a_manager_starts_with_an_older_log_than_it_had() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(3, 0);
    let leader = swarm.leader();
    let victim = (leader + 1) % 3;
    swarm.machines[victim].stop();
    let state = swarm.machines[victim].data_dir().join("manager");
    let copy = swarm.machines[victim].scratch("copy");
    copied(&state, &copy);
    swarm.machines[victim].start();
    swarm.until("all to be heard", |lines| voters(lines) == 3);
    // Without the third one, nothing is acknowledged that the victim does not have.
    let third = 3 - leader - victim;
    swarm.machines[third].stop();
    for number in 0..20 {
        swarm.change(leader, &format!("s{number}"));
    }
    swarm.machines[victim].kill();
    fs::remove_dir_all(&state).unwrap();
    copied(&copy, &state);
    swarm.machines[victim].start();
    swarm.machines[third].start();
    let words = "lost entries that were acknowledged";
    wait_for("it to find out, unless another leader sends all anyway", SOON, || {
        (swarm.machines[victim].log().contains(words) || swarm.leader() != leader).then_some(())
    });
    swarm.until("all to be heard again", |lines| voters(lines) == 3);
    // Only it and one more are left: it must have everything that was acknowledged.
    swarm.machines[leader].kill();
    let names = wait_for("the two to decide", SOON, || {
        let said = swarm.machines[victim].skep(&["service", "ls", "--format", "{{.Name}}"]);
        (said.code == 0).then_some(said.out)
    });
    assert_eq!(names.lines().count(), 20, "{names}");
    assert!(!swarm.machines[victim].log().contains("panicked"), "{}", swarm.machines[victim].log());
}

fn copied(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
