//! More is lost than a swarm can bear: one survivor goes on, and those who come back do no harm.

use crate::managers::{join_as_manager, managers, names, statuses, wait_for_status};
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
    join_as_manager(&fifth, &all[2]);
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
