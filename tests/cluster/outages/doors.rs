//! Who wants to come in and is not let in: one clear sentence each, and nothing has changed.

use crate::support::swarm::{Swarm, statuses, voters};
use crate::support::{Machine, Said, World, can_run};

fn token(manager: &Machine, role: &str) -> String {
    manager.skep(&["swarm", "join-token", "-q", role]).ok().trim().to_owned()
}

fn try_join(machine: &Machine, token: &str, at: &str, more: &[&str]) -> Said {
    let mut arguments = vec!["swarm", "join", "--token", token];
    arguments.extend(more);
    arguments.push(at);
    machine.skep(&arguments)
}

/// One line, no panic, and the machine is as it was before.
#[track_caller]
fn sentence(said: Said, machine: &Machine, words: &[&str]) {
    let code = said.code;
    let sentence = said.refused(if code == 2 { 2 } else { 1 });
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(sentence.starts_with("skep: failed to "), "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
    assert_eq!(machine.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim(), "inactive");
    assert!(!machine.data_dir().join("swarm.json").exists() && !machine.data_dir().join("manager").exists());
}

#[test]
fn tokens_that_are_none_are_told_what_a_token_is() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, machine) = (world.machine(), world.machine());
    manager.init();
    let good = token(&manager, "worker");
    let at = format!("{}:2377", manager.address);
    let cut = &good[..good.len() - 3];
    let swapped = good.replacen("SWMTKN-1", "SWMTKN-9", 1);
    let upper = good.to_uppercase();
    for bad in ["", "x", "SWMTKN-1", "SWMTKN-1--", cut, &swapped, &upper, "SWMTKN-1-ä-ö"] {
        sentence(try_join(&machine, bad, &at, &[]), &machine, &["token"]);
    }
    for bad in ["", ":2377", "10.99.0.11:0", "10.99.0.11:99999", "http://10.99.0.11:2377"] {
        sentence(try_join(&machine, &good, bad, &[]), &machine, &["HOST:PORT"]);
    }
    assert_eq!(statuses(&manager), ["m1 Ready Leader"]);
    try_join(&machine, &good, &at, &[]).ok();
}

#[test]
fn a_workers_address_is_no_managers() {
    if !can_run() {
        return;
    }
    let swarm = Swarm::new(1, 1);
    let (manager, worker) = (&swarm.machines[0], &swarm.machines[1]);
    let late = swarm.world.machine();
    let said = try_join(&late, &token(manager, "worker"), &format!("{}:2377", worker.address), &[]);
    sentence(said, &late, &[&worker.address, "manager", "refused"]);
    assert_eq!(statuses(manager).len(), 2);
}

/// A manager that the others cannot reach must be found out before its vote counts. Elsewhere a second manager with a wrong address ends
/// the cluster: two have to decide, and one is nowhere.
#[test]
fn a_manager_that_nobody_can_reach_gets_no_vote() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, late) = (world.machine(), world.machine());
    manager.init();
    let (good, at) = (token(&manager, "manager"), format!("{}:2377", manager.address));
    for (wrong, words) in [
        ("10.99.0.200", "nobody answers at 10.99.0.200:2377"),
        (manager.address.as_str(), "another machine answers at"),
    ] {
        let said = try_join(&late, &good, &at, &["--advertise-addr", wrong]);
        sentence(said, &late, &[words, "--advertise-addr"]);
        assert_eq!(statuses(&manager), ["m1 Ready Leader"], "nothing is left of the try");
    }
    let said = try_join(&late, &good, &at, &["--advertise-addr", "eth9"]);
    sentence(said, &late, &["eth9"]);
    manager.skep(&["service", "create", "-d", "--replicas", "0", "--name", "there", "skep/hello"]).ok();
    try_join(&late, &good, &at, &["--advertise-addr", "eth0"]).ok();
    assert_eq!(voters(&statuses(&manager)), 2);
}

/// A machine of another cluster is none of this one's, with its token or without, in either direction.
#[test]
fn a_member_of_another_cluster_stays_one() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (ours, theirs, late) = (world.machine(), world.machine(), world.machine());
    ours.init();
    theirs.init();
    let (ours_at, theirs_at) = (format!("{}:2377", ours.address), format!("{}:2377", theirs.address));
    let said = try_join(&theirs, &token(&ours, "manager"), &ours_at, &[]).refused(1);
    assert!(said.contains("part of one already") && said.contains("skep swarm leave"), "{said}");
    sentence(try_join(&late, &token(&ours, "manager"), &theirs_at, &[]), &late, &["is not of the cluster"]);
    // A manager whose address belongs to the other cluster's manager is not taken for it.
    let said = try_join(&late, &token(&ours, "manager"), &ours_at, &["--advertise-addr", &theirs.address]);
    sentence(said, &late, &["10.99.0.12:2377", "--advertise-addr"]);
    assert_eq!((statuses(&ours), statuses(&theirs)), (vec!["m1 Ready Leader".into()], vec!["m2 Ready Leader".into()]));
}

/// A node that is removed while it runs hears of it and cleans up; one that was away hears of it when it is back.
#[test]
fn removed_nodes_hear_of_it_and_clean_up() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(1, 2);
    swarm.machines[0].skep(&["service", "create", "--name", "all", "--mode", "global", "skep/hello"]).ok();
    swarm.machines[2].kill();
    let sentence = swarm.machines[0].skep(&["node", "rm", "m2"]).refused(1);
    assert!(sentence.contains("--force") || sentence.contains("down"), "{sentence}");
    let sentence = swarm.machines[0].skep(&["node", "rm", "--force", "m1"]).refused(1);
    assert!(sentence.contains("demote"), "{sentence}");
    swarm.until_line("m3 Down");
    swarm.machines[0].skep(&["node", "rm", "--force", "m2"]).ok();
    swarm.machines[0].skep(&["node", "rm", "m3"]).ok();
    swarm.machines[2].start();
    for machine in &swarm.machines[1..] {
        crate::support::wait_for("it to have left", crate::support::SOON, || {
            let state = machine.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok();
            (state.trim() == "inactive" && machine.skep(&["ps", "-q"]).ok().is_empty()).then_some(())
        });
        assert!(!machine.data_dir().join("certificates").exists(), "who it was is forgotten");
        machine.join(&swarm.machines[0]);
    }
    assert_eq!(statuses(&swarm.machines[0]).len(), 3);
}
