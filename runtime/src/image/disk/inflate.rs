//! Compression of archives and layers: told by the first bytes, since names and media types are not to be trusted.

use std::error::Error;
use std::io::{self, BufRead, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::super::archive::Refusal;

/// How a stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The start of a stream, put back before the rest.
pub(crate) type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Reads up to `count` bytes ahead; fewer only if the stream is shorter.
pub(crate) fn peek<R: Read>(mut input: R, count: u64) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut start = Vec::new();
    Read::by_ref(&mut input).take(count).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(input)))
}

impl Compression {
    /// Bytes needed to tell.
    pub(crate) const MAGIC_BYTES: u64 = 4;

    /// Tells by the magic numbers (RFC 1952, RFC 8878). A zstd stream may start with a skippable frame.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Undoes it.
    pub(crate) fn undo<'a>(self, input: impl BufRead + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::None => Box::new(input),
            // Parallel and seekable compressors write many gzip members in a row.
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(ZstdFrames { input, decoder: FrameDecoder::new(), open: false }),
        }
    }
}

/// All zstd frames of a stream, one after the other, their checksums compared. The decoder refuses windows beyond 100 MiB, which
/// bounds its memory.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    open: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Enters the next frame, past frames that carry no content. False at the stream's end.
    fn enter(&mut self) -> io::Result<bool> {
        while !self.open && !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => self.open = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.input.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(self.open)
    }

    fn decode(&mut self, wanted: usize) -> io::Result<()> {
        while self.decoder.can_collect() < wanted && !self.decoder.is_finished() {
            let strategy = BlockDecodingStrategy::UptoBytes(wanted - self.decoder.can_collect());
            self.decoder.decode_blocks(&mut self.input, strategy).map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        self.open = false;
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a zstd frame does not fit its checksum"));
        }
        Ok(())
    }
}

/// What the decoder's error means. Its words are for programmers, and what our own readers say, such as a limit or an end that came
/// too early, lies beneath them.
fn broken(error: &(dyn Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(read) = error.downcast_ref::<io::Error>() {
            let refusal = read.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
            return refusal.map_or_else(|| read.kind().into(), |refusal| io::Error::other(refusal.clone()));
        }
        cause = error.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, "a zstd frame is not well formed")
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() && self.enter()? {
            self.decode(buffer.len())?;
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.leave()?;
        }
        Ok(0)
    }
}
