//! The command line as a process: what it prints where, and the number it ends with, against a daemon that a test makes up.
#![expect(clippy::unwrap_used, reason = "a test that cannot start its own process has failed")]

mod fake;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use fake::{Fake, Table, Told, id, service, skep};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skep_proto::pb;

/// More than one piece of an upload, and not a whole number of them.
const ARCHIVE_BYTES: usize = 600_001;

fn running(spec_version: u64) -> pb::ServiceProgress {
    let slot = pb::SlotProgress { slot: 1, state: pb::TaskState::Running.into(), ..Default::default() };
    pb::ServiceProgress {
        desired: 1,
        running: 1,
        slots: vec![slot],
        converged: true,
        spec_version,
        ..Default::default()
    }
}

fn stuck() -> pb::ServiceProgress {
    let error = "no suitable node (1 node: not enough memory)".to_owned();
    let slot = pb::SlotProgress { slot: 1, state: pb::TaskState::Pending.into(), error, ..Default::default() };
    pb::ServiceProgress { desired: 1, slots: vec![slot], spec_version: 1, ..Default::default() }
}

fn removed() -> pb::ServiceProgress {
    pb::ServiceProgress { removed: true, converged: true, ..Default::default() }
}

fn table(names: &[&str], progress: Vec<pb::ServiceProgress>) -> Table {
    let services = names.iter().map(|name| ((*name).to_owned(), service(name, None))).collect();
    Table { services, progress, ..Table::default() }
}

fn replicas(fake: &Fake, name: &str) -> Option<pb::service_spec::Mode> {
    fake.table().services[name].spec.as_ref().and_then(|spec| spec.mode)
}

fn ended(told: &Told, code: i32) {
    assert_eq!(told.code, Some(code), "{told:?}");
}

#[test]
fn create_prints_the_id_and_returns_when_converged() {
    let fake = Fake::start(table(&[], vec![stuck(), running(1)]));
    let told = fake.run("service create --name web -e A=1 busybox sleep 1000");
    ended(&told, 0);
    let id = id(&service("web", None));
    let wanted = format!(
        "{id}\noverall progress: 0 out of 1 tasks\n1/1: no suitable node (1 node: not enough memory)\n\
         overall progress: 1 out of 1 tasks\nverify: Service {id} converged\n"
    );
    assert_eq!((told.out, told.err), (wanted, String::new()));
}

#[test]
fn quiet_and_detached_creation_print_only_the_id() {
    for flag in ["-q", "-d", "--detach=true"] {
        let fake = Fake::start(table(&[], vec![running(1)]));
        let told = fake.run(&format!("service create {flag} --name web busybox"));
        ended(&told, 0);
        assert_eq!(told.out, id(&service("web", None)) + "\n");
    }
}

#[test]
fn a_wait_that_times_out_ends_with_4_and_says_why() {
    let fake = Fake::start(table(&[], vec![stuck()]));
    let told = fake.run("service create --name web --timeout 100ms busybox");
    ended(&told, 4);
    let wanted = "skep: failed to see service web converge within 100ms: 0 of 1 tasks run; slot 1: no suitable node (1 node: \
                  not enough memory); it goes on in the background: skep service ps web tells more\n";
    assert_eq!(told.err, wanted);
}

#[test]
fn an_interrupted_wait_leaves_the_work_in_the_background() {
    let fake = Fake::start(table(&[], vec![stuck()]));
    let mut child = fake.command("service create --name web busybox").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The wait has begun when its first line is there.
    assert!(lines.by_ref().any(|line| line.starts_with("1/1:")));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let id = id(&service("web", None));
    assert_eq!(
        rest,
        ["Operation continuing in background.".to_owned(), format!("Use `skep service ps {id}` to check progress.")]
    );
}

#[test]
fn a_watch_that_breaks_off_is_taken_up_again() {
    let fake = Fake::start(Table { broken_watches: 2, ..table(&[], vec![running(1)]) });
    ended(&fake.run("service create --name web busybox"), 0);
}

#[test]
fn an_update_is_made_anew_when_somebody_else_was_quicker() {
    let fake = Fake::start(Table { stale_updates: 3, ..table(&["web"], vec![running(1), running(2)]) });
    ended(&fake.run("service update --image busybox:2 web"), 0);
    let spec = fake.table().services["web"].spec.clone().unwrap_or_default();
    assert_eq!(
        spec.task.and_then(|task| task.container).map(|container| container.image),
        Some("busybox:2".to_owned())
    );
    fake.table().stale_updates = 100;
    let told = fake.run("service update --force web");
    ended(&told, 1);
    assert_eq!(told.err, "skep: failed to update the service: somebody else was quicker\n");
}

#[test]
fn scaling_tells_of_each_service() {
    let fake = Fake::start(table(&["a", "b"], vec![running(2)]));
    let told = fake.run("service scale -q a=3 nosuch=1 b=0");
    ended(&told, 1);
    assert_eq!(told.out, "a scaled to 3\nb scaled to 0\n");
    assert_eq!(told.err, "skep: failed to find service \"nosuch\": there is none\n");
    let wanted = |replicas| Some(pb::service_spec::Mode::Replicated(pb::Replicated { replicas }));
    assert_eq!((replicas(&fake, "a"), replicas(&fake, "b")), (wanted(3), wanted(0)));
}

#[test]
fn removal_waits_for_the_last_task_and_goes_through_all_names() {
    let fake =
        Fake::start(table(&["a", "b"], vec![pb::ServiceProgress { leftover: 2, ..Default::default() }, removed()]));
    let told = fake.run("service rm a nosuch b");
    ended(&told, 1);
    assert_eq!(told.out, "a\nb\n");
    assert_eq!(told.err, "skep: failed to find service \"nosuch\": there is none\n");
    assert!(fake.table().services.is_empty());
    let slow = Fake::start(table(&["a"], vec![pb::ServiceProgress { leftover: 2, ..Default::default() }]));
    let told = slow.run("service rm --timeout 100ms a");
    ended(&told, 4);
    assert!(told.err.contains("2 tasks have not stopped yet"), "{told:?}");
}

