//! The states of a container and how it ends.

use std::time::{Duration, Instant};

use skep_runtime::logs::{LogQuery, Stream};
use skep_runtime::{ContainerStatus, RuntimeError};

use crate::Test;
use crate::support::{id, in_world, lines, printed, run, shell, spec};

pub(crate) const TESTS: &[Test] = &[
    ("exit_codes_are_the_programs", exit_codes_are_the_programs),
    ("container_goes_through_its_states", container_goes_through_its_states),
    ("created_container_has_not_run", created_container_has_not_run),
    ("missing_program_is_127_and_forbidden_one_126", missing_program_is_127_and_forbidden_one_126),
    ("stop_signal_ends_it_within_the_grace", stop_signal_ends_it_within_the_grace),
    ("deaf_program_is_killed_after_the_grace", deaf_program_is_killed_after_the_grace),
    ("output_is_split_by_stream_and_line", output_is_split_by_stream_and_line),
    ("followed_log_ends_with_the_container", followed_log_ends_with_the_container),
    ("removal_after_a_purge_leaves_nothing", removal_after_a_purge_leaves_nothing),
    ("much_output_arrives_whole", much_output_arrives_whole),
    ("id_is_taken_once", id_is_taken_once),
    ("second_start_finds_it_running", second_start_finds_it_running),
    ("stopped_program_can_be_removed", stopped_program_can_be_removed),
    ("fifty_run_side_by_side", fifty_run_side_by_side),
];

fn exit_codes_are_the_programs() {
    in_world(async |world| {
        let runtime = world.open().await;
        assert_eq!(run(&runtime, "seven", shell("exit 7")).await.0.code, 7);
        assert_eq!(run(&runtime, "zero", spec(&["true"])).await.0.code, 0);
        // The first process of a pid namespace cannot kill itself, so a child does what a signal does.
        let (exit, _) = run(&runtime, "killed", shell("sh -c 'kill -9 $$'; exit $?")).await;
        assert_eq!((exit.code, exit.oom_killed, exit.error), (137, false, None));
    });
}

fn container_goes_through_its_states() {
    in_world(async |world| {
        let runtime = world.open().await;
        let info = runtime.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        assert_eq!((info.status, info.started_ms), (ContainerStatus::Created, None));
        let info = runtime.start(&id("a")).await.unwrap();
        assert_eq!(info.status, ContainerStatus::Running);
        assert!(info.started_ms >= Some(info.created_ms) && info.pid.is_some());
        assert!(matches!(runtime.start(&id("a")).await, Err(RuntimeError::WrongState { .. })));
        runtime.signal(&id("a"), 9).await.unwrap();
        assert_eq!(runtime.wait(&id("a")).await.unwrap().code, 137);
        let info = runtime.inspect(&id("a")).unwrap();
        assert_eq!((info.status, info.pid), (ContainerStatus::Exited, None));
        runtime.remove(&id("a")).await.unwrap();
        assert!(runtime.list().is_empty());
        assert!(matches!(runtime.wait(&id("a")).await, Err(RuntimeError::NotFound { .. })));
    });
}

fn created_container_has_not_run() {
    in_world(async |world| {
        let runtime = world.open().await;
        let info = runtime.create(id("a"), shell("echo ran")).await.unwrap();
        let name = std::fs::read_to_string(format!("/proc/{}/comm", info.pid.unwrap())).unwrap();
        assert_eq!(name, "skep:init\n");
        assert!(lines(&runtime, "a", LogQuery::default()).await.is_empty());
        runtime.remove(&id("a")).await.unwrap();
    });
}

fn missing_program_is_127_and_forbidden_one_126() {
    in_world(async |world| {
        use std::os::unix::fs::OpenOptionsExt;
        let layer = &world.image.layers[0];
        let mut options = std::fs::OpenOptions::new();
        let mut script = options.create(true).write(true).mode(0o755).open(layer.join("bin/script")).unwrap();
        std::io::Write::write_all(&mut script, b"#!/nope/interpreter\n").unwrap();
        drop(script);
        let runtime = world.open().await;
        let interpreter = "exec: \"script\": its interpreter or loader, which it names itself, is not in the image";
        let cases = [
            ("script", 126, interpreter),
            ("", 127, "exec: \"\": executable file not found in $PATH"),
            ("nope", 127, "exec: \"nope\": executable file not found in $PATH"),
            ("/bin/nope", 127, "exec: \"/bin/nope\": stat /bin/nope: no such file or directory"),
            ("/etc/noexec", 126, "exec: \"/etc/noexec\": permission denied"),
        ];
        for (number, (program, expected, text)) in cases.into_iter().enumerate() {
            let name = format!("c{number}");
            runtime.create(id(&name), spec(&[program])).await.unwrap();
            let Err(RuntimeError::Execute { reason, code, .. }) = runtime.start(&id(&name)).await else {
                panic!("{program} started")
            };
            assert_eq!((code, reason.as_str()), (expected, text));
            let exit = runtime.wait(&id(&name)).await.unwrap();
            assert_eq!((exit.code, exit.error.as_deref()), (expected, Some(text)));
        }
    });
}

