//! What a service's progress means: is it done, what is shown, why is it stuck. Pure.

use std::collections::BTreeMap;

use skep_proto::pb;

use super::format::progress::{Overall, Phase, Slot, SlotState, Snapshot, node_label, slot_label};
use super::json::id_text;
use super::json::task::state_word;
use super::service;

/// Slots that are made out one by one; a table of more is not shown by anyone.
const SLOTS_MAX: u32 = 64;
/// Different reasons that a sentence names. One is the rule; more than a few help nobody.
const REASONS_MAX: usize = 3;

/// What a command waits for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Id of the service.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The version that this command made; an older one that has converged is not what was asked for.
    spec_version: u64,
    global: bool,
}

impl Wanted {
    /// What the newest version of a service has to become.
    pub(crate) fn of(service: &pb::Service) -> Self {
        let spec = service.spec.as_ref();
        let global = spec.is_some_and(|spec| matches!(spec.mode, Some(pb::service_spec::Mode::Global(_))));
        let name = service::name(service).to_owned();
        Self { id: service::id(service), name, spec_version: service.spec_version, global }
    }

    /// Whether it has.
    pub(crate) fn is_met(&self, progress: &pb::ServiceProgress) -> bool {
        progress.converged && (progress.removed || progress.spec_version >= self.spec_version)
    }
}

/// Nothing is left that could still come to run: every slot that has no task ended for good, and not all of them because all was
/// done.
pub(crate) fn is_hopeless(progress: &pb::ServiceProgress, wanted: &Wanted) -> bool {
    let (current, ended) = (progress.spec_version >= wanted.spec_version, progress.ended);
    !progress.converged && current && ended > 0 && progress.running + ended == progress.desired
}

/// Why a service never will converge: what follows "failed to".
pub(crate) fn why_never(name: &str, progress: &pb::ServiceProgress) -> String {
    let mut parts = vec![format!("{} of {} tasks run", progress.running, progress.desired)];
    parts.extend(reasons(progress));
    format!(
        "see service {name} converge: {}; its restart policy does not start them again: update the service, or remove it",
        parts.join("; ")
    )
}

/// The moment as it is drawn.
pub(crate) fn snapshot(progress: &pb::ServiceProgress, wanted: &Wanted, phase: Phase) -> Snapshot {
    let total = u64::from(progress.desired);
    let tasks = Overall::Tasks { running: u64::from(progress.running).min(total), total };
    if wanted.global {
        let waiting = progress.slots.is_empty() && !progress.converged;
        let mut slots: Vec<&pb::SlotProgress> = progress.slots.iter().collect();
        slots.sort_by(|a, b| a.node.cmp(&b.node));
        let slots = slots.into_iter().map(|slot| Slot { label: node_label(&id_text(&slot.node)), state: state(slot) });
        return Snapshot {
            overall: if waiting { Overall::WaitingForTasks } else { tasks },
            slots: slots.collect(),
            phase,
        };
    }
    // Beyond what is drawn line by line, only the number of lines matters: it says that there are too many.
    let shown = progress.desired.min(SLOTS_MAX);
    let lines = slots_by_line(progress, shown);
    let slot = |number: u32| Slot {
        label: slot_label(number.into(), total),
        state: lines.get(&number).map_or(SlotState::Empty, |slot| state(slot)),
    };
    Snapshot { overall: tasks, slots: (1..=shown).map(slot).collect(), phase }
}

/// Each slot has the line of its number. One whose number is beyond the last line, as after scaling down, has a line that is free.
fn slots_by_line(progress: &pb::ServiceProgress, shown: u32) -> BTreeMap<u32, &pb::SlotProgress> {
    let (own, beyond): (Vec<_>, Vec<_>) = progress.slots.iter().partition(|slot| slot.slot <= shown);
    let mut lines: BTreeMap<u32, &pb::SlotProgress> = own.into_iter().map(|slot| (slot.slot, slot)).collect();
    let free: Vec<u32> = (1..=shown).filter(|line| !lines.contains_key(line)).collect();
    lines.extend(free.into_iter().zip(beyond));
    lines
}

