//! Services from the first command to the last.

use crate::support::{SOON, World, can_run, wait_for};

#[test]
fn a_service_runs_answers_scales_and_goes() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.skep(&["service", "create", "--name", "web", "--replicas", "2", "-p", "8080:80", "skep/hello"]).ok();
    assert_eq!(machine.column(&["service", "ls"], "{{.Name}} {{.Replicas}}"), ["web 2/2"]);

    let answer = |url: &str| {
        let output = world.run(&["curl", "-s", "--max-time", "5", url]);
        String::from_utf8(output.stdout).unwrap()
    };
    let url = format!("http://{}:8080/", machine.address);
    let tasks: std::collections::BTreeSet<String> = (0..20)
        .filter_map(|_| answer(&url).lines().find(|line| line.starts_with("task:")).map(str::to_owned))
        .collect();
    assert_eq!(tasks.len(), 2, "both tasks answer: {tasks:?}");

    machine.skep(&["service", "scale", "web=4"]).ok();
    assert_eq!(machine.column(&["service", "ps", "web"], "{{.Name}} {{.DesiredState}}").len(), 4);
    machine.skep(&["service", "scale", "web=1"]).ok();
    assert_eq!(machine.column(&["service", "ls"], "{{.Replicas}}"), ["1/1"]);
    machine.skep(&["service", "rm", "web"]).ok();
    assert!(machine.column(&["service", "ls"], "{{.Name}}").is_empty());
    assert!(machine.skep(&["ps", "-aq"]).ok().is_empty());
}

#[test]
fn a_task_that_fails_is_restarted_in_its_slot_and_says_why() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.import_busybox("box");
    let create =
        ["service", "create", "-d", "--name", "flaky", "--restart-delay", "100ms", "box", "sh", "-c", "exit 7"];
    machine.skep(&create).ok();
    wait_for("two tasks of slot 1 that failed with 7", SOON, || {
        let rows = machine.column(&["service", "ps", "--no-trunc", "flaky"], "{{.Name}}|{{.Error}}");
        (rows.iter().filter(|row| row.contains("flaky.1") && row.contains("non-zero exit (7)")).count() >= 2)
            .then_some(())
    });
}

#[test]
fn a_service_that_cannot_run_times_out_with_the_reason() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    let create = ["service", "create", "--timeout", "2s", "--constraint", "node.labels.zone==moon", "skep/hello"];
    let sentence = machine.skep(&create).refused(4);
    assert!(sentence.contains("no suitable node"), "{sentence}");
    let sentence = machine.skep(&["service", "create", "--timeout", "2s", "nothing:here"]).refused(4);
    assert!(sentence.contains("no such image"), "{sentence}");
}

#[test]
fn an_update_replaces_one_slot_after_another() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.skep(&["service", "create", "--name", "web", "--replicas", "3", "skep/hello"]).ok();
    let before = machine.container_pids();
    machine.skep(&["service", "update", "--env-add", "A=B", "web"]).ok();
    let after = machine.container_pids();
    assert_eq!((before.len(), after.len()), (3, 3));
    assert!(after.iter().all(|new| !before.contains(new)), "every task is a new one");
    machine.skep(&["service", "update", "--replicas", "3", "web"]).ok();
    assert_eq!(machine.container_pids(), after, "an update that changes nothing restarts nothing");
    machine.skep(&["service", "update", "--force", "web"]).ok();
    assert!(machine.container_pids().iter().all(|new| !after.contains(new)), "--force replaces them all the same");
}

#[test]
fn logs_of_every_task_are_labelled() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.import_busybox("box");
    let script = "for i in $(seq 1 50); do echo line $i; done; echo bad >&2; sleep 1000";
    machine.skep(&["service", "create", "--name", "talk", "--replicas", "2", "box", "sh", "-c", script]).ok();
    let said = wait_for("every line of both tasks", SOON, || {
        let said = machine.skep(&["service", "logs", "talk"]);
        (said.out.matches("line 50").count() == 2 && said.err.matches("bad").count() == 2).then_some(said)
    });
    assert_eq!(said.out.lines().count(), 100);
    let labelled = |line: &str| line.starts_with("talk.") && line.contains(&format!("@{}", machine.hostname));
    assert!(said.out.lines().all(labelled), "{}", said.out);
}

#[test]
fn a_global_service_runs_once_on_every_node_that_fits() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, worker) = (world.machine(), world.machine());
    manager.init();
    worker.join(&manager);
    manager.skep(&["service", "create", "--name", "all", "--mode", "global", "skep/hello"]).ok();
    let nodes = manager.column(&["service", "ps", "all"], "{{.Node}}");
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    manager.skep(&["node", "update", "--availability", "drain", "m2"]).ok();
    wait_for("the drained node to be empty", SOON, || worker.skep(&["ps", "-q"]).ok().is_empty().then_some(()));
    manager.skep(&["node", "update", "--availability", "active", "m2"]).ok();
    wait_for("the node to run it again", SOON, || (!worker.skep(&["ps", "-q"]).ok().is_empty()).then_some(()));
}
