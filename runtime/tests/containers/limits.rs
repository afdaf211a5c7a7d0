//! What the kernel enforces.

use skep_runtime::cgroup::{self, DeviceGuard, Version};
use skep_runtime::{Resources, Runtime};

use crate::Test;
use crate::support::{BUSYBOX, id, in_world, run, shell};

pub(crate) const TESTS: &[Test] = &[
    ("memory_limit_kills_and_says_so", memory_limit_kills_and_says_so),
    ("pids_limit_stops_forks", pids_limit_stops_forks),
    ("cpu_quota_is_in_force", cpu_quota_is_in_force),
    ("no_process_is_left_in_a_root_group", no_process_is_left_in_a_root_group),
    ("nested_parent_group_works_and_goes_whole", nested_parent_group_works_and_goes_whole),
    ("foreign_devices_cannot_be_opened", foreign_devices_cannot_be_opened),
    ("device_program_binds_the_members_of_its_group", device_program_binds_the_members_of_its_group),
    ("device_rules_are_written_even_if_the_group_was_there", device_rules_are_written_even_if_the_group_was_there),
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
        let script = "mknod /memory c 1 1 && mknod /disk b 7 0 && echo made; cat /memory; cat /disk; echo x > /disk; \
                      head -c 1 /dev/zero > /dev/null && head -c 1 /dev/urandom > /dev/null && : < /dev/ptmx && echo fine";
        let (_, output) = run(&runtime, "a", shell(script)).await;
        assert!(output.contains("made") && output.contains("fine"), "{output}");
        assert_eq!(output.matches("peration not permitted").count(), 3, "{output}");
    });
}

/// Also where v1 rules do this work for containers: the program is the same everywhere, and so is what the kernel makes of it.
fn device_program_binds_the_members_of_its_group() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let trees = cgroup::find(&mounts, &|_| String::new());
    let Some(tree) = trees.iter().find(|h| h.version == Version::V2) else {
        println!("SKIP device_program_binds_the_members_of_its_group: no cgroup2 mount");
        return;
    };
    let parent = format!("skep-guard-{}", std::process::id());
    let groups = cgroup::groups(std::slice::from_ref(tree), &parent, "", &Resources::default());
    DeviceGuard::load().unwrap().attach(&groups[0]).unwrap();
    let script = "echo 0 > $1/cgroup.procs && mknod $2/disk b 7 0 && : < /dev/null && echo fine; : < $2/disk";
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(BUSYBOX);
    let output = command.args(["sh", "-c", script, "sh"]).arg(&groups[0].dir).arg(dir.path()).output().unwrap();
    cgroup::remove(&groups).unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out == "fine\n" && err.contains("peration not permitted"), "{out} {err}");
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

/// As when the daemon before was killed right after it had made the group.
fn device_rules_are_written_even_if_the_group_was_there() {
    in_world(async |world| {
        let parent = std::path::Path::new("/sys/fs/cgroup/devices").join(&world.config.cgroup_parent);
        if parent.parent().is_some_and(std::path::Path::exists) {
            std::fs::create_dir(&parent).unwrap();
        }
        let runtime = world.open().await;
        let (_, output) = run(&runtime, "a", shell("mknod /disk b 7 0 && cat /disk")).await;
        assert!(output.contains("peration not permitted"), "{output}");
    });
}
