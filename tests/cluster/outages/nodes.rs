//! Nodes that are cut off, come and go, move, and lack an image.

use std::time::Duration;

use crate::support::swarm::{Swarm, statuses, voters};
use crate::support::{Machine, SOON, World, can_run, wait_for};

fn replicas(manager: &Machine) -> String {
    let said = manager.skep(&["service", "ls", "--format", "{{.Replicas}}"]);
    said.out.trim().to_owned()
}

fn until_replicas(manager: &Machine, wanted: &str) {
    wait_for(wanted, SOON, || (replicas(manager) == wanted).then_some(()));
}

/// A node is cut off long enough for its tasks to be replaced, then it is back with its own. Elsewhere both run on, with the same
/// addresses.
#[test]
fn a_node_is_back_after_its_tasks_were_replaced() {
    if !can_run() {
        return;
    }
    let swarm = Swarm::new(1, 2);
    let (manager, cut) = (&swarm.machines[0], &swarm.machines[1]);
    manager.skep(&["service", "create", "--name", "web", "--replicas", "6", "-p", "8080:80", "skep/hello"]).ok();
    let old = cut.container_pids();
    assert_eq!(old.len(), 2);
    swarm.world.cable(cut, false);
    swarm.until_line("m2 Down");
    until_replicas(manager, "6/6");
    assert_eq!(cut.container_pids(), old, "nobody could tell it, so it goes on");
    let others = || [manager.container_pids(), swarm.machines[2].container_pids()].concat();
    let replaced = others();
    assert_eq!(replaced.len(), 6);
    swarm.world.cable(cut, true);
    swarm.until_line("m2 Ready");
    wait_for("the surplus to be gone", SOON, || cut.container_pids().is_empty().then_some(()));
    assert_eq!(others(), replaced, "those that took over stay");
    // A cable that has a loose contact: whatever was decided meanwhile, six run in the end, and no more.
    for _ in 0..4 {
        swarm.world.cable(cut, false);
        wait_for("the node to be missed, or its session to end", SOON, || {
            let missed = statuses(manager).contains(&"m2 Down".to_owned());
            missed.then_some(())
        });
        swarm.world.cable(cut, true);
    }
    swarm.until_line("m2 Ready");
    manager.skep(&["service", "update", "--force", "web"]).ok();
    wait_for("six and no more", SOON, || {
        let count: usize = swarm.machines.iter().map(|machine| machine.container_pids().len()).sum();
        (count == 6 && replicas(manager) == "6/6").then_some(())
    });
}

/// Machines are created and destroyed all the time. Elsewhere the dead pile up in every list, and one dead node is enough for no logs to
/// be shown at all.
#[test]
fn nodes_come_and_go_for_ever() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let manager = world.machine();
    manager.init();
    manager.skep(&["swarm", "update", "--dispatcher-heartbeat", "300ms"]).ok();
    manager.skep(&["service", "create", "--name", "all", "--mode", "global", "skep/hello"]).ok();
    for _ in 0..4 {
        let mut worker = world.machine();
        worker.join(&manager);
        wait_for("it to run its task", SOON, || (worker.container_pids().len() == 1).then_some(()));
        worker.kill();
        let down = format!("{} Down", worker.hostname);
        wait_for("it to be missed", SOON, || statuses(&manager).contains(&down).then_some(()));
        let logs = manager.skep(&["service", "logs", "all"]);
        assert!(logs.out.contains("@m1") && logs.out.contains("serving on port 80"), "{logs:?}");
        assert!(logs.err.contains("incomplete logs"), "{logs:?}");
        manager.skep(&["node", "rm", &worker.hostname]).ok();
    }
    assert_eq!(statuses(&manager), ["m1 Ready Leader"]);
    assert_eq!(replicas(&manager), "1/1");
    wait_for("nothing of them to be listed", SOON, || {
        (manager.column(&["service", "ps", "all"], "{{.Node}}") == ["m1"]).then_some(())
    });
}

