//! Becoming part of a swarm, and every way in which that is refused.

use crate::support::{SOON, World, can_run, wait_for};

#[test]
fn a_worker_joins_runs_tasks_and_cannot_command() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, worker) = (world.machine(), world.machine());
    manager.init();
    worker.join(&manager);
    wait_for("both nodes to be ready", SOON, || {
        let states = manager.column(&["node", "ls"], "{{.Hostname}} {{.Status}} {{.ManagerStatus}}");
        (states.iter().any(|s| s == "m1 Ready Leader") && states.iter().any(|s| s.trim() == "m2 Ready")).then_some(())
    });
    manager.skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    assert_eq!((manager.container_pids().len(), worker.container_pids().len()), (2, 2));
    let sentence = worker.skep(&["service", "ls"]).refused(1);
    assert!(sentence.contains("not a swarm manager"), "{sentence}");
}

#[test]
fn a_wrong_token_digest_or_address_changes_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, other, worker) = (world.machine(), world.machine(), world.machine());
    manager.init();
    other.init();
    let token = manager.skep(&["swarm", "join-token", "-q", "worker"]).ok().trim().to_owned();
    let foreign = other.skep(&["swarm", "join-token", "-q", "worker"]).ok().trim().to_owned();
    let (digest, _) = token.rsplit_once('-').unwrap();
    let wrong_secret = format!("{digest}-0000000000000000000000000");
    let remote = format!("{}:2377", manager.address);
    let nowhere = "10.99.0.250:2377".to_owned();
    for (token, remote) in
        [(&wrong_secret, &remote), (&foreign, &remote), (&"SWMTKN".to_owned(), &remote), (&token, &nowhere)]
    {
        worker.skep(&["swarm", "join", "--token", token, remote]).refused(1);
        let state = worker.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok();
        assert_eq!(state.trim(), "inactive");
    }
    assert_eq!(manager.column(&["node", "ls"], "{{.Hostname}}"), ["m1"]);
    worker.skep(&["swarm", "join", "--token", &token, &remote]).ok();
    worker.skep(&["swarm", "join", "--token", &token, &remote]).refused(1);
    manager.skep(&["swarm", "init"]).refused(1);
}
