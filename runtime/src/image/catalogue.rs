//! Which images, names and layers exist: the index, and every rule about finding, naming and removing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::{Document, Image};
use super::digest::{Digest, is_hex};
use super::error::ImageError;
use super::layers;
use super::reference::Reference;

/// Fewest digits of an id that are taken for one: one digit alone is more likely a slip than an id.
const PREFIX_DIGITS_MIN: usize = 2;

/// The stored form of the index. A reader refuses a version that it does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) version: Version,
    pub(crate) images: BTreeMap<Digest, Record>,
    /// Unpacked bytes of each layer.
    pub(crate) layers: BTreeMap<Digest, u64>,
    pub(crate) builtin: Option<Builtin>,
}

/// The only version so far, written as the number 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub(crate) struct Version;

/// What the index keeps about an image beside its configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Names in familiar form, as in `web:latest`.
    pub(crate) references: BTreeSet<String>,
    /// Digests of manifests that it was loaded by; `name@sha256:…` means one of them.
    pub(crate) manifests: BTreeSet<Digest>,
}

/// The built-in image and the executable that it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Builtin {
    pub(crate) image: Digest,
    pub(crate) stamp: Stamp,
}

/// Tells whether the executable changed without reading it, and whether the copy may have been lost with the power: it is never
/// synced, so another boot makes it anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) size_bytes: u64,
    pub(crate) mtime_seconds: i64,
    pub(crate) mtime_nanoseconds: i64,
    pub(crate) inode: u64,
    pub(crate) boot: String,
}

/// The index in memory, with each image's configuration. A change is made to a copy, which then replaces it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    images: BTreeMap<Digest, Entry>,
    names: BTreeMap<String, Digest>,
    manifests: BTreeMap<Digest, Digest>,
    /// Unpacked bytes of each layer.
    pub(crate) layers: BTreeMap<Digest, u64>,
    pub(crate) builtin: Option<Builtin>,
}

#[derive(Clone, Debug)]
struct Entry {
    record: Record,
    document: Arc<Document>,
}

impl Catalogue {
    /// Puts an image in, or a further manifest digest to one that is there.
    pub(crate) fn insert(&mut self, id: &Digest, document: Arc<Document>, record: Record) {
        let fresh = Entry { record: Record::default(), document };
        let entry = self.images.entry(id.clone()).or_insert(fresh);
        entry.record.manifests.extend(record.manifests.iter().cloned());
        self.manifests.extend(record.manifests.into_iter().map(|manifest| (manifest, id.clone())));
        for name in record.references {
            self.name(name, id);
        }
    }

    /// Gives a name to an image; it is taken from the image that had it.
    pub(crate) fn name(&mut self, name: String, id: &Digest) {
        self.untag(&name);
        if let Some(entry) = self.images.get_mut(id) {
            entry.record.references.insert(name.clone());
            self.names.insert(name, id.clone());
        }
    }

    fn untag(&mut self, name: &str) {
        if let Some(id) = self.names.remove(name) {
            let entry = self.images.get_mut(&id).expect("a name leads to an image that is there");
            entry.record.references.remove(name);
        }
    }

    /// Takes an image and its names out; its layers stay until [`Self::drop_layers`].
    pub(crate) fn take_out(&mut self, id: &Digest) {
        if let Some(entry) = self.images.remove(id) {
            self.names.retain(|_, owner| owner != id);
            entry.record.manifests.iter().for_each(|manifest| drop(self.manifests.remove(manifest)));
        }
    }

    /// Takes out the layers that no image has, but those `kept`.
    pub(crate) fn drop_layers(&mut self, kept: &BTreeMap<Digest, usize>) {
        let used = layers::used(self.images.values().map(|entry| &*entry.document));
        self.layers.retain(|layer, _| used.contains(layer) || kept.contains_key(layer));
    }

    /// The layers that another catalogue lacks.
    pub(crate) fn layers_not_in(&self, other: &Self) -> Vec<Digest> {
        self.layers.keys().filter(|layer| !other.layers.contains_key(layer)).cloned().collect()
    }

    /// The image that text means: an id, a name, or the start of an id, in this order.
    pub(crate) fn resolve(&self, text: &str) -> Result<Digest, ImageError> {
        if let Some(id) =
            Digest::parse(text).or_else(|_| Digest::from_hex(text)).ok().and_then(|id| self.by_digest(&id))
        {
            return Ok(id);
        }
        match self.by_name(text) {
            Some(id) => Ok(id),
            None => self.by_prefix(text),
        }
    }

    /// The name by which text means an image, in familiar form; nothing if it is an id.
    pub(crate) fn resolved_name(&self, text: &str) -> Option<String> {
        let name = Reference::parse(text).ok().filter(|name| name.digest().is_none())?.familiar();
        self.names.contains_key(&name).then_some(name)
    }

