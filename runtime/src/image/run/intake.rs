//! Reads a saved image once, from front to back, and keeps what a manifest may turn out to name: JSON in memory, layers unpacked.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use super::super::archive::{Budget, MemberPath, Refusal};
use super::super::digest::Digest;
use super::super::disk::inflate::{Compression, peek};
use super::super::disk::members::Members;
use super::super::disk::tally::{Guard, Tally};
use super::super::disk::unpack::BUFFER_BYTES;
use super::super::error::{ImageError, shown};
use super::super::header::{Block, Kind, Member, classify};
use super::super::manifest::{is_blob, link_target};
use super::ImageStore;
use super::commit::Staged;
use super::lease::Lease;

/// Bytes that tell a layer from JSON: a tar header.
const START_BYTES: u64 = 512;
/// Links that lead to links are followed this often; Docker writes one.
const LINKS_MAX: usize = 8;

/// What an archive holds.
pub(super) struct Intake<'a> {
    store: &'a ImageStore,
    items: BTreeMap<MemberPath, Item<'a>>,
    document_bytes_left: u64,
}

/// One member that may matter.
pub(super) enum Item<'a> {
    Document(Vec<u8>),
    /// Beyond the limit for documents.
    LargeDocument,
    /// An unpacked layer, and the digest of its blob.
    Layer(Staged, Digest),
    /// A layer that the store has; the blob is its tar.
    Known(Lease<'a>),
    Link(MemberPath),
    /// What looked like a layer and cannot be one. It matters only if a manifest names it.
    Refused(ImageError),
}

