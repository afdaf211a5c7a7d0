//! The lines of one moment.

use crate::cli::format::units::ellipsis;
use std::time::Duration;

/// Above this many tasks their own lines would scroll the header off the screen; only the totals are shown then.
const MAX_SLOTS: usize = 20;

/// An error is cut to this many characters, which fit a narrow terminal.
const MAX_ERROR: usize = 75;

/// The states on the way to running, in order. Their number is the length of the bar.
const STAGES: [&str; 9] =
    ["new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"];

/// The width of the bar between its brackets, the tip not counted.
const BAR_WIDTH: usize = 50;

/// How the countdown begins, which each second repeats.
pub(super) const COUNTDOWN: &str = "verify: Waiting ";

/// Everything that one moment of waiting shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    /// The totals.
    pub(crate) overall: Overall,
    /// The tasks in the order of their slots or nodes, one each; a slot without a task yet has an empty state.
    pub(crate) slots: Vec<Slot>,
    /// What the command waits for now.
    pub(crate) phase: Phase,
}

/// The totals, which the header shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Overall {
    /// A global service whose tasks do not exist yet.
    WaitingForTasks,
    /// A service: tasks that run the new spec, out of those wanted.
    Tasks {
        /// How many run.
        running: u64,
        /// How many shall run.
        total: u64,
    },
    #[cfg_attr(not(test), expect(dead_code, reason = "jobs: the daemon has no such mode yet"))]
    /// A job: tasks that completed and tasks that run now, each out of those wanted.
    Job {
        /// How many completed.
        completed: u64,
        /// How many shall complete.
        total: u64,
        /// How many run now.
        active: u64,
        /// How many may run at once.
        concurrent: u64,
    },
}

/// What the command waits for.
#[cfg_attr(not(test), expect(dead_code, reason = "the daemon does not report rollbacks, monitoring and jobs yet"))]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// For tasks to come up.
    Working,
    /// For the tasks of the former spec to come back; the text is the cluster's reason, or empty.
    RollingBack(String),
    /// For the tasks to stay up this much longer.
    Verifying(Duration),
    /// For tasks to come up again: one failed while they were watched.
    TaskFailed,
    /// For nothing: the service with this id or name has converged.
    Converged(String),
    /// For nothing: the job is complete.
    JobComplete,
}

/// A task's line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    /// `1/3`, or the short id of a node. See [`slot_label`] and [`node_label`].
    pub(crate) label: String,
    /// The state of its task.
    pub(crate) state: SlotState,
}

/// What a task's line tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SlotState {
    /// There is no task yet.
    Empty,
    /// The task is on its way; the lower-case name of its state.
    State(String),
    /// The task cannot run, and why.
    Error(String),
}

/// The label of a replicated task: slot 1 of 10 is ` 1/10`, so that the colons stand in one column.
pub(crate) fn slot_label(slot: u64, total: u64) -> String {
    let width = total.to_string().len();
    format!("{slot:width$}/{total}")
}

/// The label of a global task: the first 12 characters of its node's id.
pub(crate) fn node_label(node_id: &str) -> String {
    node_id.chars().take(12).collect()
}

/// The lines of a snapshot, without line breaks.
pub(crate) fn lines(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = header(snapshot);
    if snapshot.slots.len() <= MAX_SLOTS {
        let back = matches!(snapshot.phase, Phase::RollingBack(_));
        lines.extend(snapshot.slots.iter().map(|slot| slot_line(slot, back)));
    }
    lines.extend(footer(&snapshot.phase));
    lines
}

fn header(snapshot: &Snapshot) -> Vec<String> {
    let rolling_back = matches!(snapshot.phase, Phase::RollingBack(_));
    match snapshot.overall {
        Overall::WaitingForTasks => vec!["overall progress: waiting for new tasks".to_owned()],
        Overall::Tasks { running, total } if rolling_back => {
            vec![format!("overall progress: rolling back update: {running} out of {total} tasks")]
        }
        Overall::Tasks { running, total } => vec![format!("overall progress: {running} out of {total} tasks")],
        Overall::Job { completed, total, active, concurrent } => vec![
            format!("job progress: {completed} out of {total} complete {}", bar(completed, total)),
            format!("active tasks: {active} out of {concurrent} tasks"),
        ],
    }
}

fn footer(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Working => None,
        Phase::RollingBack(reason) if reason.is_empty() => None,
        Phase::RollingBack(reason) => Some(format!("rollback: {}", one_line(reason))),
        // The last second counts as one, so that the countdown never waits for 0 seconds.
        Phase::Verifying(left) => {
            let seconds = left.as_secs().saturating_add(1);
            Some(format!("{COUNTDOWN}{seconds} seconds to verify that tasks are stable..."))
        }
        Phase::TaskFailed => Some("verify: Detected task failure".to_owned()),
        Phase::Converged(service) => Some(format!("verify: Service {service} converged")),
        Phase::JobComplete => Some("job complete".to_owned()),
    }
}

/// A task that goes back to the former spec fills its bar from the right end.
fn slot_line(slot: &Slot, rolling_back: bool) -> String {
    let label = &slot.label;
    match &slot.state {
        SlotState::Empty => format!("{label}:"),
        SlotState::Error(text) => format!("{label}: {}", cut(&one_line(text))),
        SlotState::State(name) => match stage(name) {
            Some(stage) => {
                let done = if rolling_back { 9 - stage } else { stage };
                format!("{label}: {name:<9} {}", bar(done, 9))
            }
            None => format!("{label}: {name}"),
        },
    }
}

