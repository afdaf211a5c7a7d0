//! Daemons, shims and containers that are killed: nothing is lost and nothing is left.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, SOON, World, can_run, wait_for};

fn running(machine: &Machine, service: &str) -> usize {
    let rows = machine.column(&["service", "ps", "--filter", "desired-state=running", service], "{{.CurrentState}}");
    rows.iter().filter(|state| state.starts_with("Running")).count()
}

fn shoot(pid: &str) {
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn containers_keep_their_processes_when_the_daemon_is_killed() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut machine = world.machine();
    machine.init();
    machine.skep(&["service", "create", "--name", "web", "--replicas", "3", "skep/hello"]).ok();
    let before = machine.container_pids();
    for _ in 0..3 {
        machine.kill();
        machine.start();
        wait_for("the tasks to be seen running", SOON, || (running(&machine, "web") == 3).then_some(()));
        assert_eq!(machine.container_pids(), before);
    }
    machine.stop();
    machine.start();
    assert_eq!(machine.container_pids(), before, "a clean stop leaves them too");
    machine.skep(&["service", "scale", "web=4"]).ok();
}

#[test]
fn what_happened_while_the_daemon_was_down_is_known_afterwards() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut machine = world.machine();
    machine.init();
    machine.import_busybox("box");
    let go = machine.scratch("unused");
    assert!(!go.exists());
    // The program ends when its daemon is gone: it watches for the daemon's process through nothing but time and its own pid 1.
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 3";
    machine
        .skep(&["service", "create", "--name", "job", "--restart-condition", "none", "box", "sh", "-c", script])
        .ok();
    let pid = machine.container_pids().remove(0).1;
    machine.kill();
    wait_for("the program to end without a daemon", SOON, || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    machine.start();
    wait_for("the exit code to be known", SOON, || {
        let rows = machine.column(&["service", "ps", "--no-trunc", "job"], "{{.CurrentState}} {{.Error}}");
        rows.iter().any(|row| row.starts_with("Failed") && row.contains("(3)")).then_some(())
    });
    let logs = machine.skep(&["service", "logs", "--raw", "job"]).ok();
    let lines: Vec<&str> = logs.lines().collect();
    assert_eq!(lines, (0..300).map(|i| format!("line {i}")).collect::<Vec<_>>(), "no line is lost");
}

#[test]
fn killed_containers_and_shims_are_replaced() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine
        .skep(&["service", "create", "--name", "web", "--replicas", "3", "--restart-delay", "10ms", "skep/hello"])
        .ok();
    for round in 0..6 {
        let (name, pid) = machine.container_pids().remove(round % 3);
        let victim = if round % 2 == 0 { pid.clone() } else { parent(&pid) };
        shoot(&victim);
        wait_for("the dead task to be replaced", SOON, || {
            let now = machine.container_pids();
            (now.len() == 3 && !now.contains(&(name.clone(), pid.clone())) && running(&machine, "web") == 3)
                .then_some(())
        });
    }
}

fn parent(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned()
}

#[test]
fn an_acknowledged_service_survives_a_kill_at_any_moment() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut machine = world.machine();
    machine.init();
    for round in 0..5 {
        for number in 0..4 {
            let name = format!("s{round}-{number}");
            machine.skep(&["service", "create", "-d", "--replicas", "0", "--name", &name, "skep/hello"]).ok();
        }
        machine.kill();
        machine.start();
        assert_eq!(machine.column(&["service", "ls"], "{{.Name}}").len(), (round + 1) * 4);
    }
}

#[test]
fn tasks_of_a_dead_worker_run_elsewhere_and_it_may_come_back() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, mut worker) = (world.machine(), world.machine());
    manager.init();
    worker.join(&manager);
    manager.skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    assert_eq!(worker.container_pids().len(), 2, "two of four run on each node");
    worker.kill();
    wait_for("the node to be down", SOON, || {
        let states = manager.column(&["node", "ls"], "{{.Hostname}} {{.Status}}");
        states.contains(&"m2 Down".to_owned()).then_some(())
    });
    wait_for("all four on the manager", SOON, || (manager.container_pids().len() == 4).then_some(()));
    worker.start();
    wait_for("the node to be back without its old tasks", SOON, || worker.container_pids().is_empty().then_some(()));
    assert_eq!(running(&manager, "web"), 4);
}
