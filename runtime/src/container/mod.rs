//! Containers: what one is asked to be, the states it goes through, and the calls that move it on.
//!
//! **Owns** the two directories of each container: `RUN/containers/ID` (sockets, state, generated files: gone after a reboot) and
//! `DATA/containers/ID` (writable layer, logs). Input: a [`ContainerSpec`] and an image. Output: [`ContainerInfo`], [`Exit`].
//!
//! **States** go one way: created, running, exited, removed. The truth about each is a file or a process, never this process's
//! memory: the bundle says what was asked, `state` who runs, `exit` how it ended. [`Runtime`] is the view of one daemon on it.
//!
//! **Crash.** [`Runtime::open`] reads the run directory. A directory without `record` is half-made and goes. One whose shim runs
//! is adopted: identity is process id plus start time, then a pidfd holds it. One whose shim is gone has its exit in `exit`, or
//! the shim was killed: then the program is killed too and the container has ended with 137. What lies in the data
//! directory or under the cgroup parent without such a directory is left over from before a reboot and goes.
//!
//! **No lock spans containers.** The registry's lock is held to look one up; each operation works on its own container, on a
//! thread for blocking work, so that fifty creations run side by side.
//!
//! Read next: [`spec`](ContainerSpec), [`command`], then [`run`].

pub mod command;
pub mod error;
pub mod files;
pub mod run;
pub mod signal;
mod spec;

pub use error::RuntimeError;
pub use run::Runtime;
pub use spec::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerStatus, Exit, Protocol, PublishedPort, Resources,
    RuntimeConfig, STOP_GRACE_MAX,
};
