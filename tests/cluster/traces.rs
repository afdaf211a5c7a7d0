//! What is removed leaves no trace: no process, mount, cgroup, network device, rule or file.

use std::fs;
use std::path::Path;

use crate::support::{Machine, SOON, World, can_run, wait_for};

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
    let daemon = machine.pid().to_string();
    found.extend(files(Path::new("/proc")).into_iter().filter(|process| names(process, &run_dir, &daemon)));
    found
}

/// Whether it is the directory of a process that names `run_dir` or works there, other than the daemon.
fn names(process: &str, run_dir: &str, daemon: &str) -> bool {
    let arguments = fs::read(format!("{process}/cmdline")).unwrap_or_default();
    let workdir = fs::read_link(format!("{process}/cwd")).unwrap_or_default();
    let named = String::from_utf8_lossy(&arguments).contains(run_dir) || workdir.starts_with(run_dir);
    named && !process.ends_with(&format!("/{daemon}"))
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
    // The command ends with the tasks; their nodes then tidy up behind them.
    let left = |dir: &str| files(&machine.data_dir().join(dir)).is_empty().then_some(());
    wait_for("no container's directory to be left", SOON, || left("containers"));
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let none = || (!mounts().contains(&machine.run_dir().display().to_string())).then_some(());
    wait_for("no mount to be left", SOON, none);
}
