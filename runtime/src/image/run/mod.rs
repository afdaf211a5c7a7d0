//! The store itself: who holds what, and how a change takes force.
//!
//! Two locks. `writer` lets one change at a time through its disk part (place layers, write the index); `state` is held only to look
//! something up or to swap the catalogue, never across a disk write that waits. So readers wait for no import.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::archive::{Budget, Limits, Refusal};
use super::catalogue::Catalogue;
use super::config::{Document, Image, ImageConfig, rfc3339};
use super::digest::Digest;
use super::disk::home::Home;
use super::error::ImageError;
use super::reference::Reference;
use commit::Arrival;

mod builtin;
mod commit;
mod intake;
mod lease;
mod load;

/// All images of this machine, by digest and by name. Cheap to clone; every call may block on the disk.
#[derive(Clone, Debug)]
pub struct ImageStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    home: Home,
    limits: Limits,
    builtin_executable: PathBuf,
    /// Held while `skep/hello` is made, so that many containers that start at once make it once.
    builtin: Mutex<()>,
    writer: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    catalogue: Arc<Catalogue>,
    /// Which images each user holds.
    pins: BTreeMap<String, BTreeSet<Digest>>,
    /// Layers that a running load counts on, and by how many loads.
    leases: BTreeMap<Digest, usize>,
}

impl ImageStore {
    /// Opens or makes the store. `builtin_executable` becomes `skep/hello` when that is first asked for.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or its index is damaged.
    pub fn open(data_dir: &Path, builtin_executable: &Path) -> Result<Self, ImageError> {
        Self::open_with(data_dir, builtin_executable, Limits::DEFAULT)
    }

    pub(crate) fn open_with(data_dir: &Path, builtin_executable: &Path, limits: Limits) -> Result<Self, ImageError> {
        let home = Home::open(data_dir)?;
        let state = State { catalogue: Arc::new(home.read()?), ..State::default() };
        let shared = Shared {
            home,
            limits,
            builtin_executable: builtin_executable.to_owned(),
            builtin: Mutex::default(),
            writer: Mutex::default(),
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Finds an image by name, digest or unique id prefix, and pins it for `user` (a container id) until `unpin`.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or when a layer is missing.
    pub fn pin(&self, reference: &str, user: &str) -> Result<Image, ImageError> {
        self.refresh_builtin(reference)?;
        let (id, catalogue, fresh) = {
            let mut state = self.shared.state.lock();
            let id = state.catalogue.resolve(reference)?;
            let fresh = state.pins.entry(user.to_owned()).or_default().insert(id.clone());
            (id, Arc::clone(&state.catalogue), fresh)
        };
        // The pin comes before the look at the disk, so that no removal comes between.
        let image = self.whole_image(&catalogue, &id);
        image.inspect_err(|_| self.let_go(user, &id, fresh))
    }

    /// Takes back a pin that led to nothing; one that was there before stays.
    fn let_go(&self, user: &str, id: &Digest, fresh: bool) {
        let mut state = self.shared.state.lock();
        if let Some(images) = state.pins.get_mut(user).filter(|_| fresh) {
            images.remove(id);
        }
        state.pins.retain(|_, images| !images.is_empty());
    }

    /// Pins again after a restart what `user` held before, by the image's full id. To be called for every container before anything
    /// else is asked of the store. False if the image is gone.
    pub fn repin(&self, image_id: &str, user: &str) -> bool {
        let mut state = self.shared.state.lock();
        let Some(id) = Digest::parse(image_id).ok().filter(|id| state.catalogue.has(id)) else {
            return false;
        };
        state.pins.entry(user.to_owned()).or_default().insert(id);
        true
    }

    /// Lets go of what [`Self::pin`] held; unknown users are fine.
    pub fn unpin(&self, user: &str) {
        self.shared.state.lock().pins.remove(user);
    }

    /// Finds without pinning.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub fn get(&self, reference: &str) -> Result<Image, ImageError> {
        self.refresh_builtin(reference)?;
        let catalogue = self.catalogue();
        let id = catalogue.resolve(reference)?;
        self.whole_image(&catalogue, &id)
    }

    /// All images, by name; those without a name come last.
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        let catalogue = self.catalogue();
        let layers = self.shared.home.layers();
        catalogue.ids_by_name().iter().filter_map(|id| catalogue.image(id, &layers)).collect()
    }

    /// Makes an image of a root filesystem's tar (plain, gzip or zstd); without a name if `reference` is empty.
    ///
    /// # Errors
    /// When the archive is hostile, damaged or too large, or the name is malformed; then nothing has changed.
    pub fn import(&self, archive: &mut dyn Read, reference: &str, config: ImageConfig) -> Result<Image, ImageError> {
        let name = if reference.is_empty() { None } else { Some(new_name(reference)?) };
        let mut budget = Budget::new(&self.shared.limits);
        let (staged, unpacked) = self.stage(archive, &mut budget)?;
        if !unpacked.ended {
            return Err(ImageError::Archive { refusal: Refusal::Truncated });
        }
        self.shared.home.sync_files()?;
        let arrival = Arrival::new(Document::of_one_layer(config, staged.diff_id.clone(), rfc3339(now())), name);
        let id = arrival.id.clone();
        self.take_in(&[staged], vec![arrival], |_| ())?;
        self.whole_image(&self.catalogue(), &id)
    }

    /// Gives an image a further name; the name is taken from the image that had it.
    ///
    /// # Errors
    /// When there is no such image, or the name is malformed.
    pub fn tag(&self, source: &str, name: &str) -> Result<(), ImageError> {
        let name = new_name(name)?;
        self.refresh_builtin(source)?;
        self.commit(&[], |catalogue| {
            let id = catalogue.resolve(source)?;
            catalogue.name(name, &id);
            Ok(())
        })?;
        Ok(())
    }

    /// Removes a name, and the image and its unshared layers with the last name. Returns what went, in Docker's words
    /// (`Untagged: …`, `Deleted: …`).
    ///
    /// # Errors
    /// When it is not there, or a container uses it.
    pub fn remove(&self, reference: &str, force: bool) -> Result<Vec<String>, ImageError> {
        let (mut lines, dropped) = self.commit(&[], |catalogue| {
            let id = catalogue.resolve(reference)?;
            let user = self.shared.state.lock().user_of(&id);
            catalogue.remove(reference, user.as_deref(), force)
        })?;
        lines.extend(dropped.iter().map(|layer| format!("Deleted: {layer}")));
        Ok(lines)
    }
}

fn new_name(text: &str) -> Result<String, ImageError> {
    let reference = Reference::parse(text)?;
    match reference.digest() {
        None => Ok(reference.familiar()),
        Some(_) => Err(ImageError::BadReference {
            reference: text.to_owned(),
            why: "a name that is given cannot have a digest",
        }),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
