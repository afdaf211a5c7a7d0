//! What the kernel enforces.

use skep_runtime::{Resources, Runtime};

use crate::Test;
use crate::support::{id, in_world, run, shell};

pub(crate) const TESTS: &[Test] = &[
    ("memory_limit_kills_and_says_so", memory_limit_kills_and_says_so),
    ("pids_limit_stops_forks", pids_limit_stops_forks),
    ("cpu_quota_is_in_force", cpu_quota_is_in_force),
    ("no_process_is_left_in_a_root_group", no_process_is_left_in_a_root_group),
    ("nested_parent_group_works_and_goes_whole", nested_parent_group_works_and_goes_whole),
    ("foreign_devices_cannot_be_opened", foreign_devices_cannot_be_opened),
];

fn memory_limit_kills_and_says_so() {
    in_world(async |world| {
        let runtime = world.open().await;
        let mut spec = shell("exec dd if=/dev/zero of=/dev/null bs=200M count=1");
        spec.resources = Resources { memory_bytes: 20 << 20, ..Resources::default() };
        let (exit, output) = run(&runtime, "a", spec).await;
        assert_eq!((exit.code, exit.oom_killed), (137, true), "{output}");
    });
}

fn pids_limit_stops_forks() {
    in_world(async |world| {
        let runtime = world.open().await;
        let mut spec = shell("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all");
        spec.resources = Resources { pids: 4, ..Resources::default() };
        let (exit, output) = run(&runtime, "a", spec).await;
        assert!(exit.code != 0 && output.contains("can't fork"), "{exit:?} {output}");
    });
}

fn cpu_quota_is_in_force() {
    in_world(async |world| {
        let runtime = world.open().await;
        let mut spec = shell("cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null; true");
        spec.resources = Resources { nano_cpus: 250_000_000, ..Resources::default() };
        let (_, output) = run(&runtime, "a", spec).await;
        assert!(output.starts_with("25000"), "{output}");
    });
}

fn no_process_is_left_in_a_root_group() {
    in_world(async |world| {
        let runtime = world.open().await;
        let info = runtime.create(id("a"), shell("sleep 1000")).await.unwrap();
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", info.pid.unwrap())).unwrap();
        let own = format!("/{}/a", world.config.cgroup_parent);
        let outside: Vec<&str> = text.lines().filter(|l| !l.ends_with(&own)).collect();
        assert!(outside.is_empty(), "{outside:?}");
    });
}

fn foreign_devices_cannot_be_opened() {
    in_world(async |world| {
        let runtime = world.open().await;
        if !std::path::Path::new("/sys/fs/cgroup/devices").exists() {
            println!("SKIP foreign_devices_cannot_be_opened: no v1 devices controller");
            return;
        }
        // Busybox without mknod: the node is in the layer.
        let node = world.image.layers[0].join("memory");
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&node, nix::sys::stat::SFlag::S_IFCHR, mode, nix::sys::stat::makedev(1, 1)).unwrap();
        let (_, output) = run(&runtime, "a", shell("head -c 1 /dev/zero >/dev/null && echo fine; cat /memory")).await;
        assert!(output.contains("fine") && output.contains("Operation not permitted"), "{output}");
    });
}

fn nested_parent_group_works_and_goes_whole() {
    in_world(async |world| {
        let mut config = world.config.clone();
        config.cgroup_parent.push_str("/inner/most");
        let runtime = Runtime::open_bare(config, world.image.clone()).await.unwrap();
        let mut spec = shell("exit 4");
        spec.resources = Resources { pids: 5, memory_bytes: 64 << 20, nano_cpus: 1_000_000_000 };
        assert_eq!(run(&runtime, "a", spec).await.0.code, 4);
        runtime.purge().await.unwrap();
        world.assert_clean();
    });
}
