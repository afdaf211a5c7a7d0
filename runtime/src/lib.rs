//! Linux containers: images, root filesystems, cgroups, networks, logs, and the shim that holds each of them.
//!
//! The crate knows no cluster word and no RPC. Its face is [`Runtime`]: create, start, wait, stop, remove a container;
//! and [`image::ImageStore`]: import, load, list, remove an image. Everything it leaves on the machine lies under the two
//! directories, the cgroup parent and the names that [`RuntimeConfig`] gives it, so that a scan can prove it gone.
//!
//! Life of a container: [`container::run`] resolves the image ([`image`]), leases an address ([`network`]), writes a bundle
//! and spawns a shim ([`shim`]): our own binary, re-executed, single-threaded. The shim makes the namespaces, the root
//! filesystem ([`rootfs`]) and the cgroup membership ([`cgroup`]), applies the profile ([`security`]), waits for the word
//! to start, frames the output into files ([`logs`]) and writes the exit code down before it ends. Truth lies in those
//! files, so a daemon that was killed finds out what happened while it was away.

pub mod cgroup;
pub mod container;
pub mod image;
pub mod lifeline;
pub mod logs;
pub mod network;
pub mod rootfs;
pub mod security;
pub mod shim;

pub use container::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerStatus, Exit, Protocol, PublishedPort, Resources, Runtime,
    RuntimeConfig, RuntimeError,
};
pub use lifeline::Lifeline;
