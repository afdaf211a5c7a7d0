//! Daemons come and go, containers stay.

use std::os::unix::process::CommandExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skep_runtime::ContainerStatus;
use skep_runtime::logs::LogQuery;

use crate::Test;
use crate::support::{id, in_world, lines, output, printed, shell, shims, spec, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("next_daemon_adopts_what_runs", next_daemon_adopts_what_runs),
    ("exit_and_output_of_the_time_between_are_found", exit_and_output_of_the_time_between_are_found),
    ("created_container_can_be_started_by_the_next_daemon", created_container_can_be_started_by_the_next_daemon),
    ("killed_shim_takes_the_container_along", killed_shim_takes_the_container_along),
    ("shim_killed_between_daemons_is_reported", shim_killed_between_daemons_is_reported),
    ("daemon_with_the_same_parent_group_leaves_others_alone", daemon_with_the_same_parent_group_leaves_others_alone),
    ("stopped_shim_can_be_adopted_and_removed", stopped_shim_can_be_adopted_and_removed),
    ("shim_that_has_just_begun_ends_with_its_directory", shim_that_has_just_begun_ends_with_its_directory),
    ("half_made_and_forgotten_directories_go", half_made_and_forgotten_directories_go),
];

fn next_daemon_adopts_what_runs() {
    in_world(async |world| {
        let first = world.open().await;
        first.create(id("a"), shell("trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done")).await.unwrap();
        let before = first.start(&id("a")).await.unwrap();
        printed(&first, "a", "ready").await;
        drop(first);
        let second = world.open().await;
        assert_eq!(second.inspect(&id("a")).unwrap(), before);
        let waiting = {
            let second = second.clone();
            tokio::spawn(async move { second.wait(&id("a")).await })
        };
        second.signal(&id("a"), 15).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().code, 5);
    });
}

fn exit_and_output_of_the_time_between_are_found() {
    in_world(async |world| {
        let first = world.open().await;
        let script = "trap 'seq 1 20000; exit 9' USR1; echo ready; while true; do sleep 0.05; done";
        first.create(id("a"), shell(script)).await.unwrap();
        let init = first.start(&id("a")).await.unwrap().pid.unwrap();
        printed(&first, "a", "ready").await;
        drop(first);
        kill(Pid::from_raw(i32::try_from(init).unwrap()), Signal::SIGUSR1).unwrap();
        wait_for("the end", || world.config.run_dir.join("containers/a/exit").exists());
        let second = world.open().await;
        assert_eq!(second.wait(&id("a")).await.unwrap().code, 9);
        assert_eq!(lines(&second, "a", LogQuery::default()).await.len(), 20_001);
    });
}

fn created_container_can_be_started_by_the_next_daemon() {
    in_world(async |world| {
        let first = world.open().await;
        first.create(id("a"), shell("echo late")).await.unwrap();
        drop(first);
        let second = world.open().await;
        assert_eq!(second.inspect(&id("a")).unwrap().status, ContainerStatus::Created);
        second.start(&id("a")).await.unwrap();
        second.wait(&id("a")).await.unwrap();
        assert_eq!(output(&second, "a").await, "late\n");
    });
}

fn kill_shim(world: &crate::support::World) {
    signal_shim(world, Signal::SIGKILL);
}

fn signal_shim(world: &crate::support::World, signal: Signal) {
    let [shim] = shims(world.path())[..] else { panic!("one shim runs") };
    kill(Pid::from_raw(i32::try_from(shim).unwrap()), signal).unwrap();
}

/// It neither answers nor accepts connections, of which a few already wait.
fn stopped_shim_can_be_adopted_and_removed() {
    in_world(async |world| {
        let first = world.open().await;
        let init = first.create(id("a"), spec(&["sleep", "1000"])).await.unwrap().pid.unwrap();
        first.start(&id("a")).await.unwrap();
        drop(first);
        signal_shim(&world, Signal::SIGSTOP);
        let socket = world.config.run_dir.join("containers/a/shim.sock");
        let waiting: Vec<_> = std::iter::from_fn(|| connect(&socket)).collect();
        let second = world.open().await;
        assert_eq!(second.inspect(&id("a")).unwrap().status, ContainerStatus::Running);
        second.remove(&id("a")).await.unwrap();
        wait_for("the end of the program", || is_gone(init));
        assert!(!waiting.is_empty());
    });
}

/// The daemon was killed when a shim was born that has not written anything down yet: here, a program of its name in its place.
fn shim_that_has_just_begun_ends_with_its_directory() {
    in_world(async |world| {
        drop(world.open().await);
        let (dir, program) = (world.config.run_dir.join("containers/a"), world.path().join("skep:shim"));
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut shim =
            std::process::Command::new(&program).arg0("sleep").arg("1000").current_dir(&dir).spawn().unwrap();
        wait_for("the shim", || shims(&dir) == [shim.id()]);
        drop(world.open().await);
        assert!(!dir.exists());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&shim.wait().unwrap()), Some(9));
    });
}

/// A connection, unless too many wait.
fn connect(socket: &std::path::Path) -> Option<std::os::fd::OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket as new};
    let fd = new(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_NONBLOCK, None).unwrap();
    connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &UnixAddr::new(socket).unwrap()).ok().map(|()| fd)
}

fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

fn killed_shim_takes_the_container_along() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        let init = runtime.start(&id("a")).await.unwrap().pid.unwrap();
        kill_shim(&world);
        let exit = runtime.wait(&id("a")).await.unwrap();
        assert_eq!((exit.code, exit.error.as_deref()), (137, Some("the shim was killed")));
        wait_for("the program to be gone", || is_gone(init));
    });
}

fn shim_killed_between_daemons_is_reported() {
    in_world(async |world| {
        let first = world.open().await;
        first.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        let init = first.start(&id("a")).await.unwrap().pid.unwrap();
        drop(first);
        kill_shim(&world);
        wait_for("the program to be gone", || is_gone(init));
        let second = world.open().await;
        let exit = second.wait(&id("a")).await.unwrap();
        assert_eq!((exit.code, exit.error.as_deref()), (137, Some("the shim was killed")));
    });
}

fn half_made_and_forgotten_directories_go() {
    in_world(async |world| {
        let containers =
            [world.config.run_dir.join("containers/half"), world.config.data_dir.join("containers/old/upper")];
        containers.iter().for_each(|dir| std::fs::create_dir_all(dir).unwrap());
        let group = std::path::Path::new("/sys/fs/cgroup/memory").join(&world.config.cgroup_parent).join("lost");
        if group.parent().and_then(std::path::Path::parent).is_some_and(std::path::Path::exists) {
            std::fs::create_dir_all(&group).unwrap();
        }
        let runtime = world.open().await;
        assert!(runtime.list().is_empty());
        assert!(containers.iter().all(|dir| !dir.exists()) && !group.exists());
    });
}

fn daemon_with_the_same_parent_group_leaves_others_alone() {
    in_world(async |world| {
        let first = world.open().await;
        first.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        let before = first.start(&id("a")).await.unwrap();
        let mut config = world.config.clone();
        (config.data_dir, config.run_dir) = (world.path().join("data2"), world.path().join("run2"));
        let second = skep_runtime::Runtime::open_bare(config, world.image.clone()).await.unwrap();
        second.create(id("b"), spec(&["sleep", "1000"])).await.unwrap();
        second.purge().await.unwrap();
        assert_eq!(first.inspect(&id("a")).unwrap(), before);
        assert!(!is_gone(before.pid.unwrap()));
    });
}
