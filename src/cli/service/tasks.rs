//! `service ps` and `node ps`: tasks, the newest of each slot first and its history under it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use skep_proto::model::{Moment, PublishMode};
use skep_proto::pb;

use super::list::{port_words, without_digest};
use crate::cli::connect::Daemon;
use crate::cli::error::all;
use crate::cli::format::filter::Filters;
use crate::cli::format::table::{Column, Listing};
use crate::cli::format::template::Row;
use crate::cli::format::units::{natural_cmp, short_id};
use crate::cli::format::words::{current_state, ports, state, task_error, task_name};
use crate::cli::json::spec::ports_of;
use crate::cli::json::task::{desired_word, seen};
use crate::cli::json::{id_text, meta_id};
use crate::cli::list::{ListFlags, collect};
use crate::cli::node::resolved;
use crate::cli::output::now;
use crate::exit::Exit;

/// Flags of `service ps`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServiceTasksFlags {
    #[command(flatten)]
    tasks: TasksFlags,
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// Flags of a listing of tasks.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TasksFlags {
    #[command(flatten)]
    list: ListFlags,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Do not map ids to names
    #[arg(long)]
    no_resolve: bool,
}

const FILTERS: [&str; 4] = ["id", "name", "node", "desired-state"];

const COLUMNS: [Column; 8] = [
    Column { header: "ID", field: "ID" },
    Column { header: "NAME", field: "Name" },
    Column { header: "IMAGE", field: "Image" },
    Column { header: "NODE", field: "Node" },
    Column { header: "DESIRED STATE", field: "DesiredState" },
    Column { header: "CURRENT STATE", field: "CurrentState" },
    Column { header: "ERROR", field: "Error" },
    Column { header: "PORTS", field: "Ports" },
];

/// How much of ids, images and errors is shown.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    now: Moment,
    whole: bool,
    ids_for_names: bool,
}

/// Lists the tasks of services.
///
/// # Errors
/// When there is no such service, or a flag cannot be read.
pub(super) async fn run_for_services(daemon: &Daemon, flags: ServiceTasksFlags) -> anyhow::Result<Exit> {
    let of = |service| pb::ListTasksRequest { services: vec![service], nodes: Vec::new() };
    run(daemon, &flags.tasks, flags.services.into_iter().map(of).map(Ok).collect()).await
}

/// Lists the tasks that are asked for, then fails with what was not found.
///
/// # Errors
/// When the daemon refuses, or a flag cannot be read.
pub(crate) async fn run(
    daemon: &Daemon,
    flags: &TasksFlags,
    requests: Vec<anyhow::Result<pb::ListTasksRequest>>,
) -> anyhow::Result<Exit> {
    let mut filters = flags.list.filters(&FILTERS)?;
    filters.expect_words("desired-state", &["running", "shutdown", "accepted", "ready", "remove"])?;
    if filters.values("node").iter().any(|word| word == "self") {
        filters.replace("node", "self", &resolved(daemon, "self").await?);
    }
    let (mut entries, mut errors) = (BTreeMap::new(), Vec::new());
    for request in requests {
        match entries_of(daemon, request).await {
            Ok(found) => entries.extend(found.into_iter().map(|entry| (task_id(&entry), entry))),
            Err(error) => errors.push(error),
        }
    }
    // A command that found nothing it was asked for has nothing to show.
    if errors.is_empty() || !entries.is_empty() {
        let view = View { now: now(), whole: flags.no_trunc, ids_for_names: flags.no_resolve };
        flags.list.show(&listing(entries.into_values().collect(), &filters, view))?;
    }
    all(errors)?;
    Ok(Exit::Done)
}

async fn entries_of(
    daemon: &Daemon,
    request: anyhow::Result<pb::ListTasksRequest>,
) -> anyhow::Result<Vec<pb::TaskEntry>> {
    Ok(collect(daemon.control().list_tasks(request?).await?.into_inner()).await?)
}

