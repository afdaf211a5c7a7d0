//! Images (interface first; the theory comes with the code).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// All images of this machine, by digest and by name. Cheap to clone; every call may block on the disk.
#[derive(Clone, Debug)]
pub struct ImageStore {}

/// What an image says about the programs it holds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ImageConfig {
    /// Program prefix.
    pub entrypoint: Vec<String>,
    /// Default arguments (or the program, without an entrypoint).
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// As in `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One image, ready to be a container's root.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// Digest of its configuration, `sha256:…`.
    pub id: String,
    /// Names that lead to it, as in `web:latest`.
    pub references: Vec<String>,
    /// Unpacked layers, lowest first, each a directory for overlayfs.
    pub layers: Vec<PathBuf>,
    /// Defaults for its containers.
    pub config: ImageConfig,
    /// Bytes of all layers, unpacked.
    pub size_bytes: u64,
    /// When it was made, RFC 3339, as its configuration says; empty if it does not.
    pub created: String,
    /// As in `amd64`.
    pub architecture: String,
    /// As in `linux`.
    pub os: String,
}

/// What went wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nothing has that name or id.
    #[error("find image {reference}: this node has no such image; load or import it here first (skep image load, skep image import)")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
}

impl ImageStore {
    /// Opens or makes the store. `builtin_executable` becomes `skep/hello` when that is first asked for.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(_data_dir: &Path, _builtin_executable: &Path) -> Result<Self, ImageError> {
        unimplemented!()
    }
    /// Finds an image by name, digest or unique id prefix, and pins it for `user` (a container id) until `unpin`.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or when a layer is missing.
    pub fn pin(&self, _reference: &str, _user: &str) -> Result<Image, ImageError> {
        unimplemented!()
    }
    /// Lets go of what [`Self::pin`] held; unknown users are fine.
    pub fn unpin(&self, _user: &str) {
        unimplemented!()
    }
    /// Finds without pinning.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub fn get(&self, _reference: &str) -> Result<Image, ImageError> {
        unimplemented!()
    }
    /// All images, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        unimplemented!()
    }
    /// Makes an image of a root filesystem's tar (plain, gzip or zstd).
    ///
    /// # Errors
    /// When the archive is hostile, damaged or too large, or the name is malformed; then nothing has changed.
    pub fn import(&self, _archive: &mut dyn Read, _reference: &str, _config: ImageConfig) -> Result<Image, ImageError> {
        unimplemented!()
    }
    /// Loads a `docker save` archive or an OCI layout (tar, gzip or zstd).
    ///
    /// # Errors
    /// As [`Self::import`], and when a digest does not fit its content.
    pub fn load(&self, _archive: &mut dyn Read) -> Result<Vec<Image>, ImageError> {
        unimplemented!()
    }
    /// Removes a name, and the image and its unshared layers with the last name. Returns what went, in Docker's words
    /// (`Untagged: …`, `Deleted: …`).
    ///
    /// # Errors
    /// When it is not there, or a container uses it.
    pub fn remove(&self, _reference: &str, _force: bool) -> Result<Vec<String>, ImageError> {
        unimplemented!()
    }
}
