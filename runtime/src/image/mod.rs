//! Images: what containers start from.
//!
//! Owns `DATA-DIR/images`: unpacked layers by the digest of their tar, configurations by theirs, and an index of names. In go archives
//! (`docker save`, OCI layouts, root filesystems); out comes an [`Image`]: defaults for containers and a list of directories that
//! overlayfs stacks.
//!
//! Invariants. What has a digest as its name was checked against it. A layer is shared by all images that name it, and goes with
//! the last of them. What the index names is whole and durable; what it does not name is rubbish. No image goes while a container
//! pins it. An archive that is refused has changed nothing.
//!
//! Crash: things are made in a temporary directory, synced, renamed, and only then named by the index, which is replaced in one
//! rename. The next start throws away what no index names. Pins live in memory: whoever holds them pins again.
//!
//! Archives are hostile until shown otherwise: `archive.rs` has the rules and limits, `disk/tree.rs` the writing that cannot leave
//! its directory. Layers are unpacked as they stream by, before the manifest that names them was seen, because archives put it
//! last and a spool would write everything twice; what no manifest names, or fits no digest, is removed again.
//!
//! Not a loop-mounted or tar-keeping store: directories start a container with one mount and share their pages between containers.
//!
//! Read next: `run/mod.rs` for the calls, `catalogue.rs` for names and removal, `disk/unpack.rs` for the way of a layer.

mod archive;
mod catalogue;
pub mod changes;
mod config;
mod digest;
mod disk;
mod error;
mod header;
mod layers;
mod manifest;
mod reference;
mod run;

pub use archive::Refusal;
pub use config::{Image, ImageConfig};
pub use error::ImageError;
pub use run::ImageStore;
