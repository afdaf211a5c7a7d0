//! Bad input: each gets one sentence and a number, and changes nothing.

use crate::support::{World, can_run};

#[test]
fn bad_service_input_is_refused_in_one_sentence() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.skep(&["service", "ls"]).refused(1);
    machine.init();
    machine.skep(&["service", "create", "-d", "--name", "web", "-p", "8080:80", "skep/hello"]).ok();
    let cases: [(&[&str], i32); 14] = [
        (&["service", "create", "-d", "--name", "web", "skep/hello"], 1),
        (&["service", "create", "-d", "--name", "WEB", "skep/hello"], 1),
        (&["service", "create", "-d", "--name=-x-", "skep/hello"], 1),
        (&["service", "create", "-d", "-p", "8080:80", "skep/hello"], 1),
        (&["service", "create", "-d", "-p", "99999:80", "skep/hello"], 2),
        (&["service", "create", "-d", "--replicas", "-1", "skep/hello"], 2),
        (&["service", "create", "-d", "--replicas", "4000000000", "skep/hello"], 1),
        (&["service", "create", "-d", "--limit-cpu", "lots", "skep/hello"], 2),
        (&["service", "create", "-d", "--limit-memory", "1b", "skep/hello"], 1),
        (&["service", "create", "-d", "--constraint", "nonsense", "skep/hello"], 2),
        (&["service", "create", "-d"], 2),
        (&["service", "create", "-d", "UPPER/case"], 1),
        (&["service", "scale", "web=-2"], 2),
        (&["service", "rm", "nobody"], 1),
    ];
    for (arguments, code) in cases {
        let said = machine.skep(arguments);
        // What the client can see by itself is wrong usage, wherever the daemon would have refused it too.
        assert!(said.code == code || said.code == 2, "{arguments:?}: {said:?}");
        let seen = said.code;
        said.refused(seen);
    }
    assert_eq!(machine.column(&["service", "ls"], "{{.Name}}"), ["web"]);
}

#[test]
fn a_port_that_a_process_holds_is_named() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    let port = format!("--net=/run/netns/{}", machine.name);
    let mut holder =
        std::process::Command::new("nsenter").args([&port, "busybox", "nc", "-l", "-p", "8080"]).spawn().unwrap();
    let listens = || String::from_utf8_lossy(&machine.run(&["ss", "-ltn"]).stdout).contains(":8080");
    crate::support::wait_for("somebody to hold the port", crate::support::SOON, || listens().then_some(()));
    let said = machine.skep(&["service", "create", "--timeout", "3s", "--name", "web", "-p", "8080:80", "skep/hello"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let sentence = said.refused(4);
    assert!(sentence.contains("8080"), "{sentence}");
}

#[test]
fn a_command_that_is_not_in_the_image_is_told() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    machine.init();
    machine.import_busybox("box");
    let said =
        machine.skep(&["service", "create", "--timeout", "3s", "--restart-delay", "100ms", "box", "/no/such/program"]);
    let sentence = said.refused(4);
    assert!(sentence.contains("/no/such/program") && sentence.contains("no such file"), "{sentence}");
}

#[test]
fn a_second_daemon_on_one_directory_is_refused() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let machine = world.machine();
    let cases = [
        (machine.data_dir(), machine.scratch("other-run"), "another skep daemon uses this data directory"),
        (machine.scratch("other-data"), machine.run_dir(), "another skep daemon uses this run directory"),
    ];
    for (data_dir, run_dir, why) in cases {
        let second = std::process::Command::new(crate::support::SKEP)
            .args([
                "daemon",
                "--data-dir",
                &data_dir.display().to_string(),
                "--run-dir",
                &run_dir.display().to_string(),
            ])
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&second.stderr).contains(why), "{why}");
        machine.skep(&["info"]).ok();
    }
}
