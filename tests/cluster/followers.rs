//! Managers that do not lead: every command works there, also while leaders come and go.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Machine, SKEP, SOON, World, can_run, wait_for};

/// Three managers and a worker, all with busybox; a service may be pinned to the worker by its hostname, `m4`.
struct Swarm {
    machines: Vec<Machine>,
    world: World,
}

impl Swarm {
    fn new() -> Self {
        let world = World::new();
        let machines: Vec<Machine> = (0..4).map(|_| world.machine()).collect();
        let [first, second, third, worker] = machines.as_slice() else { panic!("there are four") };
        first.init();
        let token = first.skep(&["swarm", "join-token", "-q", "manager"]).ok();
        for manager in [second, third] {
            let remote = format!("{}:2377", first.address);
            manager.skep(&["swarm", "join", "--token", token.trim(), &remote]).ok();
        }
        worker.join(first);
        worker.import_busybox("busybox:latest");
        wait_for("all nodes to be ready", SOON, || {
            let states = first.column(&["node", "ls"], "{{.Status}}");
            (states.len() == 4 && states.iter().all(|state| state == "Ready")).then_some(())
        });
        Self { machines, world }
    }

    fn managers(&self) -> &[Machine] {
        &self.machines[..3]
    }

    /// Makes a service of one task that counts aloud on the worker.
    fn tick(&self, at: &Machine, name: &str) {
        let script = "trap exit TERM; i=0; while true; do echo line $i; i=$((i+1)); sleep 0.1; done";
        let pinned = ["--constraint", "node.hostname==m4", "busybox:latest", "sh", "-c", script];
        at.skep(&[&["service", "create", "--name", name][..], &pinned[..]].concat()).ok();
    }

    /// Place of the leader among the machines, as that manager knows it.
    fn leader(&self, at: &Machine) -> usize {
        wait_for("a leader", SOON, || {
            let said = at.skep(&["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"]);
            let name = said.out.lines().find_map(|line| line.strip_suffix(" Leader")).map(str::to_owned)?;
            self.managers().iter().position(|machine| machine.hostname == name)
        })
    }
}

impl Swarm {
    /// Changes with every change of the worker's state.
    fn worker_version(&self, at: &Machine) -> Vec<String> {
        at.column(&["node", "inspect", "m4"], "{{.Status.State}} {{.Version.Index}}")
    }

    /// The worker's agent has a session with that machine.
    fn until_worker_is_at(&self, place: usize) {
        let wanted = format!("manager=\"{}:2377\"", self.machines[place].address);
        wait_for("the worker's session", SOON, || {
            let log = self.machines[3].log();
            let newest = log.lines().rfind(|line| line.contains("session opened"))?;
            newest.contains(&wanted).then_some(())
        });
    }
}

/// `service logs -f` under way.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn new(at: &Machine, service: &str) -> Self {
        let host = format!("unix://{}", at.run_dir().join("skep.sock").display());
        let mut command = Command::new(SKEP);
        command.args(["-H", &host, "service", "logs", "--raw", "-f", service]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("follow the logs");
        let out = child.stdout.take().expect("it is piped");
        let (say, lines) = channel();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, lines }
    }

    /// The number of the next line.
    fn next(&self) -> u64 {
        let line = self.lines.recv_timeout(SOON).expect("a line in time");
        line.strip_prefix("line ").and_then(|number| number.parse().ok()).expect("lines are counted")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_command_works_on_every_manager() {
    if !can_run() {
        return;
    }
    let swarm = Swarm::new();
    for (number, at) in swarm.managers().iter().enumerate() {
        let name = format!("tick{number}");
        swarm.tick(at, &name);
        let marks = at.column(&["node", "ls"], "{{.Hostname}} {{.Self}} {{.ManagerStatus}}");
        let own: Vec<&String> = marks.iter().filter(|line| line.contains(" true ")).collect();
        assert!(own.len() == 1 && own[0].starts_with(&at.hostname), "{marks:?}");
        let count = |word: &str| marks.iter().filter(|line| line.ends_with(word)).count();
        assert_eq!((count(" Leader"), count(" Reachable")), (1, 2), "{marks:?}");
        assert_eq!(at.column(&["service", "ps", &name], "{{.Node}}"), ["m4"]);
        let following = Following::new(at, &name);
        assert!(following.next() < following.next());
        drop(following);
        at.skep(&["node", "update", "--label-add", &format!("{name}=yes"), "m4"]).ok();
        let twice = at.skep(&["service", "create", "--name", &name, "busybox:latest"]).refused(1);
        assert!(twice.contains("is taken"), "{twice}");
    }
    assert_eq!(swarm.machines[1].column(&["service", "ls"], "{{.Name}}").len(), 3);
    let labels = swarm.machines[2].column(&["node", "inspect", "m4"], "{{.Spec.Labels}}");
    assert!(["tick0", "tick1", "tick2"].iter().all(|name| labels[0].contains(name)), "{labels:?}");
    let worker = swarm.machines[3].skep(&["service", "ls"]).refused(1);
    assert!(worker.contains("this node is not a swarm manager"), "{worker}");
    for (number, at) in swarm.managers().iter().rev().enumerate() {
        at.skep(&["service", "rm", &format!("tick{number}")]).ok();
    }
    assert!(swarm.machines[0].column(&["service", "ls"], "{{.Name}}").is_empty());
}

#[test]
fn a_killed_leader_moves_no_task_and_breaks_no_follower_off() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new();
    swarm.tick(&swarm.machines[0], "tick");
    let (before, version) = (swarm.machines[3].container_pids(), swarm.worker_version(&swarm.machines[0]));
    let leader = swarm.leader(&swarm.machines[0]);
    let follower = (leader + 1) % 3;
    let following = Following::new(&swarm.machines[follower], "tick");
    let mut last = following.next();
    let killed = Instant::now();
    swarm.machines[leader].kill();
    let at = &swarm.machines[follower];
    // A change made while there is no leader waits for the next one; should it have been on its way to the old one, it may be refused.
    let mut tries = 0;
    wait_for("a change to be made", SOON, || {
        tries += 1;
        (at.skep(&["service", "create", "-d", "--name", "after", "--replicas", "0", "busybox:latest"]).code == 0)
            .then_some(())
    });
    eprintln!("leader killed to a change made through a follower: {:?}, in {tries} tries", killed.elapsed());
    let (mut gap, until) = (Duration::ZERO, Instant::now() + Duration::from_secs(6));
    while Instant::now() < until {
        let waited = Instant::now();
        let line = following.next();
        assert_eq!(line, last + 1, "no line is lost and none comes twice");
        (last, gap) = (line, gap.max(waited.elapsed()));
    }
    eprintln!("longest gap in the followed log: {gap:?}");
    assert_eq!(swarm.machines[3].container_pids(), before, "no task was moved");
    let states = at.column(&["service", "ps", "tick"], "{{.CurrentState}}");
    assert!(states.len() == 1 && states[0].starts_with("Running"), "{states:?}");
    assert_eq!(swarm.worker_version(at), version, "the worker was never down");
    let marks = at.column(&["node", "ls"], "{{.Hostname}} {{.ManagerStatus}}");
    assert!(marks.contains(&format!("m{} Unreachable", leader + 1)), "{marks:?}");
    swarm.machines[leader].start();
    wait_for("the old leader to follow", SOON, || {
        let marks = swarm.machines[leader].skep(&["node", "ls", "--format", "{{.ManagerStatus}}"]).out;
        (marks.matches("Reachable").count() == 2 && marks.contains("Leader")).then_some(())
    });
}

