//! Nodes that are drained, that stop, leave, die and come back: what runs on them moves, or stays, and nothing is claimed of it
//! that is not known.

use crate::support::{Machine, SOON, World, can_run, wait_for};

/// A manager and so many workers, which are named m2 and on.
fn cluster(world: &World, workers: usize) -> (Machine, Vec<Machine>) {
    let manager = world.machine();
    manager.init();
    let workers: Vec<Machine> = (0..workers).map(|_| world.machine()).collect();
    workers.iter().for_each(|worker| worker.join(&manager));
    (manager, workers)
}

fn label(manager: &Machine, node: &str, label: &str) {
    manager.skep(&["node", "update", "--label-add", label, node]).ok();
}

#[test]
fn a_drain_returns_when_everything_runs_elsewhere() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, workers) = cluster(&world, 1);
    manager.skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    let kept = manager.container_pids();
    assert_eq!(workers[0].container_pids().len(), 2);
    let said = manager.skep(&["node", "update", "--availability", "drain", "m2"]).ok();
    assert!(said.contains("overall progress: 2 out of 2 tasks moved"), "{said}");
    assert!(workers[0].container_pids().is_empty());
    assert_eq!(manager.column(&["service", "ls"], "{{.Replicas}}"), ["4/4"]);
    assert!(kept.iter().all(|before| manager.container_pids().contains(before)), "the others were left alone");
    manager.skep(&["service", "create", "--name", "all", "--mode", "global", "skep/hello"]).ok();
    manager.skep(&["node", "update", "--availability", "active", "m2"]).ok();
    assert_eq!(workers[0].container_pids().len(), 1, "the global task runs when the command returns");
}

#[test]
fn a_drain_never_takes_a_service_below_its_minimum_and_says_what_it_waits_for() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, workers) = cluster(&world, 1);
    label(&manager, "m2", "zone=a");
    let pinned = ["--constraint", "node.labels.zone==a", "--replicas", "3", "--min-available", "2", "skep/hello"];
    manager.skep(&[&["service", "create", "--name", "pin"], &pinned[..]].concat()).ok();
    let sentence = manager.skep(&["node", "update", "--availability", "drain", "--timeout", "5s", "m2"]).refused(4);
    assert!(sentence.contains("pin keeps 2 of 3 tasks running, and 2 run"), "{sentence}");
    assert!(sentence.contains("no suitable node"), "{sentence}");
    assert_eq!(workers[0].container_pids().len(), 2);
    label(&manager, "m1", "zone=a");
    manager.skep(&["node", "update", "--availability", "drain", "m2"]).ok();
    assert_eq!((workers[0].container_pids().len(), manager.container_pids().len()), (0, 3));
}

#[test]
fn a_drain_without_room_stops_what_asks_for_no_minimum_and_warns() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, workers) = cluster(&world, 1);
    manager.skep(&["service", "create", "--name", "pin", "--constraint", "node.hostname==m2", "skep/hello"]).ok();
    let said = manager.skep(&["node", "update", "--availability", "drain", "m2"]);
    assert!(said.err.contains("1 of the tasks moved off node m2 do not run: pin.1"), "{said:?}");
    said.ok();
    assert!(workers[0].container_pids().is_empty());
}

#[test]
fn tasks_of_a_silent_node_are_unknown_and_stay_if_it_is_back_before_they_were_replaced() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, workers) = cluster(&world, 1);
    let worker = &workers[0];
    manager.skep(&["service", "create", "--name", "pin", "--constraint", "node.hostname==m2", "skep/hello"]).ok();
    let before = worker.container_pids();
    world.cable(worker, false);
    let row = wait_for("the task to be unknown", SOON, || {
        let rows = manager.column(&["service", "ps", "--no-trunc", "pin"], "{{.CurrentState}}|{{.Error}}");
        rows.into_iter().find(|row| row.starts_with("Unknown"))
    });
    assert!(row.contains("node m2 is down: no heartbeat for 2.9 s"), "{row}");
    assert_eq!(manager.column(&["service", "ls"], "{{.Replicas}}"), ["0/1"]);
    let rows = manager.column(&["node", "ps", "m2"], "{{.CurrentState}}");
    assert!(rows.iter().all(|state| state.starts_with("Unknown")), "{rows:?}");
    world.cable(worker, true);
    wait_for("the task to run again", SOON, || {
        (manager.column(&["service", "ls"], "{{.Replicas}}") == ["1/1"]).then_some(())
    });
    assert_eq!(worker.container_pids(), before, "the same container all along");
    assert_eq!(manager.column(&["service", "ps", "pin"], "{{.Name}}").len(), 1, "the replacement is withdrawn");
}

#[test]
fn who_leaves_is_down_at_once_and_who_stops_after_a_grace() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, mut workers) = cluster(&world, 2);
    manager.skep(&["service", "create", "--name", "web", "--replicas", "3", "skep/hello"]).ok();
    let status = |node: &str| {
        let rows = manager.column(&["node", "ls"], "{{.Hostname}} {{.Status}}");
        rows.into_iter().find(|row| row.starts_with(node)).unwrap()
    };
    workers[0].skep(&["swarm", "leave"]).ok();
    wait_for("the node that left to be down", SOON, || (status("m2") == "m2 Down").then_some(()));
    wait_for("its task elsewhere", SOON, || {
        (manager.column(&["service", "ls"], "{{.Replicas}}") == ["3/3"]).then_some(())
    });
    workers[1].stop();
    wait_for("the stop to be seen", SOON, || manager.log().contains("to=Disconnected").then_some(()));
    assert_ne!(status("m3"), "m3 Ready");
    workers[1].start();
    wait_for("the node to be back", SOON, || (status("m3") == "m3 Ready").then_some(()));
    workers[1].stop();
    wait_for("the node that stays away to be down", SOON, || (status("m3") == "m3 Down").then_some(()));
    assert!(manager.log().contains("the node was stopped"));
    wait_for("everything on the manager", SOON, || (manager.container_pids().len() == 3).then_some(()));
}

#[test]
fn another_heartbeat_reaches_a_running_cluster() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, workers) = cluster(&world, 1);
    let sentence = manager.skep(&["swarm", "update", "--dispatcher-heartbeat", "1ms"]).refused(1);
    assert!(sentence.contains("heartbeat period") && sentence.contains("between"), "{sentence}");
    manager.skep(&["swarm", "update"]).refused(2);
    manager.skep(&["swarm", "update", "--dispatcher-heartbeat", "200ms", "--task-history-limit", "2"]).ok();
    let info = manager.skep(&["info"]).ok();
    assert!(info.contains("Task History Retention Limit: 2"), "{info}");
    // The old grace of three seconds still holds for three seconds; then silence for less than 0.6 seconds is enough.
    wait_for("the quick grace", SOON, || {
        world.cable(&workers[0], false);
        let noticed = wait_for("the node to be down", SOON, || {
            let rows = manager.column(&["node", "ls", "--filter", "name=m2"], "{{.Status}}");
            (rows == ["Down"]).then(|| manager.log())
        });
        world.cable(&workers[0], true);
        wait_for("the node to be back", SOON, || {
            (manager.column(&["node", "ls", "--filter", "name=m2"], "{{.Status}}") == ["Ready"]).then_some(())
        });
        noticed.contains("no heartbeat for 0.5 s").then_some(())
    });
}
