//! What is removed leaves no trace: no process, mount, cgroup, network device, rule or file.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Machine, World, can_run};

/// Everything on this machine that names `machine` or what it may have made.
fn traces(machine: &Machine) -> Vec<String> {
    let mut found = Vec::new();
    let run_dir = machine.run_dir().display().to_string();
    let data_dir = machine.data_dir().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&run_dir) || line.contains(&data_dir)).map(str::to_owned));
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
        let group = hierarchy.unwrap().path().join(&machine.name);
        found.extend(group.exists().then(|| group.display().to_string()));
    }
    let links = machine.run(&["ip", "-o", "link"]);
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    found.extend(links.lines().filter(|line| !line.contains(" lo:") && !line.contains(" eth0@")).map(str::to_owned));
    let rules = machine.run(&["nft", "list", "ruleset"]);
    found.extend(String::from_utf8_lossy(&rules.stdout).lines().map(str::to_owned));
    let shims = Command::new("pgrep").args(["-af", &run_dir]).output().unwrap();
    let daemon = machine.pid().to_string();
    let foreign = |line: &&str| !line.starts_with(&daemon) && !line.contains("pgrep");
    found.extend(String::from_utf8_lossy(&shims.stdout).lines().filter(foreign).map(str::to_owned));
    found
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).map(|dir| dir.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    entries.unwrap_or_default().iter().map(|path| path.display().to_string()).collect()
}

#[test]
fn a_swarm_that_was_left_is_gone_from_the_machine() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    assert_eq!(traces(&machine), Vec::<String>::new(), "the machine begins clean");
    machine.init();
    machine
        .skep(&["service", "create", "--replicas", "5", "-p", "8080:80", "--limit-memory", "64m", "skep/hello"])
        .ok();
    assert!(!traces(&machine).is_empty());
    machine.skep(&["swarm", "leave"]).refused(1);
    machine.skep(&["swarm", "leave", "--force"]).ok();
    assert_eq!(traces(&machine), Vec::<String>::new());
    assert_eq!(files(&machine.data_dir().join("containers")), Vec::<String>::new());
    machine.init();
    machine.skep(&["service", "create", "skep/hello"]).ok();
}

#[test]
fn removed_services_leave_nothing_of_their_tasks() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    for _ in 0..5 {
        machine.skep(&["service", "create", "--name", "web", "--replicas", "4", "-p", "8080:80", "skep/hello"]).ok();
        machine.skep(&["service", "rm", "web"]).ok();
    }
    assert_eq!(files(&machine.data_dir().join("containers")), Vec::<String>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&machine.run_dir().display().to_string()));
}
