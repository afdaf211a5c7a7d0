//! `node ls`.

use clap::Args;
use serde_json::json;
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::format::filter::Filters;
use crate::cli::format::table::{Column, Listing};
use crate::cli::format::template::Row;
use crate::cli::format::units::natural_cmp;
use crate::cli::format::words::state;
use crate::cli::json::meta_id;
use crate::cli::json::node::{availability_word, clock_skew, role_word, state_word};
use crate::cli::list::{ListFlags, collect};
use crate::exit::Exit;

/// Flags of `node ls`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct NodesFlags {
    #[command(flatten)]
    list: ListFlags,
}

const FILTERS: [&str; 6] = ["id", "label", "membership", "name", "node.label", "role"];

/// The last one is Docker's no more: it is shown only when a clock is wrong.
const COLUMNS: [Column; 7] = [
    Column { header: "ID", field: "ID" },
    Column { header: "HOSTNAME", field: "Hostname" },
    Column { header: "STATUS", field: "Status" },
    Column { header: "AVAILABILITY", field: "Availability" },
    Column { header: "MANAGER STATUS", field: "ManagerStatus" },
    Column { header: "ENGINE VERSION", field: "EngineVersion" },
    Column { header: "CLOCK", field: "ClockSkew" },
];

/// A clock that differs from the leader's by so much is shown without being asked for.
const CLOCK_OFF_MS: u64 = 1_000;

/// Lists nodes.
///
/// # Errors
/// When the daemon refuses, or a flag cannot be read.
pub(super) async fn run(daemon: &Daemon, flags: &NodesFlags) -> anyhow::Result<Exit> {
    let filters = flags.list.filters(&FILTERS)?;
    filters.expect_words("role", &["worker", "manager"])?;
    filters.expect_words("membership", &["accepted", "pending"])?;
    let stream = daemon.control().list_nodes(pb::ListNodesRequest { refs: Vec::new() }).await?.into_inner();
    flags.list.show(&listing(&collect(stream).await?, &filters, flags.list.is_table()))?;
    Ok(Exit::Done)
}

/// The nodes that fit, by hostname; `marked` puts a star behind the own id.
fn listing(entries: &[pb::NodeEntry], filters: &Filters, marked: bool) -> Listing {
    let mut shown: Vec<(&pb::NodeEntry, pb::Node)> =
        entries.iter().map(|entry| (entry, entry.node.clone().unwrap_or_default())).collect();
    shown.retain(|(_, node)| fits(node, filters));
    let key = |node: &pb::Node| (hostname(node).to_owned(), meta_id(node.meta.as_ref()));
    shown.sort_by(|(_, a), (_, b)| natural_cmp(&key(a).0, &key(b).0).then_with(|| key(a).1.cmp(&key(b).1)));
    let rows = shown.iter().map(|(entry, node)| row(entry, node, marked)).collect();
    let is_off = |ms: i64| ms.unsigned_abs() >= CLOCK_OFF_MS;
    let off = shown.iter().any(|(entry, _)| entry.clock_ahead_ms.is_some_and(is_off));
    Listing { columns: if off { &COLUMNS } else { &COLUMNS[..6] }, rows, id_field: "ID" }
}

fn hostname(node: &pb::Node) -> &str {
    node.description.as_ref().map_or("", |description| &description.hostname)
}

fn fits(node: &pb::Node, filters: &Filters) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let engine = node.description.clone().unwrap_or_default();
    filters.is_prefix("id", &meta_id(node.meta.as_ref()))
        && filters.is_substring("name", hostname(node))
        && filters.is_exact("role", role_word(node.role))
        // Whoever has a certificate is accepted: there is no other way in.
        && filters.is_exact("membership", "accepted")
        && filters.has_labels("label", &engine.engine_labels)
        && filters.has_labels("node.label", &spec.labels)
}

