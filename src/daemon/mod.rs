//! The daemon: one process a node, which holds the runtime, an agent when the node is part of a swarm, and a manager when it
//! is one.
//!
//! - **Owns** the data directory (locked: a second daemon on it is refused), the run directory with the local socket, and the
//!   answer to "is this machine part of a swarm?", written to `swarm.json` before anything acts on it.
//! - **In**: calls on the local socket ([`service`]), SIGTERM and SIGINT. **Out**: containers, through the runtime.
//! - **Order at start**: lock, runtime (takes back the containers that outlived the last daemon), local socket, then the
//!   swarm. The socket answers before the swarm is up, so `skep info` can tell why it is not.
//! - **Order at stop**: the agent says goodbye, then the manager hands over and writes down, then the socket goes. Containers
//!   stay: each has a shim of its own.
//! - **Crash**: nothing here is only in memory. The containers, the Raft log, the agent's task list and `swarm.json` are what
//!   the next start reads; it is the same path as the first.
//!
//! [`membership`] is the machine behind `swarm init|join|leave`; [`disk`] what it keeps; [`run`] starts and stops everything.

pub(crate) mod address;
pub(crate) mod disk;
pub(crate) mod gate;
pub(crate) mod membership;
pub(crate) mod metrics;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod standing;
