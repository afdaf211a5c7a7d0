//! The local socket: what people ask of this machine's daemon. Thin: each call is one step of the runtime or of the
//! [`membership`](super::membership), and one way back.
//!
//! [`local`] implements the generated trait and delegates to [`swarm`], [`container`] and [`image`]; [`status`] is the one
//! place where an error gets its gRPC code.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod local;
pub(crate) mod restore;
mod status;
pub(crate) mod swarm;
