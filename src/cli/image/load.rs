//! `image load`.

use std::path::PathBuf;

use clap::Args;
use skep_proto::pb;

use super::list::familiar;
use super::upload::{Source, open, send};
use crate::cli::connect::Daemon;
use crate::cli::output::print;
use crate::exit::Exit;

/// Flags of `image load`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadFlags {
    /// Read from a tar archive file, instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

/// Sends the archive and prints what was in it.
///
/// # Errors
/// When the archive cannot be read or holds no image.
pub(crate) async fn run(daemon: &Daemon, flags: &LoadFlags) -> anyhow::Result<Exit> {
    let stdin = |path: &PathBuf| path.as_os_str() == "-";
    let source = open(match &flags.input {
        Some(path) if !stdin(path) => Source::File(path.clone()),
        _ => Source::Stdin,
    })?;
    let mut local = daemon.local();
    let reply = send(pb::ImageUploadHeader::default(), source, async move |upload| local.load_image(upload).await).await?;
    if !flags.quiet {
        print(&loaded(&reply))?;
    }
    Ok(Exit::Done)
}

fn loaded(reply: &pb::ImageUploadReply) -> String {
    let lines = reply.images.iter().flat_map(|image| match image.references.as_slice() {
        [] => vec![format!("Loaded image ID: {}\n", image.id)],
        names => names.iter().map(|name| format!("Loaded image: {}\n", familiar(name))).collect(),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_told_or_else_the_id() {
        let named = pb::Image { references: vec!["docker.io/library/a:1".into(), "b:2".into()], ..Default::default() };
        let bare = pb::Image { id: "sha256:00".into(), ..Default::default() };
        let text = loaded(&pb::ImageUploadReply { images: vec![named, bare] });
        assert_eq!(text, "Loaded image: a:1\nLoaded image: b:2\nLoaded image ID: sha256:00\n");
    }
}
