//! Readers that count and hash what streams by, and stop it at a limit.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::super::archive::{Limits, Refusal};
use super::super::digest::{Digest, Hasher};

/// Counts, and hashes if asked to.
pub(crate) struct Tally<R> {
    input: R,
    hasher: Option<Hasher>,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Tally<R> {
    /// `hashed` is false where the same bytes are hashed further up: hashing is a third of the cost of unpacking.
    pub(crate) fn new(input: R, hashed: bool) -> Self {
        Self { input, hasher: hashed.then(Hasher::new), count: Rc::default() }
    }

    /// The count, to be read while a decoder holds this reader.
    pub(crate) fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.count)
    }

    /// Reads the rest, so that count and digest are those of the whole stream.
    pub(crate) fn finish(mut self) -> io::Result<(u64, Option<Digest>)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.count.get(), self.hasher.map(Hasher::finish)))
    }
}

impl<R: Read> Read for Tally<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// Stops a decoder's output at the limits. The refusal travels inside the [`io::Error`].
pub(crate) struct Guard<R> {
    pub(crate) input: R,
    pub(crate) bytes_max: u64,
    /// Compressed bytes read so far; nothing for a stream that is not compressed.
    pub(crate) compressed: Option<Rc<Cell<u64>>>,
    pub(crate) limits: Limits,
    pub(crate) count: u64,
}

impl<R: Read> Guard<R> {
    fn check(&self) -> Result<(), Refusal> {
        if self.count > self.bytes_max {
            return Err(Refusal::TooManyBytes(self.bytes_max));
        }
        let compressed = self.compressed.as_ref().map_or(u64::MAX, |count| count.get());
        let believable = compressed.saturating_mul(self.limits.ratio).max(self.limits.bomb_free_bytes);
        if self.count > believable { Err(Refusal::Bomb(self.limits.ratio)) } else { Ok(()) }
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        self.check().map_err(io::Error::other)?;
        Ok(count)
    }
}