fn state(slot: &pb::SlotProgress) -> SlotState {
    let runs = slot.state == i32::from(pb::TaskState::Running);
    match slot.error.as_str() {
        "" => SlotState::State(state_word(slot.state).to_owned()),
        _ if runs => SlotState::State(state_word(slot.state).to_owned()),
        error => SlotState::Error(error.to_owned()),
    }
}

/// Why a service has not converged, in one sentence.
pub(crate) fn why_not(name: &str, waited: &str, progress: Option<&pb::ServiceProgress>) -> String {
    let begin = format!("failed to see service {name} converge within {waited}");
    let more = format!("it goes on in the background: skep service ps {name} tells more");
    let Some(progress) = progress else {
        return format!("{begin}: the managers did not say how far it is; {more}");
    };
    let mut parts = vec![format!("{} of {} tasks run", progress.running, progress.desired)];
    if progress.leftover > 0 {
        parts.push(not_stopped("old task", progress.leftover));
    }
    parts.extend(reasons(progress));
    format!("{begin}: {}; {more}", parts.join("; "))
}

/// Why a removed service is still there.
pub(crate) fn why_not_removed(name: &str, waited: &str, progress: &pb::ServiceProgress) -> String {
    format!(
        "failed to see the tasks of service {name} end within {waited}: {}; the rest goes on in the background",
        not_stopped("task", progress.leftover)
    )
}

fn not_stopped(what: &str, count: u32) -> String {
    match count {
        1 => format!("1 {what} has not stopped yet"),
        _ => format!("{count} {what}s have not stopped yet"),
    }
}

/// What is said of slots that do not run, those with the same to say together.
fn reasons(progress: &pb::ServiceProgress) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for slot in progress.slots.iter().filter(|slot| slot.state != i32::from(pb::TaskState::Running)) {
        let reason = if slot.error.is_empty() { state_word(slot.state) } else { &slot.error };
        by_reason.entry(reason.to_owned()).or_default().push(place(slot));
    }
    let mut told: Vec<(String, Vec<String>)> = by_reason.into_iter().collect();
    // What most of them say comes first.
    told.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
    told.into_iter().take(REASONS_MAX).map(|(reason, places)| format!("{}: {reason}", places_text(&places))).collect()
}

fn place(slot: &pb::SlotProgress) -> String {
    match (slot.slot, slot.node_name.as_str()) {
        (0, "") => format!("node {}", id_text(&slot.node)),
        (0, name) => format!("node {name}"),
        (number, _) => format!("slot {number}"),
    }
}

