//! Loading saved images.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::de::DeserializeOwned;

use super::super::archive::{Budget, MemberPath, Refusal};
use super::super::catalogue::Record;
use super::super::config::{Document, Image, machine};
use super::super::digest::Digest;
use super::super::error::{ImageError, shown};
use super::super::manifest::{Blob, Descriptor, OciIndex, OciManifest, Platform, Promise, Saved};
use super::ImageStore;
use super::commit::{Arrival, Staged};
use super::intake::{Intake, Item, missing};
use super::lease::Lease;

/// Manifests and indexes that one archive may make us look at: far more than any image has platforms. The references of indexes
/// in indexes could multiply at each level.
const DESCRIPTORS_MAX: usize = 1_000;

/// How deep indexes may lie in indexes; real ones have one level below the archive's own. Each level takes from the thread's stack.
const NESTING_MAX: usize = 8;

impl ImageStore {
    /// Loads a `docker save` archive or an OCI layout (tar, gzip or zstd).
    ///
    /// # Errors
    /// As [`Self::import`], and when a digest does not fit its content.
    pub fn load(&self, archive: &mut dyn Read) -> Result<Vec<Image>, ImageError> {
        let mut budget = Budget::new(&self.shared.limits);
        let mut intake = Intake::read(self, archive, &mut budget)?;
        let mut cargo = Cargo::default();
        let mut arrivals = Vec::new();
        for promise in promises(&intake)? {
            arrivals.push(cargo.arrival(&mut intake, promise, self.shared.limits.layers)?);
        }
        let (staged, _leases) = cargo.collect(&mut intake);
        // What no manifest names goes before the sync, which would otherwise write it out.
        drop(intake);
        self.shared.home.sync_files()?;
        let named = names_by_id(&arrivals);
        Ok(told(self.take_in(&staged, arrivals, |_| ())?, named))
    }
}

/// The names that an archive gives each of its images.
fn names_by_id(arrivals: &[Arrival]) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for arrival in arrivals {
        names.entry(arrival.id.to_string()).or_default().extend(arrival.record.references.iter().cloned());
    }
    names
}

/// Each image once, with the names that it has got by this load, whatever others it had.
fn told(images: Vec<Image>, mut named: BTreeMap<String, BTreeSet<String>>) -> Vec<Image> {
    let once = images.into_iter().filter_map(|image| Some((named.remove(&image.id)?, image)));
    once.map(|(names, image)| Image { references: names.into_iter().collect(), ..image }).collect()
}

/// What the archive's manifests promise for this machine. Where both layouts are there, `manifest.json` is the one that names all.
fn promises(intake: &Intake<'_>) -> Result<Vec<Promise>, ImageError> {
    if let Some(saved) = json::<Vec<Saved>>(intake, &top("manifest.json"))? {
        if saved.is_empty() {
            return Err(contradiction("manifest.json", "it names no image"));
        }
        return saved.into_iter().map(Saved::promise).collect();
    }
    match json::<OciIndex>(intake, &top("index.json"))? {
        Some(index) => Search { intake, left: DESCRIPTORS_MAX, present: BTreeSet::new() }.images(index),
        None => Err(ImageError::NotAnImage),
    }
}

fn contradiction(name: &str, why: &'static str) -> ImageError {
    ImageError::Contradiction { name: name.to_owned(), why }
}

fn top(name: &str) -> MemberPath {
    MemberPath::of(&[name.as_bytes()])
}

fn json<T: DeserializeOwned>(intake: &Intake<'_>, path: &MemberPath) -> Result<Option<T>, ImageError> {
    let Some(bytes) = intake.document(path)? else { return Ok(None) };
    serde_json::from_slice(bytes).map(Some).map_err(|source| ImageError::Document { name: text(path), source })
}

fn text(path: &MemberPath) -> String {
    shown(path.joined())
}

/// The bytes of a JSON blob, which must be there and fit its digest.
fn verified<'a>(intake: &'a Intake<'_>, blob: &Blob) -> Result<&'a [u8], ImageError> {
    let bytes = intake.document(&blob.path)?.ok_or_else(|| missing(&blob.path))?;
    check_digest(blob, &Digest::of(bytes))?;
    Ok(bytes)
}

fn check_digest(blob: &Blob, found: &Digest) -> Result<(), ImageError> {
    match &blob.digest {
        Some(expected) if expected != found => Err(wrong_digest(text(&blob.path), expected, found)),
        _ => Ok(()),
    }
}

fn wrong_digest(what: String, expected: &Digest, found: &Digest) -> ImageError {
    ImageError::WrongDigest { what, expected: expected.to_string(), found: found.to_string() }
}

fn parsed<T: DeserializeOwned>(intake: &Intake<'_>, blob: &Blob) -> Result<T, ImageError> {
    let bytes = verified(intake, blob)?;
    serde_json::from_slice(bytes).map_err(|source| ImageError::Document { name: text(&blob.path), source })
}

/// The search of an OCI layout for what runs on this machine.
struct Search<'a, 'b> {
    intake: &'a Intake<'b>,
    left: usize,
    /// Platforms that were found and do not fit.
    present: BTreeSet<String>,
}

impl Search<'_, '_> {
    /// The images of a layout. Entries of one name are the platforms of one image: the first that fits is taken.
    fn images(mut self, index: OciIndex) -> Result<Vec<Promise>, ImageError> {
        let mut promises = BTreeMap::new();
        let mut unmet = BTreeSet::new();
        for descriptor in index.manifests {
            let name = descriptor.name()?;
            match self.fitting(&descriptor, NESTING_MAX)? {
                Some(found) => drop(promises.entry((name.clone(), self.key(&name, &found.0))).or_insert(found)),
                None => drop(unmet.insert(name)),
            }
        }
        let met: BTreeSet<Option<String>> = promises.keys().map(|(name, _)| name.clone()).collect();
        if promises.is_empty() || !unmet.is_subset(&met) {
            return Err(self.no_platform());
        }
        Ok(promises.into_iter().map(|((name, _), (digest, manifest))| manifest.promise(digest, name)).collect())
    }