/// A task that is asked for under two names is listed once.
fn task_id(entry: &pb::TaskEntry) -> String {
    meta_id(entry.task.as_ref().and_then(|task| task.meta.as_ref()))
}

/// The tasks that fit, slot by slot.
fn listing(entries: Vec<pb::TaskEntry>, filters: &Filters, view: View) -> Listing {
    let mut shown: Vec<Shown> = entries.into_iter().map(|entry| Shown::new(entry, view)).collect();
    shown.retain(|task| task.fits(filters));
    shown.sort_by(|a, b| natural_cmp(&a.name, &b.name).then_with(|| b.created().cmp(&a.created())));
    let before = std::iter::once(None).chain(shown.iter().map(|task| Some(task.name.clone()))).collect::<Vec<_>>();
    let rows = shown.iter().zip(&before).map(|(task, before)| task.row(before.as_ref() == Some(&task.name), view));
    Listing { columns: &COLUMNS, rows: rows.collect(), id_field: "ID" }
}

/// A task with the names under which it is shown.
struct Shown {
    entry: pb::TaskEntry,
    task: pb::Task,
    name: String,
    node: String,
}

impl Shown {
    fn new(entry: pb::TaskEntry, view: View) -> Self {
        let task = entry.task.clone().unwrap_or_default();
        let by_id = view.ids_for_names;
        // What is gone has no name any more.
        let named = |name: &str, id: &[u8]| if by_id || name.is_empty() { id_text(id) } else { name.to_owned() };
        let service = named(&entry.service_name, &task.service_id);
        let slot = if task.slot == 0 { id_text(&task.slot_node) } else { task.slot.to_string() };
        let node = named(&entry.node_name, &task.node_id);
        Self { name: format!("{service}.{slot}"), node, task, entry }
    }

    fn id(&self) -> String {
        meta_id(self.task.meta.as_ref())
    }

    /// Old to new; ids settle the order of those made in one go.
    fn created(&self) -> (u64, String) {
        (self.task.meta.as_ref().map_or(0, |meta| meta.created_at), self.id())
    }

    fn fits(&self, filters: &Filters) -> bool {
        let desired = desired_word(self.task.desired);
        // Docker's word for what is meant to run but waits.
        let desired =
            if desired == "ready" && filters.is_exact("desired-state", "accepted") { "accepted" } else { desired };
        filters.is_prefix("id", &self.id())
            && filters.is_prefix("name", &self.name)
            && (filters.is_exact("node", &self.node) || filters.is_prefix("node", &id_text(&self.task.node_id)))
            && filters.is_exact("desired-state", desired)
    }

    fn row(&self, is_history: bool, view: View) -> Row {
        let id = self.id();
        let (status, seen) = (self.task.status.clone().unwrap_or_default(), seen(&self.entry));
        let image = if view.whole { &self.entry.image } else { without_digest(&self.entry.image) };
        let own: Vec<_> = ports_of(&status.ports, PublishMode::Host).iter().map(port_words).collect();
        Row::new(json!({
            "ID": if view.whole { &id } else { short_id(&id) },
            "Name": task_name(&self.name, is_history),
            "Image": image,
            "Node": self.node,
            "DesiredState": state(desired_word(self.task.desired)),
            "CurrentState": current_state(seen.word, age(view.now, seen.at)),
            "Error": task_error(&seen.error, !view.whole),
            "Ports": ports(&own),
        }))
    }
}

