//! Much at once, and the same again and again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::{Machine, SOON, World, can_run, wait_for};

/// Containers of which the machine keeps anything.
fn kept(machine: &Machine) -> usize {
    fs::read_dir(machine.data_dir().join("containers")).map(|dir| dir.flatten().count()).unwrap_or_default()
}

/// A program crashes at once, for days. Elsewhere each crash leaves a task and a container behind, until the disk is full.
#[test]
fn a_program_that_crashes_for_ever_fills_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.import_busybox("box");
    machine.skep(&["service", "create", "-d", "--name", "crash", "--restart-delay", "1ms", "box", "false"]).ok();
    let mut seen = BTreeSet::new();
    wait_for("it to have crashed often", SOON, || {
        let tasks = machine.column(&["service", "ps", "--no-trunc", "crash"], "{{.ID}}");
        // Five are kept of the past; some more may just be on their way out.
        assert!(tasks.len() <= 10, "so many tasks are shown: {}", tasks.len());
        assert!(kept(&machine) <= 10, "so many containers are kept: {}", kept(&machine));
        seen.extend(tasks);
        (seen.len() >= 40).then_some(())
    });
    machine.skep(&["service", "create", "--name", "web", "skep/hello"]).ok();
    machine.skep(&["service", "rm", "crash"]).ok();
    wait_for("nothing of it to be kept", SOON, || (kept(&machine) == 1).then_some(()));
}

/// A stack is deployed and removed by a script that waits for nothing. Elsewhere the new one finds names and networks of the old one.
#[test]
fn the_same_services_come_and_go_without_a_pause() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, worker) = (world.machine(), world.machine());
    manager.init();
    worker.join(&manager);
    for _ in 0..15 {
        for (name, port) in [("web", "8080:80"), ("api", "8081:80")] {
            manager
                .skep(&["service", "create", "-d", "--name", name, "--replicas", "2", "-p", port, "skep/hello"])
                .ok();
        }
        manager.skep(&["service", "rm", "web", "api"]).ok();
    }
    for (name, port) in [("web", "8080:80"), ("api", "8081:80")] {
        manager.skep(&["service", "create", "--name", name, "--replicas", "2", "-p", port, "skep/hello"]).ok();
    }
    assert_eq!(manager.container_pids().len() + worker.container_pids().len(), 4);
    wait_for("nothing else to be kept", SOON, || (kept(&manager) + kept(&worker) == 4).then_some(()));
}

/// A hundred containers start on one machine at once. Elsewhere that takes minutes, or locks up.
#[test]
fn a_hundred_containers_start_at_once_on_one_machine() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.skep(&["service", "create", "--name", "many", "--replicas", "100", "skep/hello"]).ok();
    let pids: BTreeSet<String> = machine.container_pids().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(pids.len(), 100);
    machine.skep(&["service", "rm", "many"]).ok();
    wait_for("nothing to be kept", SOON, || (kept(&machine) == 0).then_some(()));
}

/// Somebody who asks all the time, and what they were told.
struct Client {
    curl: Child,
    codes: Receiver<String>,
}

impl Client {
    /// Asks again and again; over one connection, or over a new one each time.
    fn new(world: &World, url: &str, keeps: bool) -> Self {
        let asked = format!("{url}/?[1-1000000]");
        let close = ["-H", "Connection: close"];
        let mut arguments = vec!["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{errormsg}\n", "--no-buffer"];
        arguments.extend(if keeps { &[][..] } else { &close[..] });
        arguments.push(&asked);
        let mut curl = world.command(&arguments).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("run curl");
        let out = curl.stdout.take().expect("it is piped");
        let (say, codes) = channel();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { curl, codes }
    }

    /// Waits for so many answers from now on; all of them must be good.
    fn good(&self, count: usize) {
        for _ in 0..count {
            let code = self.codes.recv_timeout(SOON).expect("an answer in time");
            assert!(code.starts_with("200"), "{code}");
        }
    }

    /// Everything that it was told and nobody has looked at, and that all of it was good.
    fn all_good(&self) -> usize {
        let codes: Vec<String> = self.codes.try_iter().collect();
        let bad: Vec<&String> = codes.iter().filter(|code| !code.starts_with("200")).collect();
        assert!(bad.is_empty(), "{} of {} were told: {bad:?}", bad.len(), codes.len());
        codes.len()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.curl.kill());
        drop(self.curl.wait());
    }
}

/// A service is updated while it is used. Elsewhere some requests meet a task that has gone.
#[test]
fn a_service_is_updated_while_it_is_used() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    let first =
        ["service", "create", "--name", "web", "--replicas", "2", "-p", "8080:80", "--update-order", "start-first"];
    machine.skep(&[&first[..], &["skep/hello"]].concat()).ok();
    let url = format!("http://{}:8080", machine.address);
    let clients = [true, false].map(|keeps| Client::new(&world, &url, keeps));
    clients.iter().for_each(|client| client.good(20));
    let before = machine.container_pids();
    for round in 0..3 {
        machine.skep(&["service", "update", "--env-add", &format!("ROUND={round}"), "web"]).ok();
    }
    clients.iter().for_each(|client| client.good(20));
    let asked: usize = clients.iter().map(Client::all_good).sum();
    assert!(machine.container_pids().iter().all(|pid| !before.contains(pid)), "every task is another");
    eprintln!("{asked} requests and more during three updates, none failed");
}

/// What a container does that answers each caller after some seconds, and ends when it has answered those that it has taken on.
const SLOW_ANSWERS: &str = "trap 'wait; exit 0' TERM; while true; do \
    nc -l -p 80 -e sh -c 'while read line; do [ ${#line} -gt 1 ] || break; done; sleep 3; echo HTTP/1.0 200 OK; echo; echo $SKEP_TASK' \
    & wait $!; done";

/// A request that takes long is under way while its task is replaced. Elsewhere it is cut off.
#[test]
fn a_long_request_outlasts_the_update_of_its_service() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.import_busybox("box");
    let options = ["-p", "8080:80", "--update-order", "start-first", "--stop-grace-period", "60s"];
    let create = [&["service", "create", "--name", "slow"], &options[..], &["box", "sh", "-c", SLOW_ANSWERS]].concat();
    machine.skep(&create).ok();
    let old = machine.container_pids();
    let url = format!("http://{}:8080", machine.address);
    // The program may not listen yet when it counts as running; who is refused has asked for nothing.
    let curl = ["curl", "-s", "--retry", "100", "--retry-connrefused", "--retry-delay", "0", url.as_str()];
    let asking = world.command(&curl).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("run curl");
    wait_for("the request to be under way", SOON, || {
        let pid = &old[0].1;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let child = children.split_whitespace().next()?;
        let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        // What listened has become what answers.
        (!command.is_empty() && !command.starts_with(b"nc")).then_some(())
    });
    machine.skep(&["service", "update", "--force", "slow"]).ok();
    let answer = asking.wait_with_output().expect("an answer");
    let name = old[0].0.trim_start_matches('/');
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), name, "the old task has answered: {answer:?}");
    assert!(machine.container_pids().iter().all(|pid| !old.contains(pid)), "it is another task now");
}