fn stop_signal_ends_it_within_the_grace() {
    in_world(async |world| {
        let runtime = world.open().await;
        let mut spec = shell("trap 'exit 3' USR1; echo ready; while true; do sleep 0.05; done");
        spec.stop_signal = Some("SIGUSR1".to_owned());
        runtime.create(id("a"), spec).await.unwrap();
        runtime.start(&id("a")).await.unwrap();
        printed(&runtime, "a", "ready").await;
        assert_eq!(runtime.stop(&id("a"), Duration::from_secs(20)).await.unwrap().code, 3);
    });
}

fn deaf_program_is_killed_after_the_grace() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.create(id("a"), shell("trap '' TERM; echo ready; sleep 1000 & wait; sleep 1000")).await.unwrap();
        runtime.start(&id("a")).await.unwrap();
        printed(&runtime, "a", "ready").await;
        let begin = Instant::now();
        assert_eq!(runtime.stop(&id("a"), Duration::from_millis(200)).await.unwrap().code, 137);
        assert!(begin.elapsed() >= Duration::from_millis(200));
    });
}

fn output_is_split_by_stream_and_line() {
    in_world(async |world| {
        let runtime = world.open().await;
        run(&runtime, "a", shell("echo one; echo two >&2; printf rest")).await;
        let all = lines(&runtime, "a", LogQuery::default()).await;
        let of = |stream| {
            all.iter().filter(|l| l.stream == stream).map(|l| (l.bytes.clone(), l.partial)).collect::<Vec<_>>()
        };
        assert_eq!(of(Stream::Stdout), [(b"one".to_vec(), false), (b"rest".to_vec(), true)]);
        assert_eq!(of(Stream::Stderr), [(b"two".to_vec(), false)]);
        let tail = lines(&runtime, "a", LogQuery { tail: Some(1), stderr: false, ..LogQuery::default() }).await;
        assert_eq!(tail.len(), 1);
    });
}

fn followed_log_ends_with_the_container() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.create(id("a"), shell("echo first; sleep 0.3; echo last")).await.unwrap();
        let following = lines(&runtime, "a", LogQuery { follow: true, ..LogQuery::default() });
        let (seen, started) = tokio::join!(following, async { runtime.start(&id("a")).await });
        started.unwrap();
        assert_eq!(seen.iter().map(|l| l.bytes.as_slice()).collect::<Vec<_>>(), [b"first".as_slice(), b"last"]);
    });
}

fn much_output_arrives_whole() {
    in_world(async |world| {
        let runtime = world.open().await;
        run(&runtime, "a", spec(&["seq", "1", "100000"])).await;
        let seen = lines(&runtime, "a", LogQuery::default()).await;
        assert_eq!(seen.len(), 100_000);
        assert!(seen.iter().enumerate().all(|(i, l)| l.bytes == (i + 1).to_string().as_bytes()));
    });
}

fn id_is_taken_once() {
    in_world(async |world| {
        let runtime = world.open().await;
        let (first, second) =
            tokio::join!(runtime.create(id("a"), spec(&["true"])), runtime.create(id("a"), spec(&["true"])));
        assert!(first.is_ok() != second.is_ok());
        runtime.remove(&id("a")).await.unwrap();
        let bad = skep_runtime::ContainerSpec { cap_add: vec!["FLY".to_owned()], ..spec(&["true"]) };
        assert!(matches!(runtime.create(id("a"), bad).await, Err(RuntimeError::Capability { .. })));
        runtime.create(id("a"), spec(&["true"])).await.unwrap();
    });
}

fn stopped_program_can_be_removed() {
    in_world(async |world| {
        let runtime = world.open().await;
        let info = runtime.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        runtime.start(&id("a")).await.unwrap();
        let init = nix::unistd::Pid::from_raw(i32::try_from(info.pid.unwrap()).unwrap());
        nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGSTOP).unwrap();
        runtime.remove(&id("a")).await.unwrap();
        assert!(nix::sys::signal::kill(init, None).is_err());
    });
}

fn fifty_run_side_by_side() {
    in_world(async |world| {
        let runtime = world.open().await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..50 {
            let runtime = runtime.clone();
            tasks.spawn(
                async move { run(&runtime, &format!("c{number}"), shell(&format!("exit {number}"))).await.0.code },
            );
        }
        let mut codes = tasks.join_all().await;
        codes.sort_unstable();
        assert_eq!(codes, (0..50).collect::<Vec<i32>>());
    });
}

fn second_start_finds_it_running() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        let a = id("a");
        let (first, second) = tokio::join!(runtime.start(&a), runtime.start(&a));
        let errors: Vec<_> = [first, second].into_iter().filter_map(Result::err).collect();
        assert!(
            matches!(errors[..], [RuntimeError::WrongState { status: ContainerStatus::Running, .. }]),
            "{errors:?}"
        );
    });
}

fn removal_after_a_purge_leaves_nothing() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.purge().await.unwrap();
        run(&runtime, "a", spec(&["true"])).await;
        let data = world.config.data_dir.join("containers/a");
        assert!(data.exists());
        runtime.remove(&id("a")).await.unwrap();
        assert!(!data.exists(), "its files went nowhere");
    });
}
