//! `inspect`: whatever a name stands for.

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde_json::Value;
use skep_proto::pb;
use tonic::{Code, Status};

use super::connect::Daemon;
use super::json;
use super::list::InspectFlags;
use super::node::resolved;
use crate::exit::Exit;

/// Flags of `inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    inspect: InspectFlags,
    /// Only look for objects of this type
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// What a name may stand for, in the order in which it is tried: this machine first, then the swarm.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kind {
    Container,
    Image,
    Service,
    Node,
    Task,
}

/// Prints what the names stand for.
///
/// # Errors
/// Joined, when some stand for nothing.
pub(crate) async fn run(daemon: &Daemon, flags: &InspectArguments) -> anyhow::Result<Exit> {
    let mut found = Vec::new();
    for name in &flags.names {
        found.push(find(daemon, name, flags.kind).await);
    }
    flags.inspect.show(found)?;
    Ok(Exit::Done)
}

async fn find(daemon: &Daemon, name: &str, kind: Option<Kind>) -> anyhow::Result<Value> {
    if let Some(kind) = kind {
        return Ok(get(daemon, name, kind).await?);
    }
    let mut unasked = None;
    for kind in Kind::value_variants() {
        match get(daemon, name, *kind).await {
            Ok(found) => return Ok(found),
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {}
            Err(status) if is_no_answer(&status) => unasked = unasked.or(Some(status)),
            Err(status) => return Err(status.into()),
        }
    }
    Err(nothing(name, unasked.as_ref()))
}

/// A machine that is no manager knows nothing of the swarm, one that is locked or has no leader cannot say, and both say so.
fn is_no_answer(status: &Status) -> bool {
    matches!(status.code(), Code::FailedPrecondition | Code::Unavailable | Code::PermissionDenied | Code::Unimplemented)
}

/// Nothing has the name, as far as anybody could be asked.
fn nothing(name: &str, unasked: Option<&Status>) -> anyhow::Error {
    match unasked {
        None => anyhow!("find {name:?}: there is no container, image, service, node or task with this name or id"),
        Some(status) => anyhow!(
            "find {name:?}: there is no container or image with this name or id on this node, and the swarm could not be asked: {}",
            status.message()
        ),
    }
}

async fn get(daemon: &Daemon, name: &str, kind: Kind) -> Result<Value, Status> {
    let r#ref = name.to_owned();
    Ok(match kind {
        Kind::Container => {
            json::container::container(daemon.local().inspect_container(pb::ContainerRef { r#ref }).await?.get_ref())
        }
        Kind::Image => json::image::image(daemon.local().inspect_image(pb::ImageRef { r#ref }).await?.get_ref()),
        Kind::Service => {
            let reply = daemon.control().get_service(pb::RefRequest { r#ref }).await?.into_inner();
            json::service::service(&reply.service.unwrap_or_default())
        }
        Kind::Node => {
            let r#ref = resolved(daemon, name).await.map_err(|_| Status::not_found("this machine is no node"))?;
            json::node::node(daemon.control().get_node(pb::RefRequest { r#ref }).await?.get_ref())
        }
        Kind::Task => json::task::task(daemon.control().get_task(pb::RefRequest { r#ref }).await?.get_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_that_could_not_be_asked_is_not_said_to_have_nothing_of_that_name() {
        assert!(nothing("web", None).to_string().contains("no container, image, service, node or task"));
        let locked = Status::failed_precondition("this manager is locked: ...");
        let text = nothing("web", Some(&locked)).to_string();
        assert!(
            text.contains("on this node") && text.contains("this manager is locked") && !text.contains("service"),
            "{text}"
        );
    }
}
