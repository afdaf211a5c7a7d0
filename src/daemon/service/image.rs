//! Images: uploads are streamed from the socket into a blocking reader, so that an archive of any size costs one buffer.

use std::io::{self, Read};
use std::pin::Pin;

use skep_proto::pb;
use skep_runtime::image::{Image, ImageError, ImageStore, changes};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{Status, Streaming};

use super::status::{image_status, invalid};

/// Answers of a listing.
pub(crate) type Listing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Pieces of an upload that may wait for the disk. A client that is quicker is held back by the socket.
const PIECES_MAX: usize = 16;

/// All images.
pub(crate) async fn list(images: &ImageStore) -> Result<Listing<pb::Image>, Status> {
    let images = images.clone();
    let found = blocking(move || Ok(images.list())).await?;
    Ok(Box::pin(iter(found.into_iter().map(|image| Ok(wire(&image))))))
}

/// One image.
pub(crate) async fn inspect(images: &ImageStore, reference: String) -> Result<pb::Image, Status> {
    let images = images.clone();
    blocking(move || images.get(&reference)).await.map(|image| wire(&image))
}

/// Removes a name or an image.
pub(crate) async fn remove(
    images: &ImageStore,
    request: pb::RemoveImageRequest,
) -> Result<pb::RemoveImageReply, Status> {
    let images = images.clone();
    let lines = blocking(move || images.remove(&request.r#ref, request.force)).await?;
    Ok(pb::RemoveImageReply { lines })
}

/// Gives an image a further name.
pub(crate) async fn tag(images: &ImageStore, request: pb::TagImageRequest) -> Result<pb::TagImageReply, Status> {
    let images = images.clone();
    blocking(move || images.tag(&request.source, &request.target)).await?;
    Ok(pb::TagImageReply {})
}

/// Imports a root filesystem.
pub(crate) async fn import(
    images: &ImageStore,
    mut upload: Streaming<pb::ImageUpload>,
) -> Result<pb::ImageUploadReply, Status> {
    let header = header(&mut upload).await?;
    let config = changes::apply(&header.changes).map_err(|e| invalid(&e))?;
    let images = images.clone();
    let image = with_archive(upload, move |mut archive| images.import(&mut archive, &header.reference, config)).await?;
    Ok(pb::ImageUploadReply { images: vec![wire(&image)] })
}

/// Loads an archive of images.
pub(crate) async fn load(
    images: &ImageStore,
    mut upload: Streaming<pb::ImageUpload>,
) -> Result<pb::ImageUploadReply, Status> {
    header(&mut upload).await?;
    let images = images.clone();
    let loaded = with_archive(upload, move |mut archive| images.load(&mut archive)).await?;
    Ok(pb::ImageUploadReply { images: loaded.iter().map(wire).collect() })
}

async fn header(upload: &mut Streaming<pb::ImageUpload>) -> Result<pb::ImageUploadHeader, Status> {
    match upload.message().await?.and_then(|m| m.part) {
        Some(pb::image_upload::Part::Header(header)) => Ok(header),
        _ => Err(Status::invalid_argument("read the upload: its first message must be the header")),
    }
}

/// Runs a blocking call of the store off the async threads.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|_| Status::internal("read the images: the call broke off"))?.map_err(|e| image_status(&e))
}

/// Feeds the rest of an upload to a blocking reader. When the reader is done or has refused, what is left is not read.
async fn with_archive<T: Send + 'static>(
    mut upload: Streaming<pb::ImageUpload>,
    call: impl FnOnce(Archive) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, Status> {
    let (pieces, archive) = mpsc::channel(PIECES_MAX);
    let feed = async move {
        while let Some(piece) = upload.next().await {
            let piece = piece.map_err(|status| io::Error::other(status.message().to_owned()));
            let broken = piece.is_err();
            if pieces.send(piece).await.is_err() || broken {
                break;
            }
        }
    };
    let work = blocking(move || call(Archive { pieces: archive, rest: bytes::Bytes::new() }));
    let ((), done) = tokio::join!(feed, work);
    done
}

/// The upload as a reader.
struct Archive {
    pieces: mpsc::Receiver<io::Result<pb::ImageUpload>>,
    rest: bytes::Bytes,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv().transpose()?.map(|piece| piece.part) {
                None => return Ok(0),
                Some(Some(pb::image_upload::Part::Data(data))) => self.rest = data,
                Some(_) => return Err(io::Error::other("a header in the middle of an upload")),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

fn wire(image: &Image) -> pb::Image {
    let config = image.config.clone();
    pb::Image {
        id: image.id.clone(),
        references: image.references.clone(),
        size_bytes: image.size_bytes,
        created: image.created.clone(),
        architecture: image.architecture.clone(),
        os: image.os.clone(),
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        env: config.env,
        user: config.user.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        exposed_ports: config.exposed_ports,
        stop_signal: config.stop_signal.unwrap_or_default(),
        labels: config.labels,
        layers: image
            .layers
            .iter()
            .filter_map(|dir| dir.file_name())
            .map(|n| format!("sha256:{}", n.to_string_lossy()))
            .collect(),
    }
}
