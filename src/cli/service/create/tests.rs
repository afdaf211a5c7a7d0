use std::time::Duration;

use clap::Parser;
use skep_proto::model::{RestartCondition, RestartPolicy};
use skep_proto::pb;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: CreateFlags,
}

fn parsed(line: &[&str]) -> Result<CreateFlags, clap::Error> {
    Line::try_parse_from([&["create"], line].concat()).map(|line| line.flags)
}

fn spec(line: &[&str]) -> anyhow::Result<ServiceSpec> {
    let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
    let file_variables = vec!["A=file".to_owned(), "B=file".to_owned()];
    parsed(line).unwrap().spec(Surroundings { lookup: &lookup, file_variables, fallback_name: "calm_clover_1".into() })
}

#[test]
fn an_image_alone_is_one_replica_with_dockers_defaults() {
    let spec = spec(&["busybox"]).unwrap();
    assert_eq!(spec.name.as_str(), "calm_clover_1");
    assert_eq!(spec.mode, Mode::Replicated { replicas: 1 });
    assert_eq!(spec.task.restart, RestartPolicy::default());
    assert_eq!(spec.update, UpdateConfig::default());
    assert_eq!(spec.task.container.stop_grace, Duration::from_secs(10));
    // What the flags made is what the daemon will read.
    assert_eq!(ServiceSpec::try_from(pb::ServiceSpec::from(&spec)), Ok(spec));
}

#[test]
fn flags_behind_the_image_belong_to_the_command() {
    let spec = spec(&["--name", "web", "busybox", "sh", "-c", "x", "--name", "other", "-d"]).unwrap();
    assert_eq!(spec.name.as_str(), "web");
    assert_eq!(spec.task.container.image, "busybox");
    assert_eq!(spec.task.container.args, ["sh", "-c", "x", "--name", "other", "-d"]);
}

#[test]
fn every_setting_reaches_the_spec() {
    let line = "--replicas 3 --replicas-max-per-node 2 -w /srv -u 1:2 --hostname h --read-only --stop-signal SIGINT \
                --stop-grace-period 1s --limit-cpu 0.5 --limit-memory 64m --limit-pids 9 --reserve-cpu .25 \
                --reserve-memory 32m --restart-condition on-failure --restart-delay 2s --restart-max-attempts 4 \
                --restart-window 1m --update-parallelism 2 --update-delay 3s --update-order start-first";
    let line: Vec<&str> = line.split_whitespace().chain(["--entrypoint", "sh -c", "x"]).collect();
    let spec = spec(&line).unwrap();
    let task = &spec.task;
    assert_eq!(spec.mode, Mode::Replicated { replicas: 3 });
    assert_eq!(task.placement.max_replicas_per_node, Some(2));
    assert_eq!(task.container.command, ["sh", "-c"]);
    assert_eq!((task.container.dir.as_str(), task.container.user.as_str()), ("/srv", "1:2"));
    assert_eq!((task.container.hostname.as_str(), task.container.read_only), ("h", true));
    assert_eq!((task.container.stop_signal.as_str(), task.container.stop_grace), ("SIGINT", Duration::from_secs(1)));
    assert_eq!((task.limits.nano_cpus, task.limits.memory_bytes, task.limits.pids), (500_000_000, 64 << 20, 9));
    assert_eq!((task.reservations.nano_cpus, task.reservations.memory_bytes), (250_000_000, 32 << 20));
    assert_eq!(task.restart.condition, RestartCondition::OnFailure);
    assert_eq!((task.restart.delay, task.restart.max_attempts), (Duration::from_secs(2), Some(4)));
    assert_eq!(task.restart.window, Some(Duration::from_secs(60)));
    assert_eq!(spec.update, UpdateConfig { parallelism: 2, delay: Duration::from_secs(3), start_first: true });
}

#[test]
fn every_list_reaches_the_spec() {
    let line = "-l a=1 --label b --container-label c=2 -e A=1 --env HOME -e GONE --host db:10.0.0.1 --dns 8.8.8.8 \
                --cap-add net_admin --cap-drop CHOWN --cap-drop NET_ADMIN --constraint node.role!=manager \
                --placement-pref spread=node.labels.zone -p 8080:80 -p target=53,protocol=udp,mode=host x";
    let spec = spec(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
    let container = &spec.task.container;
    assert_eq!(spec.labels.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(container.labels["c"], "2");
    assert_eq!(container.env, ["A=1", "B=file", "HOME=/root"]);
    assert_eq!((&container.hosts[..], &container.dns[..]), (&["10.0.0.1 db".to_owned()][..], &["8.8.8.8".to_owned()][..]));
    assert_eq!((&container.cap_add[..], &container.cap_drop[..]), (&["CAP_NET_ADMIN".to_owned()][..], &["CAP_CHOWN".to_owned()][..]));
    assert!(!spec.task.placement.constraints[0].equal);
    assert_eq!(spec.task.placement.spread, ["node.labels.zone"]);
    assert_eq!(spec.ports.iter().map(|port| (port.published, port.target)).collect::<Vec<_>>(), [(8080, 80), (0, 53)]);
}

#[test]
fn contradictions_and_bad_words_are_wrong_usage() {
    let cases: [&[&str]; 7] = [
        &["--mode", "global", "--replicas", "2", "x"],
        &["--name", "a.b", "x"],
        &["--constraint", "a=b", "x"],
        &["-e", "=1", "x"],
        &["-p", "x", "x"],
        &["-l", "=", "x"],
        &["--entrypoint", "'", "x"],
    ];
    for line in cases {
        let error = spec(line).unwrap_err();
        assert_eq!(crate::cli::error::exit(&error), Exit::Usage, "{line:?}");
    }
}

#[test]
fn clap_refuses_what_it_does_not_know() {
    let cases: [&[&str]; 5] =
        [&[], &["--secret", "s", "x"], &["--mode", "job", "x"], &["--limit-cpu", "half", "x"], &["--timeout", "5", "x"]];
    for line in cases {
        assert!(parsed(line).is_err(), "{line:?}");
    }
}

#[test]
fn registry_flags_change_nothing() {
    let with = spec(&["--with-registry-auth", "--no-resolve-image", "x"]).unwrap();
    assert_eq!(with, spec(&["x"]).unwrap());
}