fn row(entry: &pb::NodeEntry, node: &pb::Node, marked: bool) -> Row {
    let id = meta_id(node.meta.as_ref());
    let mark = if entry.self_ { " *" } else { "" };
    let spec = node.spec.clone().unwrap_or_default();
    Row::new(json!({
        "ID": if marked { format!("{id}{mark}") } else { id },
        "Self": entry.self_,
        "Hostname": hostname(node),
        "Status": state(state_word(node.status.as_ref().map_or(0, |status| status.state))),
        "Availability": state(availability_word(spec.availability)),
        "ManagerStatus": manager_status(entry, node),
        "EngineVersion": node.description.as_ref().map_or("", |description| &description.engine_version),
        "TLSStatus": "Ready",
        "ClockSkew": entry.clock_ahead_ms.map_or_else(String::new, clock_skew),
    }))
}

fn manager_status(entry: &pb::NodeEntry, node: &pb::Node) -> &'static str {
    match (&node.manager, entry.leader, entry.reachable) {
        (None, ..) => "",
        (_, true, _) => "Leader",
        (_, _, true) => "Reachable",
        _ => "Unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::table::Format;

    fn entry(number: u128, name: &str, manager: bool) -> pb::NodeEntry {
        let role = if manager { pb::NodeRole::Manager } else { pb::NodeRole::Worker };
        let node = pb::Node {
            meta: Some(pb::Meta { id: number.to_be_bytes().to_vec(), ..Default::default() }),
            spec: Some(pb::NodeSpec {
                availability: pb::Availability::Active.into(),
                role: role.into(),
                labels: [("zone".to_owned(), "a".to_owned())].into(),
            }),
            description: Some(pb::NodeDescription {
                hostname: name.into(),
                engine_version: "0.1.0".into(),
                ..Default::default()
            }),
            status: Some(pb::NodeStatus { state: pb::NodeState::Ready.into(), ..Default::default() }),
            role: role.into(),
            manager: manager.then(|| pb::ManagerStatus { raft_id: 1, address: "10.0.0.1:2377".into() }),
            ..Default::default()
        };
        pb::NodeEntry { node: Some(node), leader: manager, reachable: true, self_: manager, clock_ahead_ms: Some(-40) }
    }

    fn entries() -> Vec<pb::NodeEntry> {
        vec![entry(2, "node-10", false), entry(1, "node-2", true)]
    }

    fn names(filters: &[&str]) -> String {
        let filters = Filters::parse(filters, &FILTERS).unwrap();
        listing(&entries(), &filters, false).render(&Format::parse(Some("{{.Hostname}}")).unwrap(), false).unwrap()
    }

    #[test]
    fn the_own_node_has_a_star_in_the_table_only() {
        let table = listing(&entries(), &Filters::default(), true).render(&Format::Table, false).unwrap();
        let wanted = "ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION\n\
                      0000000000000000000000001 *   node-2     Ready     Active         Leader           0.1.0\n\
                      0000000000000000000000002     node-10    Ready     Active                          0.1.0\n";
        assert_eq!(table, wanted);
        let ids = listing(&entries(), &Filters::default(), false).render(&Format::Table, true).unwrap();
        assert_eq!(ids, "0000000000000000000000001\n0000000000000000000000002\n");
    }

    #[test]
    fn a_wrong_clock_is_shown_and_right_ones_are_not() {
        let mut entries = entries();
        entries[0].clock_ahead_ms = Some(-600_049);
        let table = listing(&entries, &Filters::default(), false).render(&Format::Table, false).unwrap();
        let ends: Vec<&str> = table.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
        assert_eq!(ends, ["CLOCK", "+0s", "-10m0s"]);
    }

    #[test]
    fn filters_choose() {
        assert_eq!(names(&["role=worker"]), "node-10\n");
        assert_eq!(names(&["name=node-2", "node.label=zone=a"]), "node-2\n");
        assert_eq!(names(&["label=zone"]), "");
        assert_eq!(names(&["membership=pending"]), "");
    }
}