fn places_text(places: &[String]) -> String {
    match places {
        [first, rest @ ..] if !rest.is_empty() => format!("{first} and {} more", rest.len()),
        [only] => only.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::progress::lines;

    fn wanted(spec_version: u64, global: bool) -> Wanted {
        Wanted { id: "abc".into(), name: "web".into(), spec_version, global }
    }

    fn slot(slot: u32, state: pb::TaskState, error: &str) -> pb::SlotProgress {
        pb::SlotProgress { slot, state: state.into(), error: error.into(), ..Default::default() }
    }

    fn progress() -> pb::ServiceProgress {
        let slots = vec![
            slot(3, pb::TaskState::Pending, "no suitable node (1 node: memory)"),
            slot(1, pb::TaskState::Running, ""),
            slot(4, pb::TaskState::Pending, "no suitable node (1 node: memory)"),
        ];
        pb::ServiceProgress { desired: 4, running: 1, slots, spec_version: 2, ..Default::default() }
    }

    #[test]
    fn only_the_version_that_was_asked_for_counts() {
        let converged = pb::ServiceProgress { converged: true, spec_version: 2, ..Default::default() };
        assert!(wanted(2, false).is_met(&converged) && wanted(1, false).is_met(&converged));
        assert!(!wanted(3, false).is_met(&converged));
        assert!(!wanted(2, false).is_met(&progress()));
        let removed = pb::ServiceProgress { converged: true, removed: true, ..Default::default() };
        assert!(wanted(3, false).is_met(&removed));
    }

    #[test]
    fn what_never_will_converge_is_not_waited_for() {
        let given_up = pb::ServiceProgress { ended: 3, ..progress() };
        assert!(is_hopeless(&given_up, &wanted(2, false)));
        assert!(
            why_never("web", &given_up)
                .starts_with("see service web converge: 1 of 4 tasks run; slot 3 and 1 more: no")
        );
        let beginning = pb::ServiceProgress { ended: 2, ..progress() };
        let others = [progress(), beginning, pb::ServiceProgress { converged: true, ..given_up.clone() }];
        assert!(!others.iter().any(|progress| is_hopeless(progress, &wanted(2, false))));
        assert!(!is_hopeless(&given_up, &wanted(3, false)), "of the version before");
    }

    #[test]
    fn every_slot_has_its_line_in_order() {
        let drawn = lines(&snapshot(&progress(), &wanted(2, false), Phase::Working));
        assert_eq!(drawn[0], "overall progress: 1 out of 4 tasks");
        assert!(drawn[1].starts_with("1/4: running"), "{drawn:?}");
        assert_eq!(
            &drawn[2..],
            ["2/4:", "3/4: no suitable node (1 node: memory)", "4/4: no suitable node (1 node: memory)"]
        );
    }

    #[test]
    fn after_scaling_down_high_slots_have_the_free_lines() {
        let slots = [4, 2].map(|number| slot(number, pb::TaskState::Running, "")).to_vec();
        let progress = pb::ServiceProgress { desired: 2, running: 2, slots, ..Default::default() };
        let drawn = lines(&snapshot(&progress, &wanted(0, false), Phase::Working));
        assert!(drawn[1].starts_with("1/2: running") && drawn[2].starts_with("2/2: running"), "{drawn:?}");
    }

    #[test]
    fn what_has_not_stopped_is_counted_in_words() {
        let one = pb::ServiceProgress { leftover: 1, ..Default::default() };
        assert!(why_not_removed("web", "3s", &one).contains("1 task has not stopped yet"));
        let two = pb::ServiceProgress { leftover: 2, ..Default::default() };
        assert!(why_not("web", "3s", Some(&two)).contains("2 old tasks have not stopped yet"));
    }

    #[test]
    fn a_global_service_has_a_line_a_node() {
        let mut progress = pb::ServiceProgress { desired: 1, ..Default::default() };
        let drawn = lines(&snapshot(&progress, &wanted(0, true), Phase::Working));
        assert_eq!(drawn, ["overall progress: waiting for new tasks"]);
        progress.slots = vec![pb::SlotProgress { node: vec![0; 16], ..slot(0, pb::TaskState::Preparing, "") }];
        let drawn = lines(&snapshot(&progress, &wanted(0, true), Phase::Working));
        assert!(drawn[1].starts_with("000000000000: preparing"), "{drawn:?}");
    }

    #[test]
    fn a_service_of_nothing_converges() {
        let progress = pb::ServiceProgress { converged: true, ..Default::default() };
        let drawn = lines(&snapshot(&progress, &wanted(0, false), Phase::Converged("abc".into())));
        assert_eq!(drawn, ["overall progress: 0 out of 0 tasks", "verify: Service abc converged"]);
    }

    #[test]
    fn a_timeout_says_why() {
        let text = why_not("web", "30s", Some(&progress()));
        let wanted = "failed to see service web converge within 30s: 1 of 4 tasks run; slot 3 and 1 more: no suitable node \
                      (1 node: memory); it goes on in the background: skep service ps web tells more";
        assert_eq!(text, wanted);
        assert!(why_not("web", "30s", None).contains("did not say"));
    }

    #[test]
    fn a_running_task_hides_an_old_error() {
        let slots = vec![slot(1, pb::TaskState::Running, "once failed")];
        let progress = pb::ServiceProgress { desired: 1, running: 1, slots, ..Default::default() };
        assert!(lines(&snapshot(&progress, &wanted(0, false), Phase::Working))[1].starts_with("1/1: running"));
    }
}
