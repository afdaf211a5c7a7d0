//! Joins that are cut short, by a daemon that is killed or by a loss of power, at every step: the next start finishes them, and nothing that
//! nobody is stays among the nodes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::swarm::statuses;
use crate::support::{Machine, SOON, World, can_run, wait_for};

/// When a join is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// As soon as that file is there.
    At(&'static str),
    /// So long after the join was written down: the managers are asked then, and answer.
    After(Duration),
}

/// Waits without a pause, because what is waited for is over in milliseconds.
fn reach(cut: Cut, data_dir: &Path) {
    let there = |file: &str| {
        let deadline = Instant::now() + SOON;
        while !data_dir.join(file).exists() {
            assert!(Instant::now() < deadline, "waited in vain for {file}");
            std::hint::spin_loop();
        }
    };
    match cut {
        Cut::At(file) => there(file),
        Cut::After(time) => {
            there("join.json");
            let until = Instant::now() + time;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
    }
}

/// Joins and is killed in the midst of it.
fn join_and_die(joiner: &mut Machine, at: &Machine, token: &str, cut: Cut) {
    let remote = format!("{}:2377", at.address);
    std::thread::scope(|scope| {
        let (data_dir, pid) = (joiner.data_dir(), joiner.pid());
        let joining = scope.spawn(|| joiner.skep(&["swarm", "join", "--token", token, &remote]));
        reach(cut, &data_dir);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        joining.join().unwrap();
    });
    joiner.kill();
}

fn state(machine: &Machine) -> String {
    machine.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim().to_owned()
}

fn nothing_is_left_of_the_join(machine: &Machine) {
    for file in [machine.data_dir().join("join.json"), machine.run_dir().join("join-token")] {
        assert!(!file.exists(), "{}", file.display());
    }
}

const STEPS: [Cut; 6] = [
    Cut::At("join.json"),
    Cut::After(Duration::from_millis(4)),
    Cut::After(Duration::from_millis(12)),
    Cut::At("certificates/root.pem"),
    Cut::At("certificates/node.pem"),
    Cut::At("swarm.json"),
];

#[test]
fn a_worker_whose_daemon_is_killed_at_any_step_of_its_join_is_there_after_a_restart() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let manager = world.machine();
    manager.init();
    for (number, cut) in STEPS.into_iter().enumerate() {
        // Every token is for one: a join that is finished by asking again must not need a second.
        let token = manager.skep(&["swarm", "join-token", "-q", "--uses", "1", "worker"]).ok();
        let mut joiner = world.machine();
        join_and_die(&mut joiner, &manager, token.trim(), cut);
        joiner.start();
        let line = format!("{} Ready", joiner.hostname);
        wait_for(&format!("{line} after {cut:?}"), SOON, || statuses(&manager).contains(&line).then_some(()));
        assert_eq!(statuses(&manager).len(), number + 2, "{cut:?}: {:?}", statuses(&manager));
        nothing_is_left_of_the_join(&joiner);
        joiner.skep(&["swarm", "leave"]).ok();
    }
}

#[test]
fn a_manager_whose_daemon_is_killed_at_any_step_of_its_join_is_there_after_a_restart() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let manager = world.machine();
    manager.init();
    let steps = STEPS.into_iter().skip(1).chain([Cut::At("manager/member"), Cut::At("manager/wal")]);
    for (number, cut) in steps.enumerate() {
        let token = manager.skep(&["swarm", "join-token", "-q", "--uses", "1", "manager"]).ok();
        let mut joiner = world.machine();
        join_and_die(&mut joiner, &manager, token.trim(), cut);
        joiner.start();
        let line = format!("{} Ready Reachable", joiner.hostname);
        wait_for(&format!("{line} after {cut:?}"), SOON, || statuses(&manager).contains(&line).then_some(()));
        assert_eq!(statuses(&manager).len(), number + 2, "{cut:?}: {:?}", statuses(&manager));
        nothing_is_left_of_the_join(&joiner);
        manager.skep(&["node", "demote", &joiner.hostname]).ok();
        joiner.skep(&["swarm", "leave"]).ok();
    }
}

#[test]
fn a_machine_that_loses_its_power_in_its_join_is_in_the_swarm_afterwards_or_never_was() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let manager = world.machine();
    manager.init();
    let token = manager.skep(&["swarm", "join-token", "-q", "worker"]).ok();
    let mut expected = 1;
    for cut in STEPS {
        let mut joiner = world.machine();
        join_and_die(&mut joiner, &manager, token.trim(), cut);
        // What lies in the run directory is gone with the power.
        fs::remove_file(joiner.run_dir().join("join-token")).ok();
        joiner.start();
        let line = format!("{} Ready", joiner.hostname);
        let is_in = wait_for("it to know what it is", SOON, || match state(&joiner).as_str() {
            "active" => statuses(&manager).contains(&line).then_some(true),
            "inactive" => Some(false),
            _ => None,
        });
        expected += usize::from(is_in);
        assert_eq!(statuses(&manager).len(), expected, "{cut:?}: {:?}", statuses(&manager));
        nothing_is_left_of_the_join(&joiner);
        if is_in {
            joiner.skep(&["swarm", "leave"]).ok();
        } else {
            assert!(!joiner.data_dir().join("certificates").exists());
        }
    }
}

#[test]
fn a_join_that_cannot_be_finished_yet_says_so_and_makes_room_for_another_one() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (mut manager, other, mut joiner) = (world.machine(), world.machine(), world.machine());
    manager.init();
    other.init();
    let token = |at: &Machine| at.skep(&["swarm", "join-token", "-q", "worker"]).ok().trim().to_owned();
    let (first, second) = (token(&manager), token(&other));
    join_and_die(&mut joiner, &manager, &first, Cut::At("join.json"));
    manager.kill();
    joiner.start();
    assert_eq!(state(&joiner), "error");
    let info = joiner.skep(&["info"]);
    assert!(format!("{}{}", info.out, info.err).contains("finish the join that was cut short"), "{info:?}");
    joiner.skep(&["swarm", "join", "--token", &second, &format!("{}:2377", other.address)]).ok();
    wait_for("it to be in the other swarm", SOON, || {
        statuses(&other).contains(&format!("{} Ready", joiner.hostname)).then_some(())
    });
    nothing_is_left_of_the_join(&joiner);
    joiner.skep(&["swarm", "leave"]).ok();
    // The other way out, and the join is finished by itself as soon as somebody is there.
    manager.start();
    join_and_die(&mut joiner, &manager, &first, Cut::At("join.json"));
    manager.kill();
    joiner.start();
    assert_eq!(state(&joiner), "error");
    manager.start();
    wait_for("the join to be finished", SOON, || {
        statuses(&manager).contains(&format!("{} Ready", joiner.hostname)).then_some(())
    });
    joiner.skep(&["swarm", "leave"]).ok();
    join_and_die(&mut joiner, &manager, &first, Cut::At("join.json"));
    manager.kill();
    joiner.start();
    joiner.skep(&["swarm", "leave"]).refused(1);
    joiner.skep(&["swarm", "leave", "--force"]).ok();
    assert_eq!(state(&joiner), "inactive");
    nothing_is_left_of_the_join(&joiner);
}
