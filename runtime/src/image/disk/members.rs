//! The members of a tar stream, one after the other, in one pass and bounded memory.
//!
//! Written here although the `tar` crate (whose header we use) has such a reader: that one keeps extended headers of any size in
//! memory and leaves the checks of paths and links to the caller.

use std::io::{self, BufRead, Read};

use super::super::archive::{Budget, Refusal};
use super::super::error::ImageError;
use super::super::header::{Block, Extensions, Member, classify};

const BLOCK_BYTES: u64 = 512;
/// Longest extended header. The kernel takes extended attributes up to 64 KiB each, and paths of 4 KiB; a larger one is refused.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// Reads members. After [`Self::next`] gave a member, its content is read from [`Self::content`]; what is left of it is skipped.
pub(crate) struct Members<R> {
    input: R,
    content_left: u64,
    padding: u64,
    ended: bool,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, content_left: 0, padding: 0, ended: false }
    }

    /// The next member, or nothing at the end.
    ///
    /// # Errors
    /// When the archive cannot be read or its next member is refused.
    pub(crate) fn next(&mut self, budget: &mut Budget<'_>) -> Result<Option<Member>, ImageError> {
        let mut extensions = Extensions::default();
        while let Some((block, kind, size)) = self.header()? {
            budget.spend_member().map_err(|refusal| ImageError::Archive { refusal })?;
            let refused = |extensions: &Extensions, refusal| ImageError::member(&extensions.name(&block), refusal);
            match kind {
                b'x' | b'L' | b'K' => {
                    let content = self
                        .extension(size)
                        .map_err(|error| error.unwrap_or_else(|| refused(&extensions, Refusal::Extension)))?;
                    extend(&mut extensions, kind, &content).map_err(|refusal| refused(&extensions, refusal))?;
                }
                // A global header (as git writes) and a volume's label say nothing about members.
                b'g' | b'V' => self.open(size)?,
                _ => return self.member(extensions, &block, size).map(Some),
            }
        }
        Ok(None)
    }

    /// Whether the archive's end mark was seen. An archive without it was cut short between two members.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The content of the current member.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content { members: self }
    }

    fn member(&mut self, extensions: Extensions, block: &[u8; 512], size: u64) -> Result<Member, ImageError> {
        let name = extensions.name(block);
        let size = extensions.size_or(size);
        let member = extensions.member(block, size).map_err(|refusal| ImageError::member(&name, refusal))?;
        self.open(member.size)?;
        Ok(member)
    }

    fn header(&mut self) -> Result<Option<([u8; 512], u8, u64)>, ImageError> {
        self.skip_rest()?;
        if self.input.fill_buf().map_err(ImageError::input)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; 512];
        self.input.read_exact(&mut block).map_err(ImageError::input)?;
        match classify(&block).map_err(|refusal| ImageError::Archive { refusal })? {
            Block::End => {
                self.ended = true;
                Ok(None)
            }
            Block::Entry { kind, size } => Ok(Some((block, kind, size))),
        }
    }

    fn open(&mut self, size: u64) -> Result<(), ImageError> {
        let padded =
            size.checked_next_multiple_of(BLOCK_BYTES).ok_or(ImageError::Archive { refusal: Refusal::Number })?;
        self.content_left = size;
        self.padding = padded - size;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), ImageError> {
        let rest = self.content_left.saturating_add(self.padding);
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink()).map_err(ImageError::input)?;
        (self.content_left, self.padding) = (0, 0);
        if skipped == rest { Ok(()) } else { Err(ImageError::Archive { refusal: Refusal::Truncated }) }
    }

    /// Content of an extended header; an error of nothing says that it is too large.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Option<ImageError>> {
        if size > EXTENSION_BYTES_MAX {
            return Err(None);
        }
        self.open(size)?;
        let mut content = Vec::new();
        self.content().read_to_end(&mut content).map_err(ImageError::input)?;
        Ok(content)
    }
}

fn extend(extensions: &mut Extensions, kind: u8, content: &[u8]) -> Result<(), Refusal> {
    match kind {
        b'L' => extensions.set_path(content),
        b'K' => extensions.set_link(content),
        _ => extensions.add_pax(content)?,
    }
    Ok(())
}

/// Content of one member. A stream that ends within it is an error here, never a short read.
pub(crate) struct Content<'a, R> {
    members: &'a mut Members<R>,
}

impl<R: BufRead> BufRead for Content<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.members.content_left == 0 {
            return Ok(&[]);
        }
        let available = self.members.input.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = available.len().min(usize::try_from(self.members.content_left).unwrap_or(usize::MAX));
        Ok(&available[..count])
    }

    fn consume(&mut self, count: usize) {
        self.members.input.consume(count);
        self.members.content_left -= count as u64;
    }
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