/// The registry is away, or its password has expired, just when tasks must move. Elsewhere each node has to ask it, also for what it has.
/// Here no task that moves needs anything but a node that has the image, and it gets there by itself.
#[test]
fn a_task_moves_to_a_node_that_has_its_image() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(1, 3);
    for place in [1, 2] {
        swarm.machines[place].import_busybox("box");
    }
    let command = ["--restart-delay", "100ms", "box", "sleep", "1000"];
    swarm.machines[0].skep(&[&["service", "create", "--name", "one"][..], &command[..]].concat()).ok();
    let first =
        (1..3).find(|place| swarm.machines[*place].container_pids().len() == 1).expect("it runs where the image is");
    swarm.machines[first].kill();
    let second = 3 - first;
    wait_for("it to run on the other one that has the image", SOON, || {
        (swarm.machines[second].container_pids().len() == 1 && replicas(&swarm.machines[0]) == "1/1").then_some(())
    });
}

/// Every machine boots with another address, as after a move to another network. Elsewhere nobody finds anybody any more, and the cluster
/// is begun anew. Here each is told where it is itself, and one manager that it can find.
#[test]
fn all_machines_boot_with_other_addresses() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(3, 1);
    swarm.machines[0].skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    // However long the starts take here, nobody is missed meanwhile.
    swarm.machines[0].skep(&["swarm", "update", "--dispatcher-heartbeat", "20s"]).ok();
    let pids = |swarm: &Swarm| swarm.machines.iter().map(Machine::container_pids).collect::<Vec<_>>();
    let before = pids(&swarm);
    swarm.machines.iter_mut().for_each(Machine::stop);
    let hub = "10.99.0.111";
    for (number, machine) in swarm.machines.iter_mut().enumerate() {
        machine.move_to(&format!("10.99.0.{}", 111 + number));
        machine.options = ["--advertise-addr", "eth0", "--manager", hub].map(str::to_owned).to_vec();
        machine.start();
    }
    swarm.until("all to have found each other", |lines| {
        lines.iter().filter(|line| line.contains(" Ready")).count() == 4 && voters(lines) == 3
    });
    until_replicas(&swarm.machines[1], "4/4");
    assert_eq!(pids(&swarm), before, "no container noticed");
    // From now on they know it, without being told again.
    for machine in &mut swarm.machines {
        machine.kill();
        machine.options.clear();
    }
    swarm.machines.iter_mut().rev().for_each(Machine::start);
    swarm.until("all to be there again", |lines| {
        lines.iter().filter(|line| line.contains(" Ready")).count() == 4 && voters(lines) == 3
    });
    let addresses = swarm.machines[2].column(&["node", "inspect", "m1", "m2", "m3"], "{{.ManagerStatus.Addr}}");
    assert_eq!(addresses, ["10.99.0.111:2377", "10.99.0.112:2377", "10.99.0.113:2377"]);
    swarm.change(0, "after");
}

/// How long it takes, for people to read: nothing here depends on it.
#[test]
fn what_is_dead_is_missed_soon_and_its_tasks_run_elsewhere() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(3, 1);
    swarm.machines[0].skep(&["service", "create", "--name", "web", "--replicas", "8", "skep/hello"]).ok();
    let leader = swarm.leader();
    swarm.machines[leader].kill();
    let begun = std::time::Instant::now();
    let at = (leader + 1) % 3;
    swarm.change(at, "after");
    let changed = begun.elapsed();
    let down = format!("m{} Down", leader + 1);
    swarm.until("it to be down", |lines| lines.iter().any(|line| line.starts_with(&down)));
    let missed = begun.elapsed();
    wait_for("its tasks to run elsewhere", SOON, || {
        let said = swarm.machines[at].skep(&["service", "ls", "--filter", "name=web", "--format", "{{.Replicas}}"]);
        (said.out.trim() == "8/8").then_some(())
    });
    eprintln!(
        "leader killed (-9) to a change made: {changed:?}; to its node being down: {missed:?}; to its tasks running elsewhere: {:?}",
        begun.elapsed().max(Duration::ZERO)
    );
}
