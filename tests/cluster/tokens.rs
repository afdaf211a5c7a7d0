//! Join tokens with limits, rotated ones and foreign ones: each is refused in words of its own, and nothing changes.

use crate::support::{Machine, World, can_run};

fn token(manager: &Machine, arguments: &[&str]) -> String {
    let command = ["swarm", "join-token", "-q"].iter().chain(arguments).copied().collect::<Vec<_>>();
    manager.skep(&command).ok().trim().to_owned()
}

fn try_join(machine: &Machine, manager: &Machine, token: &str) -> crate::support::Said {
    machine.skep(&["swarm", "join", "--token", token, &format!("{}:2377", manager.address)])
}

#[test]
fn every_token_that_admits_nobody_says_why() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, first, second) = (world.machine(), world.machine(), world.machine());
    manager.init();
    let standing = token(&manager, &["worker"]);
    let once = token(&manager, &["--uses", "1", "worker"]);
    assert_ne!(once, standing);
    assert_eq!(token(&manager, &["worker"]), standing, "one more token leaves the standing one");
    try_join(&first, &manager, &once).ok();
    let brief = token(&manager, &["--expires", "1ms", "worker"]);
    let gone = token(&manager, &["--expires", "1h", "worker"]);
    let rotated = token(&manager, &["--rotate", "--uses", "5", "worker"]);
    let cases = [
        (once, "was replaced by another one"),
        (gone, "was replaced by another one"),
        (standing, "was replaced by another one"),
        (brief, "was replaced by another one"),
        (token(&manager, &["--expires", "1ms", "worker"]), "the token expired"),
    ];
    for (token, words) in cases {
        let sentence = try_join(&second, &manager, &token).refused(1);
        assert!(sentence.starts_with("skep: failed to join the swarm at ") && sentence.contains(words), "{sentence}");
        assert_eq!(second.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim(), "inactive");
    }
    assert_eq!(manager.column(&["node", "ls"], "{{.Hostname}}"), ["m1", "m2"]);
    try_join(&second, &manager, &rotated).ok();
    let page = manager.skep(&["swarm", "join-token", "worker"]).ok();
    assert!(page.contains(&rotated) && page.contains("for 4 more of 5 joins"), "{page}");
}

#[test]
fn a_join_that_is_refused_for_its_address_uses_no_token_up() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, joiner) = (world.machine(), world.machine());
    manager.init();
    let once = token(&manager, &["--uses", "1", "manager"]);
    let remote = format!("{}:2377", manager.address);
    let elsewhere = ["swarm", "join", "--advertise-addr", "10.99.0.250", "--token", &once, &remote];
    let sentence = joiner.skep(&elsewhere).refused(1);
    assert!(sentence.contains("nobody answers at 10.99.0.250:2377"), "{sentence}");
    assert_eq!(joiner.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim(), "inactive");
    assert_eq!(manager.column(&["node", "ls"], "{{.Hostname}}"), ["m1"]);
    try_join(&joiner, &manager, &once).ok();
    assert_eq!(manager.column(&["node", "ls"], "{{.Hostname}}"), ["m1", "m2"]);
}