#[test]
fn without_a_quorum_a_command_says_what_is_lost_and_tasks_run_on() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new();
    swarm.tick(&swarm.machines[0], "tick");
    let before = swarm.machines[3].container_pids();
    for machine in &mut swarm.machines[1..3] {
        machine.kill();
    }
    let survivor = &swarm.machines[0];
    let words = wait_for("the survivor to notice", SOON, || {
        let begun = Instant::now();
        let said = survivor.skep(&["service", "scale", "-d", "tick=2"]);
        let words =
            (said.code == 1 && said.err.contains("2 of its 3 managers do not answer")).then(|| said.err.clone());
        eprintln!("{} after {:?}: {}", said.code, begun.elapsed(), said.err.trim());
        words
    });
    for part in ["failed to reach the leader of the swarm", "m2 at ", "m3 at ", "2 are needed", "start the missing"] {
        assert!(words.contains(part), "{words}");
    }
    let words = survivor.skep(&["node", "ls"]).refused(1);
    assert!(words.contains("2 of its 3 managers do not answer"), "{words}");
    assert_eq!(swarm.machines[3].container_pids(), before, "tasks run on");
    swarm.machines[2].start();
    wait_for("two managers to decide again", SOON, || {
        (swarm.machines[2].skep(&["service", "scale", "-d", "tick=2"]).code == 0).then_some(())
    });
    wait_for("both tasks to run", SOON, || (swarm.machines[3].container_pids().len() == 2).then_some(()));
    assert!(swarm.machines[3].container_pids().contains(&before[0]), "the first task was not touched");
}

/// What does not answer any more is noticed by silence alone: by the managers, by the agents, and by who waits for an answer.
#[test]
fn a_leader_that_falls_silent_is_left_before_any_task_is_moved() {
    if !can_run() {
        return;
    }
    let swarm = Swarm::new();
    swarm.tick(&swarm.machines[0], "tick");
    let (before, version) = (swarm.machines[3].container_pids(), swarm.worker_version(&swarm.machines[0]));
    for how in ["stopped", "cut off"] {
        let leader = swarm.leader(&swarm.machines[0]);
        swarm.until_worker_is_at(leader);
        let silent = &swarm.machines[leader];
        let pid = nix::unistd::Pid::from_raw(silent.pid());
        let set = |silenced: bool| match (how, silenced) {
            ("stopped", true) => nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap(),
            ("stopped", false) => nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap(),
            _ => swarm.world.cable(silent, !silenced),
        };
        set(true);
        let begun = Instant::now();
        let at = &swarm.machines[(leader + 1) % 3];
        wait_for("a change to be made", SOON, || {
            let name = format!("after-{}", how.replace(' ', "-"));
            let said = at.skep(&["service", "create", "-d", "--name", &name, "--replicas", "0", "busybox:latest"]);
            (said.code == 0).then_some(())
        });
        let changed = begun.elapsed();
        let next = wait_for("another leader", SOON, || Some(swarm.leader(at)).filter(|next| *next != leader));
        swarm.until_worker_is_at(next);
        eprintln!(
            "leader {how}: a change after {changed:?}, the worker at the next leader after {:?}",
            begun.elapsed()
        );
        assert_eq!(at.column(&["service", "ps", "tick"], "{{.Node}}"), ["m4"], "its task is where it was");
        set(false);
        wait_for("it to follow", SOON, || {
            let marks = at.column(&["node", "ls"], "{{.ManagerStatus}}");
            (marks.iter().filter(|mark| *mark == "Reachable").count() == 2).then_some(())
        });
    }
    assert_eq!(swarm.machines[3].container_pids(), before, "no task was moved");
    assert_eq!(swarm.worker_version(&swarm.machines[0]), version, "the worker was never down");
}
