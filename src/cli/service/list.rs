//! `service ls`.

use clap::Args;
use serde_json::json;
use skep_proto::model::{PortConfig, PublishMode};
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::flags::ports::protocol_word;
use crate::cli::format::filter::Filters;
use crate::cli::format::table::{Column, Listing};
use crate::cli::format::template::Row;
use crate::cli::format::units::{natural_cmp, short_id};
use crate::cli::format::words::{PortWords, ports, replicas};
use crate::cli::json::spec::ports_of;
use crate::cli::list::{ListFlags, collect};
use crate::cli::service;
use crate::exit::Exit;

/// Flags of `service ls`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServicesFlags {
    #[command(flatten)]
    list: ListFlags,
}

const FILTERS: [&str; 4] = ["id", "label", "mode", "name"];

const COLUMNS: [Column; 6] = [
    Column { header: "ID", field: "ID" },
    Column { header: "NAME", field: "Name" },
    Column { header: "MODE", field: "Mode" },
    Column { header: "REPLICAS", field: "Replicas" },
    Column { header: "IMAGE", field: "Image" },
    Column { header: "PORTS", field: "Ports" },
];

/// Lists services.
///
/// # Errors
/// When the daemon refuses, or a flag cannot be read.
pub(super) async fn run(daemon: &Daemon, flags: &ServicesFlags) -> anyhow::Result<Exit> {
    let filters = flags.list.filters(&FILTERS)?;
    filters.expect_words("mode", &["replicated", "global"])?;
    let stream = daemon.control().list_services(pb::ListServicesRequest { refs: Vec::new() }).await?.into_inner();
    flags.list.show(&listing(&collect(stream).await?, &filters))?;
    Ok(Exit::Done)
}

/// The entries that fit, by name.
fn listing(entries: &[pb::ServiceEntry], filters: &Filters) -> Listing {
    let services = entries.iter().filter_map(|entry| Some((entry, entry.service.as_ref()?)));
    let mut shown: Vec<_> = services.filter(|(_, service)| fits(service, filters)).collect();
    shown.sort_by(|(_, a), (_, b)| natural_cmp(service::name(a), service::name(b)));
    let rows = shown.into_iter().map(|(entry, service)| row(entry, service)).collect();
    Listing { columns: &COLUMNS, rows, id_field: "ID" }
}

fn fits(service: &pb::Service, filters: &Filters) -> bool {
    let labels = service.spec.as_ref().map(|spec| spec.labels.clone()).unwrap_or_default();
    filters.is_prefix("id", &service::id(service))
        && filters.is_substring("name", service::name(service))
        && filters.is_exact("mode", mode(service))
        && filters.has_labels("label", &labels)
}

fn row(entry: &pb::ServiceEntry, service: &pb::Service) -> Row {
    let task = service.spec.as_ref().and_then(|spec| spec.task.as_ref());
    let image = task.and_then(|task| task.container.as_ref()).map_or("", |container| container.image.as_str());
    let max = task.and_then(|task| task.placement.as_ref()).map_or(0, |placement| placement.max_replicas_per_node);
    let public: Vec<PortWords> = ports_of(&service.ports, PublishMode::Ingress).iter().map(port_words).collect();
    Row::new(json!({
        "ID": short_id(&service::id(service)),
        "Name": service::name(service),
        "Mode": mode(service),
        "Replicas": replicas(entry.running.into(), entry.desired.into(), max.into()),
        "Image": without_digest(image),
        "Ports": ports(&public),
    }))
}

/// The word of a service's mode.
pub(crate) fn mode(service: &pb::Service) -> &'static str {
    match service.spec.as_ref().and_then(|spec| spec.mode) {
        Some(pb::service_spec::Mode::Global(_)) => "global",
        _ => "replicated",
    }
}

/// A port for the column.
pub(crate) fn port_words(port: &PortConfig) -> PortWords {
    PortWords { protocol: protocol_word(port.protocol).to_owned(), published: port.published, target: port.target }
}

/// A name and tag says enough in a table; the digest is in `inspect`.
pub(crate) fn without_digest(image: &str) -> &str {
    match image.split_once('@') {
        Some((name, _)) if !name.is_empty() => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::table::Format;

    fn entry(name: &str, mode: pb::service_spec::Mode) -> pb::ServiceEntry {
        let container = pb::ContainerSpec { image: "busybox:1@sha256:00".into(), ..Default::default() };
        let placement = pb::Placement { max_replicas_per_node: 2, ..Default::default() };
        let task = pb::TaskSpec { container: Some(container), placement: Some(placement), ..Default::default() };
        let spec = pb::ServiceSpec {
            name: name.into(),
            labels: [("a".to_owned(), "1".to_owned())].into(),
            task: Some(task),
            mode: Some(mode),
            ..Default::default()
        };
        let meta = pb::Meta { id: vec![0; 16], ..Default::default() };
        let port = pb::PortConfig { protocol: 1, target: 80, published: 8080, mode: 1 };
        let host = pb::PortConfig { mode: 2, published: 9090, ..port };
        let service = pb::Service { meta: Some(meta), spec: Some(spec), ports: vec![port, host], ..Default::default() };
        pb::ServiceEntry { service: Some(service), running: 2, desired: 3 }
    }

    fn entries() -> Vec<pb::ServiceEntry> {
        let replicated = pb::service_spec::Mode::Replicated(pb::Replicated { replicas: 3 });
        let global = pb::service_spec::Mode::Global(pb::Global {});
        vec![entry("web-10", replicated), entry("web-2", global)]
    }

    fn names(filters: &[&str]) -> String {
        let filters = Filters::parse(filters, &FILTERS).unwrap();
        let format = Format::parse(Some("{{.Name}}")).unwrap();
        listing(&entries(), &filters).render(&format, false).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        let table = listing(&entries()[..1], &Filters::default()).render(&Format::Table, false).unwrap();
        let wanted = "ID             NAME      MODE         REPLICAS               IMAGE       PORTS\n\
                      000000000000   web-10    replicated   2/3 (max 2 per node)   busybox:1   *:8080->80/tcp\n";
        assert_eq!(table, wanted);
    }

    #[test]
    fn names_sort_by_their_numbers_and_filters_choose() {
        assert_eq!(names(&[]), "web-2\nweb-10\n");
        assert_eq!(names(&["mode=global"]), "web-2\n");
        assert_eq!(names(&["name=10", "label=a=1", "id=000"]), "web-10\n");
        assert_eq!(names(&["label=b"]), "");
    }
}
