//! Containers whose life hangs on a daemon that goes on to keep it.

use std::time::Duration;

use skep_runtime::lifeline::disk::uptime;
use skep_runtime::{ContainerSpec, ContainerStatus, Lifeline};

use crate::Test;
use crate::support::{id, in_world, printed, shell, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("container_without_its_lifeline_is_not_started", container_without_its_lifeline_is_not_started),
    ("container_is_asked_to_stop_when_its_time_is_up", container_is_asked_to_stop_when_its_time_is_up),
    ("container_that_does_not_stop_is_killed", container_that_does_not_stop_is_killed),
    ("daemon_that_is_gone_cannot_be_asked_and_need_not", daemon_that_is_gone_cannot_be_asked_and_need_not),
    ("container_lives_as_long_as_its_lifeline_is_kept", container_lives_as_long_as_its_lifeline_is_kept),
    ("next_daemon_finds_the_lifeline", next_daemon_finds_the_lifeline),
];

/// How often a daemon that lives keeps its containers' lifeline here: the time that passes meanwhile is what is tested.
const KEEP: Duration = Duration::from_millis(50);

const SHORT: Duration = Duration::from_secs(2);

fn tethered(script: &str, after: Duration, grace: Duration) -> ContainerSpec {
    ContainerSpec { lifeline: Some(Lifeline { after, grace }), ..shell(script) }
}

fn container_without_its_lifeline_is_not_started() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.create(id("a"), tethered("true", SHORT, SHORT)).await.unwrap();
        let refused = runtime.start(&id("a")).await.unwrap_err().to_string();
        assert!(refused.contains("lifeline"), "{refused}");
        assert_eq!(runtime.inspect(&id("a")).unwrap().status, ContainerStatus::Created);
        runtime.keep_lifeline(uptime().saturating_sub(SHORT)).unwrap();
        assert!(runtime.start(&id("a")).await.is_err(), "what was kept too long ago holds nothing");
        runtime.keep_lifeline(uptime() + Duration::from_secs(60)).unwrap();
        runtime.start(&id("a")).await.unwrap();
        assert_eq!(runtime.wait(&id("a")).await.unwrap().code, 0);
    });
}

fn container_is_asked_to_stop_when_its_time_is_up() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script = "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done";
        runtime.create(id("a"), tethered(script, SHORT, Duration::from_secs(60))).await.unwrap();
        let kept = uptime();
        runtime.keep_lifeline(kept).unwrap();
        runtime.start(&id("a")).await.unwrap();
        printed(&runtime, "a", "ready").await;
        let exit = runtime.wait(&id("a")).await.unwrap();
        assert!(uptime() >= kept + SHORT, "not before its time");
        assert_eq!(exit.code, 5);
        assert_eq!(exit.error.as_deref(), Some("its daemon did not keep its lifeline for 2 s"));
    });
}

fn container_that_does_not_stop_is_killed() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script = "trap '' TERM; echo ready; while true; do sleep 0.05; done";
        runtime.create(id("a"), tethered(script, SHORT, Duration::from_millis(200))).await.unwrap();
        runtime.keep_lifeline(uptime()).unwrap();
        runtime.start(&id("a")).await.unwrap();
        assert_eq!(runtime.wait(&id("a")).await.unwrap().code, 137);
    });
}

fn daemon_that_is_gone_cannot_be_asked_and_need_not() {
    in_world(async |world| {
        let runtime = world.open().await;
        runtime.create(id("a"), tethered("echo ready; sleep 1000", SHORT, Duration::ZERO)).await.unwrap();
        runtime.keep_lifeline(uptime()).unwrap();
        runtime.start(&id("a")).await.unwrap();
        drop(runtime);
        wait_for("the shim to end it", || world.config.run_dir.join("containers/a/exit").exists());
        let next = world.open().await;
        let exit = next.wait(&id("a")).await.unwrap();
        assert!(exit.error.is_some_and(|error| error.contains("lifeline")));
    });
}

fn container_lives_as_long_as_its_lifeline_is_kept() {
    in_world(async |world| {
        let runtime = world.open().await;
        let after = Duration::from_secs(5);
        runtime.create(id("a"), tethered("sleep 1000", after, Duration::ZERO)).await.unwrap();
        runtime.keep_lifeline(uptime()).unwrap();
        runtime.start(&id("a")).await.unwrap();
        let began = uptime();
        while uptime() < began + after + Duration::from_secs(1) {
            runtime.keep_lifeline(uptime()).unwrap();
            tokio::time::sleep(KEEP).await;
        }
        assert_eq!(runtime.inspect(&id("a")).unwrap().status, ContainerStatus::Running);
    });
}

fn next_daemon_finds_the_lifeline() {
    in_world(async |world| {
        let first = world.open().await;
        assert_eq!(first.lifeline(), None);
        first.keep_lifeline(Duration::from_millis(1_234)).unwrap();
        drop(first);
        assert_eq!(world.open().await.lifeline(), Some(Duration::from_millis(1_234)));
    });
}
