//! What can go wrong with a container.

use std::io;
use std::path::PathBuf;

use super::{ContainerId, ContainerStatus};
use crate::cgroup::CgroupError;
use crate::image::ImageError;
use crate::network::NetworkError;
use crate::security::UnknownCapability;

/// An operation of the runtime that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// No container has that id.
    #[error("find container {id}: this node has no such container")]
    NotFound {
        /// What was asked for.
        id: ContainerId,
    },
    /// One has it already, or is being made or removed.
    #[error("create container {id}: there is one with that id; remove it first")]
    Exists {
        /// What was asked for.
        id: ContainerId,
    },
    /// The operation does not fit the container's state.
    #[error("{action} container {id}: it is {status:?}")]
    WrongState {
        /// Which container.
        id: ContainerId,
        /// What was asked for, as in `start`.
        action: &'static str,
        /// What it is.
        status: ContainerStatus,
    },
    /// Neither image nor request names a program.
    #[error("create container {id}: no command is given and image {image} has none")]
    NoCommand {
        /// Which container.
        id: ContainerId,
        /// Its image.
        image: String,
    },
    /// A limit that this kernel cannot enforce.
    #[error(
        "limit the {controller} of container {id}: the kernel has no {controller} controller; boot it with cgroup_enable={controller}, \
         or ask for no such limit"
    )]
    NoController {
        /// Which container.
        id: ContainerId,
        /// What the limit needs.
        controller: &'static str,
    },
    /// A signal that does not exist.
    #[error("use the signal {name:?}: give a name as SIGTERM or TERM, or a number from 1 to 64")]
    UnknownSignal {
        /// What was asked for.
        name: String,
    },
    /// A capability that does not exist.
    #[error("set the capabilities of container {id}")]
    Capability {
        /// Which container.
        id: ContainerId,
        /// Which capability.
        #[source]
        source: UnknownCapability,
    },
    /// The image store refused.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The network refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The control groups refused.
    #[error("prepare or remove control groups")]
    Cgroup {
        /// Why.
        #[source]
        source: CgroupError,
    },
    /// A file or directory of the runtime could not be made, read or removed.
    #[error("{action} {}", path.display())]
    File {
        /// As in `write`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim could not be started.
    #[error("start the shim of container {id}")]
    Spawn {
        /// Which container.
        id: ContainerId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim does not answer as it should.
    #[error("talk to the shim of container {id}")]
    Shim {
        /// Which container.
        id: ContainerId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim could not make the container.
    #[error("{reason}")]
    Make {
        /// Which container.
        id: ContainerId,
        /// The step and the kernel's answer.
        reason: String,
    },
    /// The shim could not do what it was asked for.
    #[error("{action} container {id}: {reason}")]
    Refused {
        /// Which container.
        id: ContainerId,
        /// As in `signal`.
        action: &'static str,
        /// The kernel's answer.
        reason: String,
    },
    /// The program could not be executed. The container has exited with that code.
    #[error("{reason}")]
    Execute {
        /// Which container.
        id: ContainerId,
        /// As in `exec: "nope": executable file not found in $PATH`.
        reason: String,
        /// 127 if there is no such program, else 126.
        code: i32,
    },
    /// The kernel does not end it.
    #[error(
        "kill container {id}: its processes do not end {seconds} s after SIGKILL; they probably wait for a disk or a network filesystem"
    )]
    Unkillable {
        /// Which container.
        id: ContainerId,
        /// How long was waited.
        seconds: u64,
    },
}
