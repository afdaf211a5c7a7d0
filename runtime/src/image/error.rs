//! What can go wrong with an image.

use std::io;
use std::path::{Path, PathBuf};

use super::archive::Refusal;

/// What went wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nothing has that name or id.
    #[error(
        "find image {reference}: this node has no such image; load or import it here first (skep image load, skep image import)"
    )]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// Several images have an id that starts so.
    #[error("find image {prefix}: {matches} images have an id that starts so; write more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many images fit.
        matches: usize,
    },
    /// The text is no name of an image.
    #[error("read the image name {reference:?}: {why}")]
    BadReference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A container holds it.
    #[error(
        "remove image {image}: conflict: container {user} uses it; remove the container first, or force to take only the name away"
    )]
    InUse {
        /// Name or short id.
        image: String,
        /// Who pinned it.
        user: String,
    },
    /// An id with several names.
    #[error(
        "remove image {image}: conflict: {references} names lead to it, so removing it by id must be forced; or remove the names one by one"
    )]
    MustForce {
        /// Short id.
        image: String,
        /// How many names it has.
        references: usize,
    },
    /// A member of an archive is hostile, damaged or beyond a limit.
    #[error("unpack archive member {member:?}: {refusal}")]
    Member {
        /// Its path, shortened.
        member: String,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// An archive as a whole is hostile, damaged or beyond a limit.
    #[error("read the archive: {refusal}")]
    Archive {
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The input broke, or what it holds cannot be decompressed.
    #[error("read the archive: it cannot be read or is damaged")]
    Input {
        /// The reader's own words.
        #[source]
        source: io::Error,
    },
    /// Content that is not what its digest promises.
    #[error("verify {what}: its digest is {found}, not {expected}; the archive is damaged or was tampered with")]
    WrongDigest {
        /// Which part of the archive.
        what: String,
        /// What the archive promises.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// One of the archive's JSON documents.
    #[error("read {name} in the archive: it is not the JSON expected there")]
    Document {
        /// Its path in the archive.
        name: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// One of the archive's JSON documents contradicts itself or the archive.
    #[error("read {name} in the archive: {why}")]
    Contradiction {
        /// Its path in the archive.
        name: String,
        /// What does not fit.
        why: &'static str,
    },
    /// A manifest names something that the archive lacks.
    #[error("find {name} in the archive: its manifest names it, but it is not there or not of the right kind")]
    MissingMember {
        /// Its path in the archive.
        name: String,
    },
    /// Nothing in the archive runs here.
    #[error("choose an image for {wanted}: the archive has {present}")]
    NoPlatform {
        /// This machine.
        wanted: String,
        /// What the archive holds, as in `only linux/s390x`.
        present: String,
    },
    /// Neither of the two known layouts.
    #[error(
        "load the archive: it has neither manifest.json nor index.json, so it is no saved image; use `skep image import` for a root filesystem"
    )]
    NotAnImage,
    /// A layer's directory is gone.
    #[error("use image {image}: its layer {path} is missing; remove the image and load it again")]
    MissingLayer {
        /// Name or short id.
        image: String,
        /// Where the layer should be.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{operation} {path}: no space left; make room (skep image rm takes images away) and try again")]
    NoSpace {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{operation} {path}")]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The index was written by a newer version, or is damaged.
    #[error(
        "read the image index {path}: it is damaged or from a newer version; move the images directory away to start afresh"
    )]
    Index {
        /// Where it is.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// Characters of an archive's own words that a message repeats.
const SHOWN_CHARS: usize = 200;

/// Words of an archive, made fit for a message: short, and without characters that steer a terminal.
pub(crate) fn shown(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let plain = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(SHOWN_CHARS).map(plain).collect()
}

impl ImageError {
    /// A failed disk operation; a full disk (or quota) is told apart because its cure is another.
    pub(crate) fn disk(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { operation, path },
            _ => Self::Disk { operation, path, source },
        }
    }

    /// A failed read of the archive. Our own readers report limits through [`io::Error`], since decoders stand between.
    pub(crate) fn input(source: io::Error) -> Self {
        if let Some(refusal) = source.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return Self::Archive { refusal: refusal.clone() };
        }
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Archive { refusal: Refusal::Truncated },
            _ => Self::Input { source },
        }
    }

    /// A refused member, its name made fit for a message.
    pub(crate) fn member(name: &[u8], refusal: Refusal) -> Self {
        let member = String::from_utf8_lossy(name).chars().take(SHOWN_CHARS).collect();
        Self::Member { member, refusal }
    }

    /// Whether the machine rather than the archive is at fault, so that going on makes no sense.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Disk { .. } | Self::NoSpace { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_an_archive_neither_steer_the_terminal_nor_fill_it() {
        assert_eq!(shown(b"a\x1b[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(shown(&[b'x'; 1_000]).len(), SHOWN_CHARS);
    }
}