fn age(now: Moment, at: u64) -> Duration {
    now.since(Moment(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::table::Format;

    const NOW: Moment = Moment(1_000_000);

    fn entry(slot: u32, created: u64, state: pb::TaskState) -> pb::TaskEntry {
        let desired =
            if state == pb::TaskState::Running { pb::DesiredState::Running } else { pb::DesiredState::Shutdown };
        let error = if state == pb::TaskState::Failed { "task: non-zero exit (1) and much more" } else { "" };
        let status = pb::TaskStatus { state: state.into(), at: 700_000, error: error.into(), ..Default::default() };
        let id = u128::from(created).to_be_bytes().to_vec();
        let task = pb::Task {
            meta: Some(pb::Meta { id, created_at: created, ..Default::default() }),
            slot,
            node_id: vec![0; 16],
            desired: desired.into(),
            status: Some(status),
            ..Default::default()
        };
        pb::TaskEntry {
            task: Some(task),
            service_name: "web".into(),
            node_name: "one".into(),
            image: "busybox:1@sha256:00".into(),
            ..Default::default()
        }
    }

    fn shown(entries: Vec<pb::TaskEntry>, filters: &[&str], view: View, format: &str) -> String {
        let filters = Filters::parse(filters, &FILTERS).unwrap();
        listing(entries, &filters, view).render(&Format::parse(Some(format)).unwrap(), false).unwrap()
    }

    fn short() -> View {
        View { now: NOW, ..View::default() }
    }

    #[test]
    fn history_stands_under_its_slot_newest_first() {
        let entries = vec![
            entry(10, 5, pb::TaskState::Running),
            entry(2, 3, pb::TaskState::Failed),
            entry(2, 4, pb::TaskState::Running),
            entry(2, 1, pb::TaskState::Failed),
        ];
        let text = shown(entries, &[], short(), "{{.Name}}|{{.CurrentState}}|{{.Error}}");
        let wanted = "web.2|Running 5 minutes ago|\n \
                      \\_ web.2|Failed 5 minutes ago|\"task: non-zero exit (1) and m…\"\n \
                      \\_ web.2|Failed 5 minutes ago|\"task: non-zero exit (1) and m…\"\n\
                      web.10|Running 5 minutes ago|\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn nothing_is_said_of_tasks_on_a_lost_node() {
        let mut lost = entry(1, 1, pb::TaskState::Running);
        (lost.node_down, lost.node_down_since) = (true, 988_000);
        lost.node_down_reason = "no heartbeat for 2.9 s".into();
        let text = shown(vec![lost], &[], View { whole: true, ..short() }, "{{.CurrentState}}|{{.Error}}");
        assert_eq!(text, "Unknown 12 seconds ago|\"node one is down: no heartbeat for 2.9 s\"\n");
        let mut ended = entry(1, 1, pb::TaskState::Failed);
        ended.node_down = true;
        assert_eq!(shown(vec![ended], &[], short(), "{{.CurrentState}}"), "Failed 5 minutes ago\n");
    }

    #[test]
    fn whole_rows_and_ids_can_be_had() {
        let view = View { whole: true, ids_for_names: true, ..short() };
        let text =
            shown(vec![entry(1, 1, pb::TaskState::Failed)], &[], view, "{{.ID}} {{.Node}} {{.Image}} {{.Error}}");
        let zeros = "0".repeat(24);
        let wanted = format!("{zeros}1 {zeros}0 busybox:1@sha256:00 \"task: non-zero exit (1) and much more\"\n");
        assert_eq!(text, wanted);
    }

    #[test]
    fn filters_choose() {
        let entries = || vec![entry(1, 1, pb::TaskState::Running), entry(2, 2, pb::TaskState::Failed)];
        let names = |filters: &[&str]| shown(entries(), filters, short(), "{{.Name}}");
        assert_eq!(names(&["desired-state=running"]), "web.1\n");
        assert_eq!(names(&["name=web.2"]), "web.2\n");
        assert_eq!(names(&["node=one", "desired-state=shutdown"]), "web.2\n");
        assert_eq!(names(&["node=two"]), "");
    }

    #[test]
    fn a_global_task_is_named_by_its_node() {
        let mut global = entry(0, 1, pb::TaskState::Running);
        if let Some(task) = &mut global.task {
            task.slot_node = vec![0; 16];
        }
        assert_eq!(shown(vec![global], &[], short(), "{{.Name}}"), format!("web.{}\n", "0".repeat(25)));
    }
}
