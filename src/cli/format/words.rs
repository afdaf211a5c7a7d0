//! The short texts of Docker's columns: states, replicas, ports, errors.

use super::units::{ellipsis, human_duration};
use std::time::Duration;

/// `service ps` cuts the error of a task to this many characters unless told not to.
const MAX_ERROR: usize = 30;

/// A state or availability as Docker shows it: `running` becomes `Running`.
pub(crate) fn state(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `CurrentState`: `Running 5 minutes ago`, `Failed less than a second ago`.
pub(crate) fn current_state(word: &str, age: Duration) -> String {
    format!("{} {} ago", state(word), human_duration(age).to_lowercase())
}

/// `Error` of a task: quoted, and cut when `truncate`; nothing without an error.
pub(crate) fn task_error(text: &str, truncate: bool) -> String {
    match (text.is_empty(), truncate) {
        (true, _) => String::new(),
        (_, true) => format!("\"{}\"", ellipsis(text, MAX_ERROR)),
        _ => format!("\"{text}\""),
    }
}

/// `Name` of a task in `service ps`: an earlier task of the same slot is indented under the newest one.
pub(crate) fn task_name(name: &str, is_history: bool) -> String {
    if is_history { format!(" \\_ {name}") } else { name.to_owned() }
}

/// `Replicas` of a service: `2/3`, with a limit `2/3 (max 1 per node)`.
pub(crate) fn replicas(running: u64, desired: u64, max_per_node: u64) -> String {
    match max_per_node {
        0 => format!("{running}/{desired}"),
        max => format!("{running}/{desired} (max {max} per node)"),
    }
}

#[cfg_attr(not(test), expect(dead_code, reason = "jobs: the daemon has no such mode yet"))]
/// `Replicas` of a job: `2/3 (5/10 completed)`.
pub(crate) fn job_replicas(running: u64, desired: u64, completed: u64, total: u64) -> String {
    format!("{running}/{desired} ({completed}/{total} completed)")
}

/// A published port of a service or task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortWords {
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
    /// The port on the nodes.
    pub(crate) published: u16,
    /// The port in the container.
    pub(crate) target: u16,
}

/// `Ports`: `*:80->80/tcp`, ports in a row as one range: `*:8000-8002->80-82/tcp`.
pub(crate) fn ports(ports: &[PortWords]) -> String {
    let mut sorted: Vec<&PortWords> = ports.iter().collect();
    sorted.sort();
    sorted.dedup();
    let runs: Vec<String> = sorted.chunk_by(|left, right| follows(left, right)).filter_map(run_text).collect();
    runs.join(", ")
}

fn follows(left: &PortWords, right: &PortWords) -> bool {
    left.protocol == right.protocol
        && left.published.checked_add(1) == Some(right.published)
        && left.target.checked_add(1) == Some(right.target)
}

fn run_text(run: &[&PortWords]) -> Option<String> {
    let (first, last) = (run.first()?, run.last()?);
    let range = |from: u16, to: u16| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let published = range(first.published, last.published);
    let target = range(first.target, last.target);
    Some(format!("*:{published}->{target}/{}", first.protocol))
}

/// Where a container is in its life, for [`container_status`].
#[cfg_attr(not(test), expect(dead_code, reason = "the daemon does not freeze containers yet"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ContainerPhase {
    /// It was created and not started.
    Created,
    /// It has been running for this long.
    Running(Duration),
    /// The same, but frozen.
    Paused(Duration),
    /// It ended with this code, this long ago.
    Exited(i32, Duration),
    /// What is left of it could not be removed.
    Dead,
}

/// `Status` of a container: `Up 5 minutes (healthy)`, `Exited (0) 2 seconds ago`; `health` is its word or empty.
pub(crate) fn container_status(phase: ContainerPhase, health: &str) -> String {
    match phase {
        ContainerPhase::Created => "Created".to_owned(),
        ContainerPhase::Running(since) if health.is_empty() => format!("Up {}", human_duration(since)),
        ContainerPhase::Running(since) => format!("Up {} ({health})", human_duration(since)),
        ContainerPhase::Paused(since) => format!("Up {} (Paused)", human_duration(since)),
        ContainerPhase::Exited(code, ago) => format!("Exited ({code}) {} ago", human_duration(ago)),
        ContainerPhase::Dead => "Dead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_state_is_dockers() {
        let cases = [
            ("running", 300, "Running 5 minutes ago"),
            ("failed", 2, "Failed 2 seconds ago"),
            ("preparing", 0, "Preparing less than a second ago"),
            ("shutdown", 61, "Shutdown about a minute ago"),
            ("complete", 3_600, "Complete about an hour ago"),
            ("", 1, " 1 second ago"),
        ];
        for (word, seconds, text) in cases {
            assert_eq!(current_state(word, Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn errors_are_quoted_and_cut() {
        assert_eq!(task_error("", true), "");
        assert_eq!(task_error("task: non-zero exit (1)", true), "\"task: non-zero exit (1)\"");
        let long = "No such image: busybox:latest and more";
        assert_eq!(task_error(long, true), "\"No such image: busybox:latest…\"");
        assert_eq!(task_error(long, false), format!("\"{long}\""));
    }

    #[test]
    fn names_and_replicas_are_dockers() {
        assert_eq!(task_name("web.1", true), " \\_ web.1");
        assert_eq!(task_name("web.1", false), "web.1");
        assert_eq!(replicas(2, 3, 0), "2/3");
        assert_eq!(replicas(2, 3, 1), "2/3 (max 1 per node)");
        assert_eq!(job_replicas(2, 3, 5, 10), "2/3 (5/10 completed)");
    }

    #[test]
    fn ports_in_a_row_are_one_range() {
        let port = |protocol: &str, published, target| PortWords { protocol: protocol.to_owned(), published, target };
        let cases = [
            (vec![], ""),
            (vec![port("tcp", 80, 80)], "*:80->80/tcp"),
            (vec![port("tcp", 8_001, 81), port("tcp", 8_000, 80), port("tcp", 8_002, 82)], "*:8000-8002->80-82/tcp"),
            (vec![port("tcp", 80, 80), port("tcp", 81, 90)], "*:80->80/tcp, *:81->90/tcp"),
            (vec![port("udp", 53, 53), port("tcp", 53, 53)], "*:53->53/tcp, *:53->53/udp"),
            (vec![port("tcp", 65_535, 65_535)], "*:65535->65535/tcp"),
        ];
        for (list, text) in cases {
            assert_eq!(ports(&list), text);
        }
    }

    #[test]
    fn container_status_is_dockers() {
        let five = Duration::from_secs(300);
        let cases = [
            (ContainerPhase::Created, "", "Created"),
            (ContainerPhase::Running(five), "", "Up 5 minutes"),
            (ContainerPhase::Running(Duration::from_secs(60)), "healthy", "Up About a minute (healthy)"),
            (ContainerPhase::Paused(five), "", "Up 5 minutes (Paused)"),
            (ContainerPhase::Exited(137, five), "", "Exited (137) 5 minutes ago"),
            (ContainerPhase::Dead, "", "Dead"),
        ];
        for (phase, health, text) in cases {
            assert_eq!(container_status(phase, health), text);
        }
    }
}
