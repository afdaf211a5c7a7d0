//! Whose line it is: what `service logs` writes in front of each. Pure.

use std::collections::BTreeMap;

use skep_proto::pb;

use crate::cli::format::units::short_id;
use crate::cli::json::id_text;

/// What the prefix holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// No prefix at all.
    pub(super) raw: bool,
    /// Without the task's id.
    pub(super) no_task_ids: bool,
    /// Whole ids.
    pub(super) no_trunc: bool,
    /// Ids in place of names.
    pub(super) no_resolve: bool,
}

/// The prefixes of the tasks that have been introduced.
#[derive(Debug)]
pub(super) struct Prefixes {
    style: Style,
    /// Digits of the largest slot: shorter ones are padded, so that lines stand in one column.
    digits: usize,
    known: BTreeMap<Vec<u8>, String>,
}

impl Prefixes {
    /// None yet.
    pub(super) fn new(style: Style, digits: usize) -> Self {
        Self { style, digits, known: BTreeMap::new() }
    }

    /// Takes in who a task is.
    pub(super) fn introduce(&mut self, source: &pb::LogSource) {
        let prefix = self.prefix(source);
        self.known.insert(source.task.clone(), prefix);
    }

    /// The prefix of a line; one whose task nobody introduced has its ids.
    pub(super) fn of(&self, line: &pb::LogLine) -> String {
        self.of_task(&line.task).unwrap_or_else(|| {
            self.prefix(&pb::LogSource { task: line.task.clone(), node: line.node.clone(), ..Default::default() })
        })
    }

    /// The prefix of a task.
    pub(super) fn of_task(&self, task: &[u8]) -> Option<String> {
        self.known.get(task).cloned()
    }

    fn prefix(&self, source: &pb::LogSource) -> String {
        if self.style.raw {
            return String::new();
        }
        let whole = id_text(&source.task);
        let id = if self.style.no_trunc { whole.as_str() } else { short_id(&whole) };
        let by_id = |name: &str| self.style.no_resolve || name.is_empty();
        let node = if by_id(&source.node_name) { id_text(&source.node) } else { source.node_name.clone() };
        let slot = if source.slot == 0 { id_text(&source.node) } else { source.slot.to_string() };
        let padding = " ".repeat(self.digits.saturating_sub(slot.len()));
        let task = match (source.service_name.as_str(), self.style.no_task_ids) {
            ("", _) => id.to_owned(),
            (service, true) => format!("{service}.{slot}"),
            (service, false) => format!("{service}.{slot}.{id}"),
        };
        format!("{task}@{node}{padding}    | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> pb::LogSource {
        let service_name = "web".to_owned();
        pb::LogSource { task: vec![0; 16], service_name, slot: 2, node: vec![0; 16], node_name: "one".into() }
    }

    fn prefix(style: Style, digits: usize) -> String {
        let mut prefixes = Prefixes::new(style, digits);
        prefixes.introduce(&source());
        prefixes.of(&pb::LogLine { task: vec![0; 16], ..Default::default() })
    }

    #[test]
    fn a_prefix_is_dockers() {
        assert_eq!(prefix(Style::default(), 1), "web.2.000000000000@one    | ");
        assert_eq!(prefix(Style::default(), 3), "web.2.000000000000@one      | ");
        assert_eq!(prefix(Style { no_task_ids: true, ..Style::default() }, 0), "web.2@one    | ");
        assert_eq!(prefix(Style { raw: true, ..Style::default() }, 3), "");
        let whole = Style { no_trunc: true, no_resolve: true, ..Style::default() };
        assert_eq!(prefix(whole, 0), format!("web.2.{0}@{0}    | ", "0".repeat(25)));
    }

    #[test]
    fn a_stranger_is_named_by_its_ids() {
        let prefixes = Prefixes::new(Style::default(), 0);
        let line = pb::LogLine { task: vec![0; 16], node: vec![0; 16], ..Default::default() };
        assert_eq!(prefixes.of(&line), format!("000000000000@{}    | ", "0".repeat(25)));
    }
}
