//! The commands; those that are short are here as a whole.

use clap::{Args, Subcommand};
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::error::{all, parted};
use crate::cli::json;
use crate::cli::list::InspectFlags;
use crate::cli::output::print;
use crate::exit::Exit;

use super::{ImagesFlags, ImportFlags, LoadFlags, import, list, load};

/// Manage images
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Import the contents from a tarball to create a filesystem image
    Import(ImportFlags),
    /// Display detailed information on one or more images
    Inspect(InspectArguments),
    /// Load an image from a tar archive or STDIN
    Load(LoadFlags),
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImagesFlags),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(RemoveFlags),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(TagFlags),
}

/// Flags of `image inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    inspect: InspectFlags,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Flags of `image rm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoveFlags {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Flags of `image tag`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TagFlags {
    /// Name or id of what is there
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its further name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

/// Runs one of them.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) async fn run(daemon: &Daemon, command: ImageCommand) -> anyhow::Result<Exit> {
    match command {
        ImageCommand::Import(flags) => import(daemon, &flags).await,
        ImageCommand::Inspect(flags) => inspect(daemon, &flags).await,
        ImageCommand::Load(flags) => load(daemon, &flags).await,
        ImageCommand::Ls(flags) => list(daemon, &flags).await,
        ImageCommand::Rm(flags) => remove(daemon, &flags).await,
        ImageCommand::Tag(flags) => tag(daemon, flags).await,
    }
}

async fn inspect(daemon: &Daemon, flags: &InspectArguments) -> anyhow::Result<Exit> {
    let mut found = Vec::new();
    for word in &flags.images {
        let reply = daemon.local().inspect_image(pb::ImageRef { r#ref: word.clone() }).await;
        found.push(reply.map(|image| json::image::image(image.get_ref())).map_err(Into::into));
    }
    flags.inspect.show(found)?;
    Ok(Exit::Done)
}

/// Removes images.
///
/// # Errors
/// Joined, when some are not there or are in use.
pub(crate) async fn remove(daemon: &Daemon, flags: &RemoveFlags) -> anyhow::Result<Exit> {
    let mut results = Vec::new();
    for word in &flags.images {
        results.push(remove_one(daemon, word, flags.force).await);
    }
    all(parted(results).1)?;
    Ok(Exit::Done)
}

async fn remove_one(daemon: &Daemon, word: &str, force: bool) -> anyhow::Result<()> {
    let request = pb::RemoveImageRequest { r#ref: word.to_owned(), force };
    let lines = daemon.local().remove_image(request).await?.into_inner().lines;
    print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

async fn tag(daemon: &Daemon, flags: TagFlags) -> anyhow::Result<Exit> {
    daemon.local().tag_image(pb::TagImageRequest { source: flags.source, target: flags.target }).await?;
    Ok(Exit::Done)
}