    fn by_digest(&self, digest: &Digest) -> Option<Digest> {
        let id = self.manifests.get(digest).unwrap_or(digest);
        self.images.contains_key(id).then(|| id.clone())
    }

    /// A digest decides alone: what it names is the same everywhere, while a tag may have moved since.
    fn by_name(&self, text: &str) -> Option<Digest> {
        let reference = Reference::parse(text).ok()?;
        match reference.digest() {
            Some(digest) => self.by_digest(digest),
            None => self.names.get(&reference.familiar()).cloned(),
        }
    }

    fn by_prefix(&self, text: &str) -> Result<Digest, ImageError> {
        let not_found = || ImageError::NotFound { reference: text.to_owned() };
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if prefix.len() < PREFIX_DIGITS_MIN || prefix.len() > 64 || !is_hex(prefix) {
            return Err(not_found());
        }
        let from = Digest::from_hex(&format!("{prefix:0<64}")).expect("hex digits padded to 64 are a digest");
        let mut fitting = self.images.range(from..).map(|(id, _)| id).take_while(|id| id.hex().starts_with(prefix));
        match (fitting.next(), fitting.count()) {
            (None, _) => Err(not_found()),
            (Some(id), 0) => Ok(id.clone()),
            (Some(_), more) => Err(ImageError::Ambiguous { prefix: text.to_owned(), matches: more + 1 }),
        }
    }

    /// An image as others see it, its layers below `root`.
    pub(crate) fn image(&self, id: &Digest, root: &Path) -> Option<Image> {
        let entry = self.images.get(id)?;
        let document = &entry.document;
        let layers = layers::topmost(&document.rootfs.diff_ids);
        Some(Image {
            id: id.to_string(),
            references: entry.record.references.iter().cloned().collect(),
            size_bytes: layers.iter().filter_map(|layer| self.layers.get(*layer)).sum(),
            layers: layers.iter().map(|layer| root.join(layer.hex())).collect(),
            config: document.image_config(),
            created: document.created.clone(),
            architecture: document.architecture.clone(),
            os: document.os.clone(),
        })
    }

    /// Ids of all images: those with names by their first name, then those without.
    pub(crate) fn ids_by_name(&self) -> Vec<Digest> {
        let key = |(_, entry): &(&Digest, &Entry)| {
            (entry.record.references.is_empty(), entry.record.references.first().cloned())
        };
        let mut entries: Vec<_> = self.images.iter().collect();
        entries.sort_by_key(key);
        entries.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Whether an image is there.
    pub(crate) fn has(&self, id: &Digest) -> bool {
        self.images.contains_key(id)
    }

    /// The names of an image.
    pub(crate) fn names_of(&self, id: &Digest) -> BTreeSet<String> {
        self.images.get(id).map(|entry| entry.record.references.clone()).unwrap_or_default()
    }

    /// The form that is stored.
    pub(crate) fn index(&self) -> Index {
        let images = self.images.iter().map(|(id, entry)| (id.clone(), entry.record.clone())).collect();
        Index { version: Version, images, layers: self.layers.clone(), builtin: self.builtin.clone() }
    }

    /// Removes a name, or by id the image with all its names. `user` is who uses the image. Returns what went in Docker's words,
    /// without the layers.
    pub(crate) fn remove(&mut self, text: &str, user: Option<&str>, force: bool) -> Result<Vec<String>, ImageError> {
        let id = self.resolve(text)?;
        let named = self.resolved_name(text);
        let names = self.names_of(&id);
        let going: BTreeSet<String> = named.clone().map_or_else(|| names.clone(), |name| BTreeSet::from([name]));
        if named.is_none() && names.len() > 1 && !force {
            return Err(ImageError::MustForce { image: id.short().to_owned(), references: names.len() });
        }
        let last = going.len() == names.len();
        // Force takes the names of an image in use, if there are any to take; the image itself stays.
        let only_names = force && !going.is_empty();
        check_unused(&id, named, user.filter(|_| last && !only_names))?;
        going.iter().for_each(|name| self.untag(name));
        let mut lines: Vec<String> = going.into_iter().map(|name| format!("Untagged: {name}")).collect();
        if last && user.is_none() {
            self.take_out(&id);
            lines.push(format!("Deleted: {id}"));
        }
        Ok(lines)
    }
}

fn check_unused(id: &Digest, named: Option<String>, user: Option<&str>) -> Result<(), ImageError> {
    match user {
        None => Ok(()),
        Some(user) => {
            let image = named.unwrap_or_else(|| id.short().to_owned());
            Err(ImageError::InUse { image, user: user.to_owned() })
        }
    }
}

impl TryFrom<u32> for Version {
    type Error = String;
    fn try_from(number: u32) -> Result<Self, String> {
        if number == 1 { Ok(Self) } else { Err(format!("version {number} is not 1, the only one known")) }
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> Self {
        1
    }
}
