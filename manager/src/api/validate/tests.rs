use proptest::prelude::*;
use skep_proto::model::{Constraint, ContainerSpec, MinAvailable, Protocol, ServiceName, UpdateConfig};

use super::image::image;
use super::*;

fn spec() -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::new("web").unwrap(),
        labels: std::collections::BTreeMap::new(),
        task: TaskSpec {
            container: ContainerSpec { image: "nginx:1.27".into(), ..ContainerSpec::default() },
            ..TaskSpec::default()
        },
        mode: Mode::Replicated { replicas: 3 },
        ports: Vec::new(),
        update: UpdateConfig::default(),
        min_available: MinAvailable::default(),
    }
}

/// What becomes of the good spec with one thing changed.
fn with(change: impl FnOnce(&mut ServiceSpec)) -> Result<(), Invalid> {
    let mut spec = spec();
    change(&mut spec);
    service(&spec)
}

fn port(published: u16, mode: PublishMode) -> PortConfig {
    PortConfig { protocol: Protocol::Tcp, target: 80, published, mode }
}

#[test]
fn a_plain_spec_is_fine() {
    assert_eq!(service(&spec()), Ok(()));
}

#[test]
fn image_references_follow_the_grammar() {
    let digest = format!("nginx@sha256:{}", "a".repeat(64));
    for good in [
        "nginx",
        "nginx:1.27",
        "library/nginx",
        "localhost/x:dev",
        "localhost:5000/a/b:1",
        "reg.example.com/team/app_x:v1.2-rc",
        "skep/hello",
        "a__b/c-d",
        &digest,
    ] {
        assert_eq!(image(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "Nginx",
        "nginx:",
        "nginx:-x",
        "/nginx",
        "nginx/",
        "a//b",
        "n ginx",
        "nginx@sha256:12",
        "nginx@",
        "-a",
        "a..b",
    ] {
        assert!(image(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_image_text_panics(text in ".{0,80}") {
        let _ = image(&text);
    }
}

#[test]
fn a_restart_limit_that_can_never_be_reached_is_refused() {
    let check = |delay_ms, attempts, window_ms| {
        restart(&RestartPolicy {
            delay: Duration::from_millis(delay_ms),
            max_attempts: attempts,
            window: Some(Duration::from_millis(window_ms)),
            ..RestartPolicy::default()
        })
    };
    assert!(matches!(check(5_000, Some(3), 15_000), Err(Invalid::RestartWindow { least_ms: 15_000, .. })));
    assert_eq!(check(5_000, Some(3), 15_001), Ok(()));
    assert_eq!(check(0, Some(3), 1), Ok(()));
    assert_eq!(check(5_000, None, 1), Ok(()));
}

#[test]
fn a_published_port_is_named_once() {
    let (ingress, host) = (PublishMode::Ingress, PublishMode::Host);
    let check = |a, b| with(|spec| spec.ports = vec![a, b]);
    assert_eq!(check(port(80, ingress), port(80, host)), Err(Invalid::PortTwice { port: 80 }));
    assert_eq!(check(port(80, ingress), port(80, ingress)), Err(Invalid::PortTwice { port: 80 }));
    assert_eq!(check(port(80, ingress), port(81, host)), Ok(()));
    assert_eq!(check(port(0, ingress), port(0, ingress)), Ok(()), "the allocator finds two");
}

#[test]
fn constraints_must_be_able_to_hold() {
    let check = |key: &str, value: &str| {
        let constraint = Constraint { key: key.into(), equal: true, value: value.into() };
        with(|spec| spec.task.placement.constraints = vec![constraint])
    };
    assert_eq!(check("node.labels.zone", "a"), Ok(()));
    assert_eq!(check("node.role", "worker"), Ok(()));
    assert_eq!(check("node.ip", "10.0.0.0/8"), Ok(()));
    assert_eq!(check("node.ip", "fe80::1"), Ok(()));
    for (key, value) in [("node.rule", "worker"), ("node.role", "boss"), ("node.ip", "999"), ("node.ip", "10.0.0.0/33")]
    {
        assert!(check(key, value).is_err(), "{key}=={value}");
    }
    assert!(check("node.labels.zone", " ").is_err());
    assert!(with(|spec| spec.task.placement.spread = vec!["zone".into()]).is_err());
    assert!(with(|spec| spec.task.placement.spread = vec!["node.labels.zone".into()]).is_ok());
}

#[test]
fn a_spec_that_would_not_travel_is_refused() {
    let result = with(|spec| spec.task.container.args = vec!["x".repeat(TEXT_BYTES_MAX + 1)]);
    assert!(matches!(result, Err(Invalid::TooMany { .. })));
}

#[test]
fn only_a_replicated_service_has_a_number_of_tasks_to_keep() {
    let keep = |mode| with(|spec| (spec.mode, spec.min_available) = (mode, MinAvailable::Tasks(9)));
    assert_eq!(keep(Mode::Replicated { replicas: 3 }), Ok(()), "never more than there are");
    assert_eq!(keep(Mode::Global), Err(Invalid::GlobalMinimum));
}

#[test]
fn a_task_that_may_not_run_twice_is_not_started_before_the_old_one_stops() {
    use skep_proto::model::OnDisconnect;
    let stop_after = |start_first| {
        with(|spec| {
            spec.task.on_disconnect = OnDisconnect::StopAfter(Duration::from_secs(30));
            spec.update.start_first = start_first;
        })
    };
    assert_eq!(stop_after(false), Ok(()));
    assert_eq!(stop_after(true), Err(Invalid::StartFirst));
}
