//! Another version of the binary.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::support::{Machine, SKEP, SOON, World, can_run, wait_for};

/// Puts a version of the binary where `path` says, as a package does: a new file takes the name of the old one. Versions differ in bytes
/// behind the program's end, so that nothing can take one for the other.
fn install(path: &Path, version: &str) {
    let new = path.with_extension("new");
    fs::copy(SKEP, &new).unwrap();
    fs::OpenOptions::new().append(true).open(&new).unwrap().write_all(version.as_bytes()).unwrap();
    fs::rename(new, path).unwrap();
}

fn executable(machine: &Machine) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", machine.pid())).unwrap()
}

/// The binary is replaced under fifty containers. Elsewhere they are all started anew.
#[test]
fn the_binary_is_replaced_under_fifty_containers() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let binaries = tempfile::tempdir().unwrap();
    let binary = binaries.path().join("skep");
    install(&binary, "one");
    let mut machine = world.machine_with(|machine| machine.binary.clone_from(&binary));
    machine.init();
    machine.skep(&["service", "create", "--name", "web", "--replicas", "50", "-p", "8080:80", "skep/hello"]).ok();
    let before = machine.container_pids();
    assert_eq!(before.len(), 50);
    for (version, how) in [("two", "stopped"), ("three", "killed")] {
        install(&binary, version);
        let was = executable(&machine);
        assert!(was.to_string_lossy().ends_with("(deleted)"), "{}", was.display());
        if how == "stopped" {
            machine.stop()
        } else {
            machine.kill()
        }
        machine.start();
        assert_eq!(executable(&machine), fs::canonicalize(&binary).unwrap());
        wait_for("all fifty to be seen running", SOON, || {
            (machine.column(&["service", "ls"], "{{.Replicas}}") == ["50/50"]).then_some(())
        });
        assert_eq!(machine.container_pids(), before, "no container noticed: {how}");
    }
    let answer = world.run(&["curl", "-s", &format!("http://{}:8080", machine.address)]);
    assert!(answer.status.success(), "the published port leads to them: {answer:?}");
    machine.skep(&["service", "scale", "web=52"]).ok();
    let after = machine.container_pids();
    assert!(after.len() == 52 && before.iter().all(|container| after.contains(container)));
    machine.skep(&["service", "rm", "web"]).ok();
}