impl Item<'_> {
    /// Why a layer was refused.
    pub(super) fn refusal(self) -> Option<ImageError> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl<'a> Intake<'a> {
    /// Reads the whole archive.
    ///
    /// # Errors
    /// When it is hostile, damaged or beyond the budget, or the disk is full.
    pub(super) fn read(store: &'a ImageStore, archive: impl Read, budget: &mut Budget<'_>) -> Result<Self, ImageError> {
        let (start, input) = peek(archive, Compression::MAGIC_BYTES).map_err(ImageError::input)?;
        let compression = Compression::of(&start);
        let raw = Tally::new(input, false);
        let compressed = (compression != Compression::None).then(|| raw.counter());
        let decoded = compression.undo(BufReader::with_capacity(BUFFER_BYTES, raw));
        // Packed layers are no larger than unpacked ones, so the archive as a whole has the limit of what is in it.
        let bytes_max = budget.limits.image_bytes;
        let guard = Guard { input: decoded, bytes_max, compressed, limits: budget.limits.clone(), count: 0 };
        let document_bytes_left = budget.limits.documents_bytes;
        let mut intake = Self { store, items: BTreeMap::new(), document_bytes_left };
        let mut input = BufReader::with_capacity(BUFFER_BYTES, guard);
        intake.read_members(&mut input, budget)?;
        // To its end, because the checksum of what is packed comes last.
        io::copy(&mut input, &mut io::sink()).map_err(ImageError::input)?;
        Ok(intake)
    }

    /// The JSON of a member, if it is there.
    ///
    /// # Errors
    /// When it is too large, or something else has its name.
    pub(super) fn document(&self, path: &MemberPath) -> Result<Option<&[u8]>, ImageError> {
        match self.items.get(&self.follow(path)) {
            None => Ok(None),
            Some(Item::Document(bytes)) => Ok(Some(bytes)),
            Some(Item::LargeDocument) => {
                let refusal = Refusal::TooMuchMetadata(self.store.shared.limits.document_bytes);
                Err(ImageError::member(path.joined(), refusal))
            }
            Some(_) => Err(missing(path)),
        }
    }

    /// What a manifest calls a layer, with the place where it is kept. Links are followed.
    pub(super) fn layer(&self, path: &MemberPath) -> Option<(MemberPath, &Item<'a>)> {
        let path = self.follow(path);
        self.items.get(&path).map(|item| (path, item))
    }

    /// Takes an item out.
    pub(super) fn take(&mut self, path: &MemberPath) -> Option<Item<'a>> {
        self.items.remove(path)
    }

    fn follow(&self, path: &MemberPath) -> MemberPath {
        let mut path = path;
        for _ in 0..LINKS_MAX {
            match self.items.get(path) {
                Some(Item::Link(target)) => path = target,
                _ => break,
            }
        }
        path.clone()
    }

    fn read_members(&mut self, input: impl BufRead, budget: &mut Budget<'_>) -> Result<(), ImageError> {
        let mut members = Members::new(input);
        while let Some(member) = members.next(budget)? {
            let path = member.path.clone();
            if let Some(item) = self.item(member, members.content(), budget)? {
                self.keep(path, item, budget)?;
            }
        }
        if members.ended() { Ok(()) } else { Err(ImageError::Archive { refusal: Refusal::Truncated }) }
    }

    fn keep(&mut self, path: MemberPath, item: Item<'a>, budget: &mut Budget<'_>) -> Result<(), ImageError> {
        let target = if let Item::Link(target) = &item { target.joined().len() } else { 0 };
        let spent = budget.spend_name(path.joined().len() + target);
        spent.map_err(|refusal| ImageError::member(path.joined(), refusal))?;
        if self.items.contains_key(&path) {
            return Err(ImageError::member(path.joined(), Refusal::Duplicate));
        }
        self.items.insert(path, item);
        Ok(())
    }

    fn item(
        &mut self,
        member: Member,
        content: impl Read,
        budget: &mut Budget<'_>,
    ) -> Result<Option<Item<'a>>, ImageError> {
        let refused = |refusal| ImageError::member(member.path.joined(), refusal);
        match &member.kind {
            Kind::File => self.file(&member, content, budget),
            Kind::Symlink(target) => link_target(&member.path, target).map(Item::Link).map(Some).map_err(refused),
            Kind::HardLink(target) => Ok(Some(Item::Link(target.clone()))),
            _ => Ok(None),
        }
    }

    fn file(
        &mut self,
        member: &Member,
        content: impl Read,
        budget: &mut Budget<'_>,
    ) -> Result<Option<Item<'a>>, ImageError> {
        if let Some(lease) = self.known(&member.path) {
            return Ok(Some(Item::Known(lease)));
        }
        let (start, content) = peek(content, START_BYTES).map_err(ImageError::input)?;
        if is_layer(&start) {
            return self.unpack(content, budget).map(Some);
        }
        if is_json(&start) { self.read_document(member.size, content).map(Some) } else { Ok(None) }
    }

    /// A blob whose name is the digest of a tar that the store has unpacked: reading it again would tell nothing.
    fn known(&self, path: &MemberPath) -> Option<Lease<'a>> {
        let (_, name) = path.split().filter(|_| is_blob(path))?;
        let layer = Digest::from_hex(std::str::from_utf8(name).ok()?).ok()?;
        self.store.lease(&layer)
    }

    fn unpack(&self, content: impl Read, budget: &mut Budget<'_>) -> Result<Item<'a>, ImageError> {
        match self.store.stage(content, budget) {
            Ok((staged, unpacked)) => Ok(Item::Layer(staged, unpacked.blob)),
            Err(error) if error.is_local() => Err(error),
            Err(error) => Ok(Item::Refused(error)),
        }
    }

    fn read_document(&mut self, size: u64, mut content: impl Read) -> Result<Item<'a>, ImageError> {
        let left = self.document_bytes_left.checked_sub(size);
        let Some(left) = left.filter(|_| size <= self.store.shared.limits.document_bytes) else {
            return Ok(Item::LargeDocument);
        };
        self.document_bytes_left = left;
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(ImageError::input)?;
        Ok(Item::Document(bytes))
    }
}

/// The error for a member that a manifest names in vain.
pub(super) fn missing(path: &MemberPath) -> ImageError {
    ImageError::MissingMember { name: shown(path.joined()) }
}

fn is_layer(start: &[u8]) -> bool {
    let plain = <&[u8; 512]>::try_from(start)
        .is_ok_and(|block| matches!(classify(block), Ok(Block::End | Block::Entry { .. })));
    plain || Compression::of(start) != Compression::None
}

fn is_json(start: &[u8]) -> bool {
    matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
}
