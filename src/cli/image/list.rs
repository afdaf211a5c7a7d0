//! `image ls`.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use skep_proto::model::Moment;
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::format::filter::Filters;
use crate::cli::format::table::{Column, Listing};
use crate::cli::format::template::Row;
use crate::cli::format::units::{ago, decimal_size, short_id};
use crate::cli::list::{ListFlags, collect};
use crate::cli::output::now;
use crate::exit::Exit;

/// What stands where an image has no name or tag.
const NONE: &str = "<none>";

/// Flags of `image ls`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ImagesFlags {
    #[command(flatten)]
    list: ListFlags,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

const FILTERS: [&str; 2] = ["reference", "label"];

const COLUMNS: [Column; 5] = [
    Column { header: "REPOSITORY", field: "Repository" },
    Column { header: "TAG", field: "Tag" },
    Column { header: "IMAGE ID", field: "ID" },
    Column { header: "CREATED", field: "CreatedSince" },
    Column { header: "SIZE", field: "Size" },
];

/// Lists images.
///
/// # Errors
/// When a flag cannot be read.
pub(crate) async fn run(daemon: &Daemon, flags: &ImagesFlags) -> anyhow::Result<Exit> {
    let filters = flags.list.filters(&FILTERS)?;
    let images = collect(daemon.local().list_images(pb::ListImagesRequest {}).await?.into_inner()).await?;
    let mut listing = listing(&images, &filters, flags.reference.as_deref(), now());
    if !flags.no_trunc {
        shorten(&mut listing);
    }
    flags.list.show(&listing)?;
    Ok(Exit::Done)
}

/// A row a name, newest first.
fn listing(images: &[pb::Image], filters: &Filters, reference: Option<&str>, now: Moment) -> Listing {
    let mut shown: Vec<(Moment, &pb::Image, &str, &str)> = Vec::new();
    for image in images.iter().filter(|image| filters.has_labels("label", &image.labels)) {
        let names: Vec<(&str, &str)> = image.references.iter().map(|name| parted(familiar(name))).collect();
        let names = if names.is_empty() { vec![(NONE, NONE)] } else { names };
        let fitting = names.into_iter().filter(|(name, tag)| {
            let wanted = filters.values("reference");
            let one = |pattern: &str| is_match(pattern, name, tag);
            (wanted.is_empty() || wanted.iter().any(|pattern| one(pattern))) && reference.is_none_or(one)
        });
        shown.extend(fitting.map(|(name, tag)| (created(image), image, name, tag)));
    }
    shown.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.2, a.3).cmp(&(b.2, b.3))));
    let rows = shown.into_iter().map(|(created, image, name, tag)| row(image, name, tag, (created, now))).collect();
    Listing { columns: &COLUMNS, rows, id_field: "ID" }
}

fn row(image: &pb::Image, name: &str, tag: &str, (created, now): (Moment, Moment)) -> Row {
    let since = if created == Moment(0) { "N/A".to_owned() } else { ago(age(now, created)) };
    Row::new(json!({
        "Repository": name,
        "Tag": tag,
        "ID": image.id,
        "Digest": NONE,
        "CreatedSince": since,
        "CreatedAt": created_at(created),
        "Size": decimal_size(image.size_bytes),
    }))
}

fn shorten(listing: &mut Listing) {
    for row in &mut listing.rows {
        let short = row.fields["ID"].as_str().map(|id| short_id(id).to_owned());
        row.fields["ID"] = short.into();
    }
}

fn age(now: Moment, created: Moment) -> Duration {
    now.since(created)
}

fn created(image: &pb::Image) -> Moment {
    let read = image.created.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    Moment(read.unwrap_or(0))
}

/// As Docker prints the time of an image: `2026-01-02 13:23:37 +0000 UTC`.
pub(crate) fn created_at(moment: Moment) -> String {
    let time = i64::try_from(moment.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// The name as people write it: without the registry that is meant when none is named.
pub(crate) fn familiar(reference: &str) -> &str {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").filter(|_| short.len() != reference.len()).unwrap_or(short)
}

/// Name and tag; a colon before a slash belongs to a port.
fn parted(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, NONE),
    }
}

/// Whether `REPOSITORY[:TAG]` with `*` and `?` fits.
fn is_match(pattern: &str, name: &str, tag: &str) -> bool {
    let (wanted, wanted_tag) = parted(familiar(pattern));
    glob(wanted.as_bytes(), name.as_bytes()) && (wanted_tag == NONE || glob(wanted_tag.as_bytes(), tag.as_bytes()))
}

/// `*` stands for anything but a slash, `?` for one such byte. A pattern is a few dozen bytes, so going back is cheap.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            let reach = text.iter().take_while(|byte| **byte != b'/').count();
            (0..=reach).any(|taken| glob(rest, &text[taken..]))
        }
        ([b'?', rest @ ..], [byte, after @ ..]) if *byte != b'/' => glob(rest, after),
        ([letter, rest @ ..], [byte, after @ ..]) if letter == byte => glob(rest, after),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::table::Format;

    fn images() -> Vec<pb::Image> {
        let image = |id: &str, names: &[&str], created: &str| pb::Image {
            id: format!("sha256:{id}57dd0561a24f07"),
            references: names.iter().map(|name| (*name).to_owned()).collect(),
            size_bytes: 1_986_104,
            created: created.into(),
            ..Default::default()
        };
        vec![
            image("46f84241", &["docker.io/library/hello:latest", "reg:5000/a/b:1"], "2024-01-01T00:00:00Z"),
            image("9097829a", &[], "2024-01-02T00:00:00Z"),
        ]
    }

    fn shown(filters: &[&str], reference: Option<&str>, format: &str) -> String {
        let filters = Filters::parse(filters, &FILTERS).unwrap();
        let now = created(&images()[1]) + Duration::from_secs(3600);
        let mut listing = listing(&images(), &filters, reference, now);
        shorten(&mut listing);
        listing.render(&Format::parse(Some(format)).unwrap(), false).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        let wanted = "REPOSITORY     TAG       IMAGE ID       CREATED             SIZE\n\
                      <none>         <none>    9097829a57dd   About an hour ago   1.99MB\n\
                      hello          latest    46f8424157dd   25 hours ago        1.99MB\n\
                      reg:5000/a/b   1         46f8424157dd   25 hours ago        1.99MB\n";
        assert_eq!(shown(&[], None, "table"), wanted);
        assert_eq!(shown(&[], Some("hello"), "{{.CreatedAt}}"), "2024-01-01 00:00:00 +0000 UTC\n");
    }

    #[test]
    fn names_and_patterns_choose() {
        let names = |filters: &[&str], reference| shown(filters, reference, "{{.Repository}}");
        assert_eq!(names(&["reference=hel*:lat*"], None), "hello\n");
        assert_eq!(names(&["reference=*/*/?"], None), "reg:5000/a/b\n");
        assert_eq!(names(&[], Some("docker.io/library/hello:latest")), "hello\n");
        assert_eq!(names(&["reference=hello:2"], None), "");
    }
}
