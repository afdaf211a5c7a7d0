//! Who belongs to the cluster: the root, the join tokens, the nodes' certificates.
//!
//! - **Owns** the trust root (in the cluster object, so that every manager can sign) and each node's certificate. A node's
//!   identity is its key: its address, its hostname and the date it was last seen prove nothing.
//! - **In:** a token and a signing request from a machine that wants to join ([`service`]), or a signing request from a node
//!   that renews. **Out:** one transaction that creates or updates the node object, then the certificate.
//! - **Invariants.** The subject is ours, whatever the request says: CN is the node's id, OU its role, O the cluster. The role
//!   comes from the token's secret or, on renewal, from the state, never from the request. A refused request changes nothing.
//!   Secrets are compared in constant time, and both are always compared.
//! - **Crash, leader change.** Nothing is kept in memory. A crash after the transaction leaves a node object that no machine
//!   claims; it shows as `Unknown` and can be removed. The reply is sent only after the commit, so no certificate exists
//!   that the cluster does not know.
//! - **Why not sign in a loop over node objects,** as others do: the joiner would have to poll, and a join would take a second
//!   instead of one fsync. Signing takes less than a millisecond, so the RPC that asks for it does it.
//!
//! Read next: [`certificate`] (what a certificate says), [`token`] (who may join), [`service`] (the RPCs), [`rotation`] (how the root is
//! replaced), [`root`] (by what).

pub mod certificate;
pub mod error;
pub mod root;
pub mod rotation;
pub mod run;
pub mod service;
pub mod token;

pub use certificate::{Subject, sign_request};
pub use error::CaError;
pub use run::{Charter, Founding, NodeIdentity, draw_manager, renewed_by_itself};
pub use service::CaService;
