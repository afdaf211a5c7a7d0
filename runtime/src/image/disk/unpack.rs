//! From a layer's blob to its directory, in one pass: hashed as it is packed, unpacked, hashed again, written.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::super::archive::{Budget, Refusal, Role, role};
use super::super::digest::Digest;
use super::super::error::ImageError;
use super::super::header::Member;
use super::inflate::{Compression, peek};
use super::members::Members;
use super::tally::{Guard, Tally};
use super::tree::Tree;

/// Bytes read at a time. Large enough that a system call is nothing beside hashing (0.25 ms), small enough to stay in the cache.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// What came out of a blob.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Digest of the blob as it came.
    pub(crate) blob: Digest,
    /// Digest of the tar in it.
    pub(crate) diff_id: Digest,
    /// Bytes of its files.
    pub(crate) file_bytes: u64,
    /// Whether the tar had its end mark.
    pub(crate) ended: bool,
}

/// Unpacks a layer (tar, perhaps gzip or zstd) into an empty directory.
///
/// # Errors
/// When the archive is hostile, damaged or beyond the budget, or the disk is full. The directory is then to be removed.
pub(crate) fn unpack(input: impl Read, directory: &Path, budget: &mut Budget<'_>) -> Result<Unpacked, ImageError> {
    let (start, input) = peek(input, Compression::MAGIC_BYTES).map_err(ImageError::input)?;
    let compression = Compression::of(&start);
    let packed = compression != Compression::None;
    let mut blob = Tally::new(input, packed);
    let counter = packed.then(|| blob.counter());
    let decoded = compression.undo(BufReader::with_capacity(BUFFER_BYTES, &mut blob));
    let guard = Guard {
        input: decoded,
        bytes_max: budget.layer_bytes(),
        compressed: counter,
        limits: budget.limits.clone(),
        count: 0,
    };
    let tar = Tally::new(guard, true);
    let unpacked = tar.counter();
    let written = write_whole(tar, directory, budget);
    // Also of a layer that was refused: a thousand of those would cost as much work as a thousand good ones.
    budget.spend_bytes(unpacked.get());
    let (file_bytes, ended, diff_id) = written?;
    let (_, blob) = blob.finish().map_err(ImageError::input)?;
    Ok(Unpacked { blob: blob.unwrap_or_else(|| diff_id.clone()), diff_id, file_bytes, ended })
}

fn write_whole(
    mut tar: Tally<impl Read>,
    directory: &Path,
    budget: &mut Budget<'_>,
) -> Result<(u64, bool, Digest), ImageError> {
    let (file_bytes, ended) = write_tree(BufReader::with_capacity(BUFFER_BYTES, &mut tar), directory, budget)?;
    let (_, diff_id) = tar.finish().map_err(ImageError::input)?;
    Ok((file_bytes, ended, diff_id.expect("the tar is always hashed")))
}

fn write_tree(input: impl BufRead, directory: &Path, budget: &mut Budget<'_>) -> Result<(u64, bool), ImageError> {
    let mut tree = Tree::new(directory)?;
    let mut members = Members::new(input);
    while let Some(member) = members.next(budget)? {
        check_size(&member, budget)?;
        add(&mut tree, member, members.content(), budget)?;
    }
    Ok((tree.finish()?, members.ended()))
}

/// Refuses a file that could not fit before any of it is written.
fn check_size(member: &Member, budget: &Budget<'_>) -> Result<(), ImageError> {
    if member.size > budget.layer_bytes() {
        return Err(ImageError::member(member.path.joined(), Refusal::TooManyBytes(budget.layer_bytes())));
    }
    Ok(())
}

fn add(tree: &mut Tree, member: Member, content: impl BufRead, budget: &mut Budget<'_>) -> Result<(), ImageError> {
    let path = member.path.clone();
    let name = path.split().map_or(&b""[..], |(_, name)| name);
    match role(name).map_err(|refusal| ImageError::member(path.joined(), refusal))? {
        Role::Plain => tree.add(member, content, budget),
        Role::Whiteout(hidden) => tree.add_whiteout(&path, hidden, budget),
        Role::Opaque => tree.add_opaque(&path, budget),
        Role::Ignored => Ok(()),
    }
}