/// The number of a state on the way to running, from 1 to 9; `None` for those that end a task.
fn stage(name: &str) -> Option<u64> {
    (1..).zip(STAGES).find(|(_, stage)| *stage == name).map(|(number, _)| number)
}

/// `[=====>     ]`, always of the same width.
fn bar(done: u64, total: u64) -> String {
    let share = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
    let filled = usize::try_from(share / 2).unwrap_or(BAR_WIDTH).min(BAR_WIDTH);
    format!("[{}>{}]", "=".repeat(filled), " ".repeat(BAR_WIDTH - filled))
}

/// Whether a task's line ends in a bar; the bar of a job is its total, and no animation.
pub(super) fn has_bar(line: &str) -> bool {
    let start = line.len().saturating_sub(BAR_WIDTH + 3);
    let bar = line.get(start..).and_then(|end| end.strip_prefix('[')).and_then(|end| end.strip_suffix(']'));
    !line.starts_with("job progress:") && bar.is_some_and(|bar| bar.chars().all(|letter| "=> ".contains(letter)))
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

fn cut(text: &str) -> String {
    ellipsis(text, MAX_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(slot: u64, state: SlotState) -> Slot {
        Slot { label: slot_label(slot, 3), state }
    }

    fn state(name: &str) -> SlotState {
        SlotState::State(name.to_owned())
    }

    fn snapshot(phase: Phase) -> Snapshot {
        let slots = vec![slot(1, state("running")), slot(2, state("preparing")), slot(3, SlotState::Empty)];
        Snapshot { overall: Overall::Tasks { running: 1, total: 3 }, slots, phase }
    }

    #[test]
    fn a_line_per_slot_has_dockers_bar() {
        let wanted = [
            "overall progress: 1 out of 3 tasks",
            "1/3: running   [==================================================>]",
            "2/3: preparing [=================================>                 ]",
            "3/3:",
        ];
        assert_eq!(lines(&snapshot(Phase::Working)), wanted);
    }

    #[test]
    fn every_stage_lengthens_the_bar() {
        let filled = |name| slot_line(&slot(1, state(name)), false).matches('=').count();
        assert_eq!(STAGES.map(filled), [5, 11, 16, 22, 27, 33, 38, 44, 50]);
        let back = |name| slot_line(&slot(1, state(name)), true).matches('=').count();
        assert_eq!(STAGES.map(back), [44, 38, 33, 27, 22, 16, 11, 5, 0]);
    }

    #[test]
    fn phases_have_their_last_line() {
        let cases = [
            (Phase::Verifying(Duration::from_secs(4)), "verify: Waiting 5 seconds to verify that tasks are stable..."),
            (Phase::Verifying(Duration::ZERO), "verify: Waiting 1 seconds to verify that tasks are stable..."),
            (Phase::TaskFailed, "verify: Detected task failure"),
            (Phase::Converged("web".to_owned()), "verify: Service web converged"),
            (Phase::RollingBack("update failed\nearly".to_owned()), "rollback: update failed early"),
            (Phase::JobComplete, "job complete"),
        ];
        for (phase, last) in cases {
            assert_eq!(lines(&snapshot(phase)).last().map(String::as_str), Some(last));
        }
    }

    #[test]
    fn a_rollback_changes_the_header() {
        let header = &lines(&snapshot(Phase::RollingBack(String::new())))[0];
        assert_eq!(header, "overall progress: rolling back update: 1 out of 3 tasks");
    }

    #[test]
    fn errors_are_cut_to_75_characters_on_one_line() {
        let text = format!("no suitable node\n{}", "x".repeat(100));
        let line = slot_line(&slot(1, SlotState::Error(text)), false);
        assert_eq!(line, format!("1/3: no suitable node {}…", "x".repeat(57)));
    }

    #[test]
    fn a_task_that_ended_has_no_bar() {
        assert_eq!(slot_line(&slot(2, state("complete")), false), "2/3: complete");
    }

    #[test]
    fn more_than_twenty_tasks_show_only_totals() {
        let many = |count| Snapshot {
            overall: Overall::Tasks { running: 0, total: count },
            slots: (1..=count).map(|index| slot(index, SlotState::Empty)).collect(),
            phase: Phase::Working,
        };
        assert_eq!(lines(&many(20)).len(), 21);
        assert_eq!(lines(&many(21)), ["overall progress: 0 out of 21 tasks"]);
    }

    #[test]
    fn jobs_and_globals_have_their_own_headers() {
        let overall = Overall::Job { completed: 1, total: 2, active: 1, concurrent: 1 };
        let job = Snapshot { overall, slots: Vec::new(), phase: Phase::Working };
        let bar = "[=========================>                         ]";
        assert_eq!(
            lines(&job),
            [format!("job progress: 1 out of 2 complete {bar}"), "active tasks: 1 out of 1 tasks".into()]
        );
        let global = Snapshot { overall: Overall::WaitingForTasks, slots: Vec::new(), phase: Phase::Working };
        assert_eq!(lines(&global), ["overall progress: waiting for new tasks"]);
    }

    #[test]
    fn labels_are_aligned() {
        assert_eq!(slot_label(1, 10), " 1/10");
        assert_eq!(node_label("sozjy3nmfrieacm2pbgj41ek3"), "sozjy3nmfrie");
    }

    #[test]
    fn a_bar_holds_for_any_numbers() {
        for (done, total) in [(0, 0), (5, 0), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            assert_eq!(bar(done, total).len(), BAR_WIDTH + 3, "{done}/{total}");
        }
    }
}
