//! `image import`.

use clap::Args;
use skep_proto::pb;

use super::upload::{Source, open, send};
use crate::cli::connect::Daemon;
use crate::cli::output::print;
use crate::exit::Exit;

/// Flags of `image import`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportFlags {
    /// Apply a Dockerfile instruction to the created image, as in 'CMD ["sh"]'
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Tar archive of a root filesystem; - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]", default_value = "", hide_default_value = true)]
    reference: String,
}

/// Sends the archive and prints the image's id.
///
/// # Errors
/// When the archive cannot be read or is none.
pub(crate) async fn run(daemon: &Daemon, flags: &ImportFlags) -> anyhow::Result<Exit> {
    let source = open(if flags.file == "-" { Source::Stdin } else { Source::File(flags.file.clone().into()) })?;
    let header = pb::ImageUploadHeader { reference: flags.reference.clone(), changes: flags.change.clone() };
    let mut local = daemon.local();
    let reply = send(header, source, async move |upload| local.import_image(upload).await).await?;
    print(&reply.images.iter().map(|image| format!("{}\n", image.id)).collect::<String>())?;
    Ok(Exit::Done)
}
