//! Containers: what one is asked to be, the states it goes through, and the calls that move it on.

mod spec;

pub use spec::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerStatus, Exit, Protocol, PublishedPort, Resources, RuntimeConfig,
};
