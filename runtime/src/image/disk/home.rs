//! The store's directory: `index.json`, `configs/HEX`, `layers/HEX/`, and `tmp/` for what is being made or thrown away.
//!
//! Everything is made in `tmp/` and renamed into place, so that each name always leads to something whole. What the index does not
//! name is rubbish, whatever a crash left behind; opening the store throws it away.
#![expect(clippy::disallowed_methods, reason = "driver: owns the store's files")]

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::catalogue::{Catalogue, Index, Record};
use super::super::config::Document;
use super::super::digest::Digest;
use super::super::error::ImageError;
use super::janitor::Janitor;

/// Paths of the store, and the making of temporary ones.
#[derive(Debug)]
pub(crate) struct Home {
    root: PathBuf,
    temporary: AtomicU64,
    janitor: Janitor,
}

/// A directory below `tmp/` that is removed with all it holds, unless its content was renamed away before.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
}

impl Workspace {
    /// An empty directory in it, to unpack a layer into.
    pub(crate) fn layer(&self) -> PathBuf {
        self.path.join("layer")
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // A prepared index is a file, everything else a directory.
        let removed = if self.path.is_dir() { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a temporary directory; the next start tries again");
        }
    }
}

impl Home {
    /// Makes what is missing and throws away what was half made.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, ImageError> {
        let root = data_dir.join("images");
        let home = Self { root, temporary: AtomicU64::new(0), janitor: Janitor::start() };
        for path in [home.layers(), home.configs(), home.root.join("tmp")] {
            // Only root may look: layers hold set-user programs and other people's files.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| ImageError::disk("make", &path, error))?;
        }
        home.clear_temporary()?;
        Ok(home)
    }

    /// Hands what an earlier process left half made to the janitor, and counts on beyond it so that names do not meet.
    fn clear_temporary(&self) -> Result<(), ImageError> {
        let path = self.root.join("tmp");
        let listed = fs::read_dir(&path).map_err(|error| ImageError::disk("list", &path, error))?;
        let left: Vec<Workspace> = listed.flatten().map(|entry| Workspace { path: entry.path() }).collect();
        let number = |old: &Workspace| old.path.file_name()?.to_str()?.parse::<u64>().ok();
        let next = left.iter().filter_map(number).max().map_or(0, |last| last.saturating_add(1));
        self.temporary.store(next, Ordering::Relaxed);
        self.janitor.take(left);
        Ok(())
    }

    /// Has rubbish removed, in the background.
    pub(crate) fn clear(&self, rubbish: Vec<Workspace>) {
        self.janitor.take(rubbish);
    }

    /// Where layers lie, each under the 64 digits of its digest.
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn configs(&self) -> PathBuf {
        self.root.join("configs")
    }

    fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn temporary(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(number.to_string())
    }

    /// A fresh, empty directory on the same file system.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn workspace(&self) -> Result<Workspace, ImageError> {
        let workspace = Workspace { path: self.temporary() };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(workspace.layer());
        made.map_err(|error| ImageError::disk("make", &workspace.path, error))?;
        Ok(workspace)
    }

    /// Reads the index and the configurations, and throws away the layers and configurations that it does not name.
    ///
    /// # Errors
    /// When the index is damaged or from a newer version. An image whose configuration is damaged is left out with a warning.
    pub(crate) fn read(&self) -> Result<Catalogue, ImageError> {
        let mut catalogue = Catalogue::default();
        let Some(index) = self.read_index()? else {
            return Ok(catalogue);
        };
        for (id, record) in index.images {
            self.read_image(&mut catalogue, &id, record);
        }
        catalogue.layers = index.layers;
        catalogue.builtin = index.builtin;
        catalogue.drop_layers(&std::collections::BTreeMap::new());
        self.collect(&self.layers(), |name| {
            Digest::from_hex(name).is_ok_and(|layer| catalogue.layers.contains_key(&layer))
        })?;
        self.collect(&self.configs(), |name| Digest::from_hex(name).is_ok_and(|id| catalogue.has(&id)))?;
        Ok(catalogue)
    }

    fn read_index(&self) -> Result<Option<Index>, ImageError> {
        let path = self.index();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| ImageError::Index { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::disk("read", &path, error)),
        }
    }

    fn read_image(&self, catalogue: &mut Catalogue, id: &Digest, record: Record) {
        let bytes = fs::read(self.configs().join(id.hex())).unwrap_or_default();
        let document = serde_json::from_slice::<Document>(&bytes).ok().filter(|_| Digest::of(&bytes) == *id);
        match document {
            Some(document) => catalogue.insert(id, Arc::new(document), record),
            None => {
                tracing::warn!(image.id = %id, "an image's configuration is missing or damaged; the image is dropped")
            }
        }
    }

    fn collect(&self, directory: &Path, keep: impl Fn(&str) -> bool) -> Result<(), ImageError> {
        let listed = fs::read_dir(directory).map_err(|error| ImageError::disk("list", directory, error))?;
        for entry in listed.flatten() {
            if !entry.file_name().to_str().is_some_and(&keep) {
                self.clear(vec![self.discard(&entry.path())?]);
            }
        }
        Ok(())
    }

    /// Takes a path away at once; what it held is removed when the result is dropped.
    fn discard(&self, path: &Path) -> Result<Workspace, ImageError> {
        let workspace = self.workspace()?;
        let moved = fs::rename(path, workspace.path.join("old"));
        moved.map_err(|error| ImageError::disk("remove", path, error))?;
        Ok(workspace)
    }

    /// Takes a layer away; its files are removed when the result is dropped.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn discard_layer(&self, layer: &Digest) -> Result<Workspace, ImageError> {
        self.discard(&self.layers().join(layer.hex()))
    }

    /// Whether a layer is in its place.
    pub(crate) fn has_layer(&self, layer: &Digest) -> bool {
        self.layers().join(layer.hex()).is_dir()
    }

    /// Takes a configuration away. One that stays is collected at the next start.
    pub(crate) fn discard_config(&self, id: &Digest) {
        if let Err(error) = fs::remove_file(self.configs().join(id.hex())) {
            tracing::debug!(image.id = %id, %error, "could not remove an image's configuration");
        }
    }

    /// Renames an unpacked layer into its place; rubbish that lies there is thrown away.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn place_layer(&self, layer: &Digest, unpacked: &Path) -> Result<(), ImageError> {
        let place = self.layers().join(layer.hex());
        let old = if place.exists() { Some(self.discard(&place)?) } else { None };
        fs::rename(unpacked, &place).map_err(|error| ImageError::disk("put a layer at", &place, error))?;
        self.clear(old.into_iter().collect());
        Ok(())
    }

    /// Writes a configuration, durably.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn place_config(&self, id: &Digest, bytes: &[u8]) -> Result<(), ImageError> {
        let temporary = self.write_temporary(bytes)?;
        let place = self.configs().join(id.hex());
        fs::rename(&temporary, &place).map_err(|error| ImageError::disk("write", &place, error))?;
        sync_directory(&self.configs())
    }

    /// Writes an index beside the present one; [`Self::publish_index`] puts it in force.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn prepare_index(&self, index: &Index) -> Result<PathBuf, ImageError> {
        let bytes = serde_json::to_vec_pretty(index).expect("the index is made of strings and numbers");
        // Layers must be in their place for good before an index says so.
        sync_directory(&self.layers())?;
        self.write_temporary(&bytes)
    }

    /// Puts a prepared index in force. It survives a power loss only after [`Self::sync`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn publish_index(&self, prepared: &Path) -> Result<(), ImageError> {
        fs::rename(prepared, self.index()).map_err(|error| ImageError::disk("write", &self.index(), error))
    }

    /// Removes a prepared index that will not be published.
    pub(crate) fn forget_index(&self, prepared: &Path) {
        if let Err(error) = fs::remove_file(prepared) {
            tracing::debug!(%error, "could not remove a prepared index; the next start does");
        }
    }

    /// Makes the index in force durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn sync(&self) -> Result<(), ImageError> {
        sync_directory(&self.root)
    }

    /// Makes everything on this file system durable. One call is far cheaper than one for each of a layer's files.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn sync_files(&self) -> Result<(), ImageError> {
        let root = open_directory(&self.root)?;
        rustix::fs::syncfs(&root).map_err(|errno| ImageError::disk("sync", &self.root, errno))
    }

    fn write_temporary(&self, bytes: &[u8]) -> Result<PathBuf, ImageError> {
        let path = self.temporary();
        let written = File::create_new(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|error| {
            // A full disk must not keep the half of it; the error is what matters.
            let _ = fs::remove_file(&path);
            ImageError::disk("write", &path, error)
        })?;
        Ok(path)
    }
}

fn open_directory(path: &Path) -> Result<File, ImageError> {
    File::open(path).map_err(|error| ImageError::disk("open", path, error))
}

fn sync_directory(path: &Path) -> Result<(), ImageError> {
    open_directory(path)?.sync_all().map_err(|error| ImageError::disk("sync", path, error))
}
