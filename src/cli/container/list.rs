//! `ps`.

use clap::Args;
use serde_json::json;
use skep_proto::model::Moment;
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::flags::ports::protocol_word;
use crate::cli::format::filter::Filters;
use crate::cli::format::table::{Column, Listing};
use crate::cli::format::template::Row;
use crate::cli::format::units::{ago, ellipsis, short_id};
use crate::cli::format::words::{ContainerPhase, container_status};
use crate::cli::image::created_at;
use crate::cli::json::spec::read_ports;
use crate::cli::list::{ListFlags, collect};
use crate::cli::output::now;
use crate::exit::Exit;

/// A command is cut to this many characters, quotes not counted.
const COMMAND_MAX: usize = 20;

/// Flags of `ps`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ContainersFlags {
    #[command(flatten)]
    list: ListFlags,
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
}

const FILTERS: [&str; 5] = ["id", "name", "label", "status", "ancestor"];

const COLUMNS: [Column; 7] = [
    Column { header: "CONTAINER ID", field: "ID" },
    Column { header: "IMAGE", field: "Image" },
    Column { header: "COMMAND", field: "Command" },
    Column { header: "CREATED", field: "RunningFor" },
    Column { header: "STATUS", field: "Status" },
    Column { header: "PORTS", field: "Ports" },
    Column { header: "NAMES", field: "Names" },
];

/// Lists containers.
///
/// # Errors
/// When a flag cannot be read.
pub(crate) async fn run(daemon: &Daemon, flags: &ContainersFlags) -> anyhow::Result<Exit> {
    let filters = flags.list.filters(&FILTERS)?;
    filters.expect_words("status", &["created", "running", "exited"])?;
    // Who asks for a state by name means containers that do not run, too.
    let all = flags.all || !filters.values("status").is_empty();
    let stream = daemon.local().list_containers(pb::ListContainersRequest { all }).await?.into_inner();
    flags.list.show(&listing(collect(stream).await?, &filters, flags.no_trunc, now()))?;
    Ok(Exit::Done)
}

/// The containers that fit, newest first.
fn listing(mut containers: Vec<pb::Container>, filters: &Filters, whole: bool, now: Moment) -> Listing {
    containers.retain(|container| fits(container, filters));
    containers.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.name.cmp(&b.name)));
    let rows = containers.iter().map(|container| row(container, whole, now)).collect();
    Listing { columns: &COLUMNS, rows, id_field: "ID" }
}

fn fits(container: &pb::Container, filters: &Filters) -> bool {
    filters.is_prefix("id", &container.id)
        && filters.is_substring("name", &container.name)
        && filters.is_exact("status", &container.status)
        && filters.is_prefix("ancestor", &container.image)
        && filters.has_labels("label", &container.labels)
}

fn row(container: &pb::Container, whole: bool, now: Moment) -> Row {
    let command = container.command.join(" ");
    let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = json!({
        "ID": if whole { &container.id } else { short_id(&container.id) },
        "Image": container.image,
        "Command": format!("\"{}\"", if whole { command } else { ellipsis(&command, COMMAND_MAX) }),
        "CreatedAt": created_at(Moment(container.created_at)),
        "RunningFor": ago(now.since(Moment(container.created_at))),
        "State": container.status,
        "Status": container_status(phase(container, now), ""),
        "Ports": ports(container),
        "Names": container.name,
        "Labels": labels.join(","),
    });
    Row::new(fields).with_lookup("Label", json!(container.labels))
}

fn phase(container: &pb::Container, now: Moment) -> ContainerPhase {
    match container.status.as_str() {
        "running" => ContainerPhase::Running(now.since(Moment(container.started_at))),
        "exited" => ContainerPhase::Exited(container.exit_code, now.since(Moment(container.finished_at))),
        _ => ContainerPhase::Created,
    }
}

fn ports(container: &pb::Container) -> String {
    let one = read_ports(&container.ports).into_iter().map(|port| {
        let inside = format!("{}/{}", port.target, protocol_word(port.protocol));
        if port.published == 0 { inside } else { format!("0.0.0.0:{}->{inside}", port.published) }
    });
    one.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::table::Format;

    fn containers() -> Vec<pb::Container> {
        let running = pb::Container {
            id: "b77d60d65880fd7a6d95".into(),
            name: "web.1.abc".into(),
            image: "busybox:latest".into(),
            command: vec!["sh".into(), "-c".into(), "while true; do echo tick; done".into()],
            status: "running".into(),
            created_at: 1_000_000,
            started_at: 1_000_000,
            ports: vec![pb::PortConfig { protocol: 1, target: 80, published: 8080, mode: 2 }],
            labels: [("x".to_owned(), "y".to_owned())].into(),
            ..Default::default()
        };
        let exited = pb::Container {
            id: "cf2d05b45524e98d94da".into(),
            name: "web.2.abc".into(),
            status: "exited".into(),
            exit_code: 137,
            created_at: 2_000_000,
            finished_at: 3_000_000,
            ..Default::default()
        };
        vec![running, exited]
    }

    fn shown(filters: &[&str], format: &str) -> String {
        let filters = Filters::parse(filters, &FILTERS).unwrap();
        listing(containers(), &filters, false, Moment(3_600_000)).render(&Format::parse(Some(format)).unwrap(), false).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        let wanted = "CONTAINER ID   IMAGE            COMMAND                  CREATED          STATUS                        PORTS                  NAMES\n\
                      cf2d05b45524                    \"\"                       26 minutes ago   Exited (137) 10 minutes ago                          web.2.abc\n\
                      b77d60d65880   busybox:latest   \"sh -c while true; d…\"   43 minutes ago   Up 43 minutes                 0.0.0.0:8080->80/tcp   web.1.abc\n";
        assert_eq!(shown(&[], "table"), wanted);
    }

    #[test]
    fn filters_and_labels() {
        assert_eq!(shown(&["status=running"], r#"{{.Names}} {{.Label "x"}}"#), "web.1.abc y\n");
        assert_eq!(shown(&["ancestor=busybox", "label=x=y", "name=web"], "{{.State}}"), "running\n");
        assert_eq!(shown(&["id=cf"], "{{.ID}}"), "cf2d05b45524\n");
    }
}
