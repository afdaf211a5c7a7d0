//! What the progress of a node means: what is shown of it, and why it is stuck. Pure.

use std::collections::BTreeMap;

use skep_proto::pb;

use crate::cli::json::id_text;

/// Different reasons that a sentence names. One is the rule; more than a few help nobody.
const REASONS_MAX: usize = 3;

/// What has been seen of a node that is waited for.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// Most tasks that were seen to move: the whole of which the rest is left.
    total: u32,
    last: pb::NodeProgress,
}

impl Moving {
    /// Takes in what the managers say.
    pub(super) fn take(&mut self, progress: pb::NodeProgress) {
        self.total = self.total.max(open(&progress));
        self.last = progress;
    }

    /// Nothing is to move any more.
    pub(super) fn is_done(&self) -> bool {
        self.last.converged
    }

    /// As it is drawn: nothing, when there was nothing to move.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.total == 0 {
            return Vec::new();
        }
        let done = self.total - open(&self.last).min(self.total);
        let verb = if self.drains() { "moved" } else { "started" };
        let overall = format!("overall progress: {done} out of {} tasks {verb}", self.total);
        let tasks = self.last.moves.iter().map(|task| format!("{}: {}", place(task), task.why));
        [overall].into_iter().chain(tasks).collect()
    }

    fn drains(&self) -> bool {
        self.last.availability == i32::from(pb::Availability::Drain)
    }

    /// Why the node is not yet what its availability says, in one sentence.
    pub(super) fn why_not(&self, node: &str, waited: &str) -> String {
        let what = if self.drains() { "drained" } else { "run its tasks" };
        let left = open(&self.last);
        let parts: Vec<String> = [format!("{left} of {} tasks have still to move", self.total)]
            .into_iter()
            .chain(reasons(&self.last.moves))
            .collect();
        format!(
            "failed to see node {node} {what} within {waited}: {}; it goes on in the background: skep node ps {node} tells more",
            parts.join("; ")
        )
    }

    /// What the user should know though all is done: tasks that have no node now, and tasks of which nothing is heard.
    pub(super) fn warnings(&self, node: &str) -> Vec<String> {
        let (count, unheard) = (self.last.stranded, self.last.unheard);
        let told = reasons(&self.last.moves).join("; ");
        let stranded =
            (count > 0).then(|| format!("WARNING: {count} of the tasks moved off node {node} do not run: {told}"));
        let unheard = (unheard > 0).then(|| {
            format!(
                "WARNING: node {node} is down: {unheard} of its tasks may still run there, and stop when it is back"
            )
        });
        stranded.into_iter().chain(unheard).collect()
    }
}

fn open(progress: &pb::NodeProgress) -> u32 {
    progress.left + progress.coming + progress.stranded
}

/// As `service ps` names it.
fn place(task: &pb::MoveProgress) -> String {
    let name = if task.service_name.is_empty() { id_text(&task.task) } else { task.service_name.clone() };
    if task.slot == 0 { name } else { format!("{name}.{}", task.slot) }
}

/// What is said of the tasks, those with the same to say together.
fn reasons(moves: &[pb::MoveProgress]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for task in moves {
        by_reason.entry(&task.why).or_default().push(place(task));
    }
    let mut told: Vec<(&str, Vec<String>)> = by_reason.into_iter().collect();
    // What most of them say comes first.
    told.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
    let text = |(reason, places): (&str, Vec<String>)| match places.as_slice() {
        [first, rest @ ..] if !rest.is_empty() => format!("{first} and {} more: {reason}", rest.len()),
        other => format!("{}: {reason}", other.concat()),
    };
    told.into_iter().take(REASONS_MAX).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(slot: u32, why: &str) -> pb::MoveProgress {
        pb::MoveProgress { service_name: "web".into(), slot, why: why.into(), ..Default::default() }
    }

    fn drain(left: u32, moves: Vec<pb::MoveProgress>) -> pb::NodeProgress {
        pb::NodeProgress {
            availability: pb::Availability::Drain.into(),
            left,
            moves,
            converged: left == 0,
            ..Default::default()
        }
    }

    #[test]
    fn every_task_that_is_left_has_its_line() {
        let mut moving = Moving::default();
        moving.take(drain(2, vec![task(1, "is being stopped"), task(3, "its replacement on m3 is preparing")]));
        let lines = moving.lines();
        assert_eq!(lines[0], "overall progress: 0 out of 2 tasks moved");
        assert_eq!(lines[1..], ["web.1: is being stopped", "web.3: its replacement on m3 is preparing"]);
        moving.take(drain(0, Vec::new()));
        assert_eq!(moving.lines(), ["overall progress: 2 out of 2 tasks moved"]);
        assert!(moving.is_done());
    }

    #[test]
    fn of_a_node_with_nothing_to_move_nothing_is_shown() {
        let mut moving = Moving::default();
        moving.take(drain(0, Vec::new()));
        assert!(moving.lines().is_empty() && moving.is_done());
    }

    #[test]
    fn a_timeout_says_what_stands_in_the_way() {
        let mut moving = Moving::default();
        let held = "web keeps 2 of 2 tasks running, and 2 run";
        moving.take(drain(3, vec![task(1, held), task(2, held), task(7, "is being stopped")]));
        let wanted = format!(
            "failed to see node m2 drained within 5s: 3 of 3 tasks have still to move; web.1 and 1 more: {held}; web.7: is \
             being stopped; it goes on in the background: skep node ps m2 tells more"
        );
        assert_eq!(moving.why_not("m2", "5s"), wanted);
    }

    #[test]
    fn tasks_without_a_node_are_told_of_though_the_node_is_empty() {
        let mut moving = Moving::default();
        let stranded = pb::NodeProgress { stranded: 1, ..drain(0, vec![task(1, "moved, and waits for a node: none")]) };
        moving.take(stranded);
        let text = "WARNING: 1 of the tasks moved off node m2 do not run: web.1: moved, and waits for a node: none";
        assert_eq!((moving.is_done(), moving.warnings("m2")), (true, vec![text.to_owned()]));
        assert!(Moving::default().warnings("m2").is_empty());
    }

    #[test]
    fn what_may_still_run_on_a_node_that_is_down_is_told_of() {
        let mut moving = Moving::default();
        moving.take(pb::NodeProgress { unheard: 3, ..drain(0, Vec::new()) });
        let text = "WARNING: node m2 is down: 3 of its tasks may still run there, and stop when it is back";
        assert_eq!((moving.is_done(), moving.warnings("m2")), (true, vec![text.to_owned()]));
    }
}
