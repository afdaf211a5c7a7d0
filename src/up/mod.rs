//! `skep up` and `skep down`: a whole swarm on this machine in one command, and no trace of it after the other.
//!
//! One node runs as any daemon would, on the machine's own network. Several run each in a network namespace of its own, all on
//! one bridge, so that they meet as machines would: each has an address, its own ports and its own directories.
//!
//! - **In**: the number of nodes. **Out**: daemons in the background, a swarm of them, and the service `hello`.
//! - **Owns** `up.json` in the data directory, written before the first thing it names is made: whatever `up` was killed at,
//!   `down` finds it. Everything is looked at before it is made, so a second `up` continues the first.
//! - `down` asks each daemon to leave and to stop, and then removes what is left itself: it needs no daemon to be alive.
//!
//! [`plan`] decides on names, directories and addresses; [`namespace`] makes the network namespaces; [`daemon`] starts and
//! stops the processes; [`run`] does it all in order.

pub(crate) mod daemon;
pub(crate) mod namespace;
pub(crate) mod plan;
pub(crate) mod run;
