//! Sends an archive to the daemon, piece by piece.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use skep_proto::pb;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::cli::error::usage;

/// Size of a piece: large enough that a message costs little beside its bytes, small enough for any limit on messages.
const PIECE: usize = 256 * 1024;
/// Pieces read ahead of the connection; at the bound the reader waits.
const AHEAD_MAX: usize = 4;

/// Where the archive is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// An archive that can be read.
pub(super) struct Archive {
    reader: Box<dyn Read + Send>,
    name: String,
}

/// The pieces as they are sent.
pub(super) type Upload = ReceiverStream<pb::ImageUpload>;

/// Opens the archive. A terminal is refused: nobody types one.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(source: Source) -> anyhow::Result<Archive> {
    match source {
        Source::File(path) => {
            let name = path.display().to_string();
            let file = File::open(&path).with_context(|| format!("open the archive {name}"))?;
            Ok(Archive { reader: Box::new(file), name })
        }
        Source::Stdin if io::stdin().is_terminal() => {
            Err(usage("failed to read the archive: standard input is a terminal; name a file, or redirect one into the command"))
        }
        Source::Stdin => Ok(Archive { reader: Box::new(io::stdin()), name: "on standard input".to_owned() }),
    }
}

/// Sends header and archive through `call`.
///
/// # Errors
/// When the archive cannot be read to its end, or the daemon refuses it.
pub(super) async fn send(
    header: pb::ImageUploadHeader,
    archive: Archive,
    call: impl AsyncFnOnce(Upload) -> Result<Response<pb::ImageUploadReply>, Status>,
) -> anyhow::Result<pb::ImageUploadReply> {
    let (sender, receiver) = mpsc::channel(AHEAD_MAX);
    let Archive { mut reader, name } = archive;
    let reading = spawn_blocking(move || pump(header, &mut reader, sender));
    tokio::select! {
        reply = call(ReceiverStream::new(receiver)) => Ok(reply?.into_inner()),
        broken = broken(reading) => Err(broken.error).with_context(|| format!("read the archive {name}")),
    }
}

/// A failed read, with the sender: as long as that lives, the daemon does not take what it has for a whole archive.
struct Broken {
    error: io::Error,
    _sender: Sender<pb::ImageUpload>,
}

/// Waits for a failure of the reader; for ever when it came to the end, since then the daemon has the word.
async fn broken(reading: JoinHandle<Result<(), Broken>>) -> Broken {
    match reading.await {
        Ok(Err(broken)) => broken,
        Ok(Ok(())) | Err(_) => std::future::pending().await,
    }
}

/// Reads to the end, or until nobody listens any more.
fn pump(header: pb::ImageUploadHeader, reader: &mut dyn Read, sender: Sender<pb::ImageUpload>) -> Result<(), Broken> {
    let mut part = pb::image_upload::Part::Header(header);
    loop {
        if sender.blocking_send(pb::ImageUpload { part: Some(part) }).is_err() {
            return Ok(());
        }
        part = match piece(reader) {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => pb::image_upload::Part::Data(data),
            Err(error) => return Err(Broken { error, _sender: sender }),
        };
    }
}

/// The next piece, full unless it is the last; empty at the end.
fn piece(reader: &mut dyn Read) -> io::Result<Bytes> {
    let mut data = Vec::with_capacity(PIECE);
    let limit = u64::try_from(PIECE).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(&mut data)?;
    Ok(data.into())
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    /// Says so many bytes, then fails or ends.
    struct Tape {
        left: usize,
        fails: bool,
    }

    impl Read for Tape {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 && self.fails {
                return Err(io::Error::other("worn out"));
            }
            let length = buffer.len().min(self.left);
            self.left -= length;
            Ok(length)
        }
    }

    fn archive(left: usize, fails: bool) -> Archive {
        Archive { reader: Box::new(Tape { left, fails }), name: "x".into() }
    }

    async fn pieces(mut upload: Upload) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(message) = upload.next().await {
            sizes.push(match message.part {
                Some(pb::image_upload::Part::Data(data)) => data.len(),
                _ => 0,
            });
        }
        sizes
    }

    #[tokio::test]
    async fn the_header_goes_first_and_pieces_are_full() {
        let call = async |upload: Upload| {
            assert_eq!(pieces(upload).await, [0, PIECE, PIECE, 7]);
            Ok(Response::new(pb::ImageUploadReply::default()))
        };
        send(pb::ImageUploadHeader::default(), archive(2 * PIECE + 7, false), call).await.unwrap();
    }

    #[tokio::test]
    async fn a_broken_archive_never_looks_whole() {
        let call = async |upload: Upload| {
            pieces(upload).await;
            panic!("the daemon saw an end");
        };
        let error = send(pb::ImageUploadHeader::default(), archive(PIECE, true), call).await.unwrap_err();
        assert_eq!(crate::cli::error::sentence(&error), "failed to read the archive x: worn out");
    }
}