#[test]
fn listings_have_every_format() {
    let fake = Fake::start(table(&["web-10", "web-2"], Vec::new()));
    assert_eq!(fake.run("service ls --format {{.Name}}={{.Replicas}}").out, "web-2=1/1\nweb-10=1/1\n");
    assert_eq!(fake.run("service ls -q -f name=web-2").out, format!("{}\n", &id(&service("web-2", None))[..12]));
    assert!(fake.run("service ls --format json").out.starts_with("{\"ID\":"));
    let told = fake.run("service ls --filter color=red");
    ended(&told, 2);
    assert!(told.err.starts_with("skep: failed to filter by \"color\""), "{told:?}");
    ended(&fake.run("service ls --format {{.Nope}}"), 2);
}

#[test]
fn inspection_prints_what_is_there_and_fails_with_the_rest() {
    let fake = Fake::start(table(&["web"], Vec::new()));
    let told = fake.run("service inspect web nosuch");
    ended(&told, 1);
    let shown: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(shown[0]["Spec"]["Mode"], serde_json::json!({"Replicated": {"Replicas": 1}}));
    assert_eq!(fake.run("inspect --format {{.Spec.Name}} web").out, "web\n");
    assert!(fake.run("service inspect --pretty web").out.contains("Name:\t\tweb\n"));
}

#[test]
fn an_archive_goes_through_standard_input_byte_for_byte() {
    let fake = Fake::start(Table::default());
    let bytes: Vec<u8> = (0..ARCHIVE_BYTES).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut command = fake.command("import --change");
    let mut child =
        command.args(["CMD [\"sh\"]", "-", "x:1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let told = Told::from(child.wait_with_output().unwrap());
    ended(&told, 0);
    assert_eq!(told.out, "sha256:00\n");
    let (header, uploaded) = fake.table().uploaded.clone();
    assert!(uploaded == bytes);
    assert_eq!((header.reference.as_str(), header.changes), ("x:1", vec!["CMD [\"sh\"]".to_owned()]));
}

#[test]
fn a_missing_archive_is_told() {
    let fake = Fake::start(Table::default());
    let told = fake.run("load -i /nowhere.tar");
    ended(&told, 1);
    assert_eq!(told.err, "skep: failed to open the archive /nowhere.tar: No such file or directory (os error 2)\n");
}

#[test]
fn lines_of_logs_keep_their_stream() {
    let task = vec![0; 16];
    let source = pb::LogSource {
        task: task.clone(),
        service_name: "web".into(),
        slot: 1,
        node_name: "one".into(),
        ..Default::default()
    };
    let line = |data: &str, stderr| pb::LogLine {
        task: task.clone(),
        stderr,
        data: data.to_owned().into(),
        ..Default::default()
    };
    let warning = "node two does not answer".to_owned();
    let reply =
        pb::ServiceLogsReply { lines: vec![line("tick", false), line("oops", true)], sources: vec![source], warning };
    let fake = Fake::start(Table { logs: vec![reply], ..table(&["web"], Vec::new()) });
    let told = fake.run("service logs --no-task-ids web");
    ended(&told, 0);
    assert_eq!(told.out, "web.1@one    | tick\n");
    assert_eq!(told.err, "WARNING: node two does not answer\nweb.1@one    | oops\n");
}

#[test]
fn who_follows_logs_goes_on_with_the_next_leader_and_sees_no_line_twice() {
    let reply = |texts: &[(&str, u64)]| {
        let line = |(text, at): &(&str, u64)| pb::LogLine {
            task: vec![0; 16],
            at: *at,
            data: (*text).to_owned().into(),
            ..Default::default()
        };
        pb::ServiceLogsReply { lines: texts.iter().map(line).collect(), ..Default::default() }
    };
    let logs = vec![reply(&[("one", 60_000), ("two", 60_000)]), reply(&[("three", 60_001)])];
    let fake = Fake::start(Table { logs: logs.clone(), broken_logs: 2, ..table(&["web"], Vec::new()) });
    let told = fake.run("service logs --raw -f web");
    ended(&told, 0);
    assert_eq!((told.out.as_str(), told.err.as_str()), ("one\ntwo\nthree\n", ""));
    let fake = Fake::start(Table { logs, broken_logs: 1, ..table(&["web"], Vec::new()) });
    let told = fake.run("service logs --raw web");
    ended(&told, 1);
    assert_eq!(
        (told.out.as_str(), told.err.as_str()),
        ("one\ntwo\n", "skep: failed to go on: the leader has changed\n")
    );
}

#[test]
fn without_a_daemon_only_our_version_is_known() {
    let told = Told::from(skep("/nowhere.sock".as_ref()).arg("version").output().unwrap());
    ended(&told, 1);
    assert!(told.out.starts_with("Client:\n"), "{told:?}");
    let wanted = "skep: failed to reach the skep daemon at /nowhere.sock; is it running? (skep daemon, or skep up): No such \
                  file or directory (os error 2)\n";
    assert_eq!(told.err, wanted);
    assert!(Fake::start(Table::default()).run("version").out.contains("9.9.9"));
}

#[test]
fn wrong_usage_ends_with_2() {
    let fake = Fake::start(table(&["web"], Vec::new()));
    for line in [
        "service create",
        "service create --secret s x",
        "service scale web",
        "nonsense",
        "service create --mode global --replicas 2 x",
    ] {
        ended(&fake.run(line), 2);
    }
}