    /// Images without a name are told apart by their digest.
    fn key(&self, name: &Option<String>, digest: &Digest) -> Option<Digest> {
        name.is_none().then(|| digest.clone())
    }

    /// The first manifest below a descriptor that fits this machine.
    fn fitting(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<(Digest, OciManifest)>, ImageError> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| contradiction("index.json", "it leads to more than 1,000 manifests"))?;
        let blob = Blob::of(&descriptor.digest);
        if descriptor.is_index() {
            let depth = depth.checked_sub(1);
            let depth = depth.ok_or_else(|| contradiction("index.json", "its indexes lie more than 8 deep"))?;
            return self.fitting_in(parsed::<OciIndex>(self.intake, &blob)?, depth);
        }
        if let Some(platform) = descriptor.platform.as_ref().filter(|platform| !platform.is_this_machine()) {
            self.present.insert(platform.text());
            return Ok(None);
        }
        let manifest: OciManifest = parsed(self.intake, &blob)?;
        let platform = platform_of(&parsed(self.intake, &manifest.config())?);
        if let Some(platform) = platform.filter(|platform| !platform.is_this_machine()) {
            self.present.insert(platform.text());
            return Ok(None);
        }
        Ok(Some((descriptor.digest.clone(), manifest)))
    }

    fn fitting_in(&mut self, index: OciIndex, depth: usize) -> Result<Option<(Digest, OciManifest)>, ImageError> {
        for descriptor in &index.manifests {
            if let Some(found) = self.fitting(descriptor, depth)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn no_platform(&self) -> ImageError {
        let present: Vec<&str> = self.present.iter().map(String::as_str).collect();
        let present =
            if present.is_empty() { "no image at all".to_owned() } else { format!("only {}", present.join(", ")) };
        ImageError::NoPlatform { wanted: format!("linux/{}", machine()), present }
    }
}

/// What a configuration was built for, if it says so and it matters.
fn platform_of(document: &Document) -> Option<Platform> {
    let platform = Platform { os: document.os.clone(), architecture: document.architecture.clone() };
    (!document.runs_here()).then_some(platform)
}

/// The layers that the loaded images are made of, each once.
#[derive(Default)]
struct Cargo {
    /// Where the archive has each layer that is used.
    paths: BTreeMap<Digest, MemberPath>,
}

impl Cargo {
    /// Checks that the archive keeps its promise of an image.
    fn arrival(&mut self, intake: &mut Intake<'_>, promise: Promise, layers_max: usize) -> Result<Arrival, ImageError> {
        let bytes = verified(intake, &promise.config)?.to_vec();
        let document: Document = parsed(intake, &promise.config)?;
        check_layer_count(&document, &promise, layers_max)?;
        if let Some(platform) = platform_of(&document) {
            let wanted = format!("linux/{}", machine());
            return Err(ImageError::NoPlatform { wanted, present: format!("only {}", platform.text()) });
        }
        for (blob, diff_id) in promise.layers.iter().zip(&document.rootfs.diff_ids) {
            self.load_layer(intake, blob, diff_id)?;
        }
        let record = Record {
            references: promise.names.into_iter().collect(),
            manifests: promise.manifest.into_iter().collect(),
        };
        Ok(Arrival { id: Digest::of(&bytes), bytes, document, record })
    }

    fn load_layer(&mut self, intake: &mut Intake<'_>, blob: &Blob, diff_id: &Digest) -> Result<(), ImageError> {
        let (path, item) = intake.layer(&blob.path).ok_or_else(|| missing(&blob.path))?;
        let found = match item {
            Item::Layer(staged, packed) => {
                check_digest(blob, packed)?;
                &staged.diff_id
            }
            Item::Known(lease) => &lease.layer,
            _ => return Err(intake.take(&path).and_then(Item::refusal).unwrap_or_else(|| missing(&blob.path))),
        };
        if found != diff_id {
            return Err(wrong_digest(format!("layer {}", text(&blob.path)), diff_id, found));
        }
        self.paths.entry(diff_id.clone()).or_insert(path);
        Ok(())
    }

    /// Takes the layers out of the archive's items.
    fn collect<'a>(self, intake: &mut Intake<'a>) -> (Vec<Staged>, Vec<Lease<'a>>) {
        let (mut staged, mut leases) = (Vec::new(), Vec::new());
        for path in self.paths.values() {
            match intake.take(path) {
                Some(Item::Layer(layer, _)) => staged.push(layer),
                Some(Item::Known(lease)) => leases.push(lease),
                _ => {}
            }
        }
        (staged, leases)
    }
}

fn check_layer_count(document: &Document, promise: &Promise, layers_max: usize) -> Result<(), ImageError> {
    let name = text(&promise.config.path);
    match document.rootfs.diff_ids.len() {
        _ if !document.rootfs.is_of_layers() => {
            Err(ImageError::Contradiction { name, why: "its root filesystem is not of the type layers" })
        }
        0 => Err(ImageError::Contradiction { name, why: "it has no layers, so nothing could run" }),
        count if count > layers_max => Err(ImageError::member(name.as_bytes(), Refusal::TooManyLayers(layers_max))),
        count if count != promise.layers.len() => {
            Err(ImageError::Contradiction { name, why: "it has another number of layers than the manifest" })
        }
        _ => Ok(()),
    }
}
