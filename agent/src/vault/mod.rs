//! What a node's own keys lie under on its disk while the swarm's managers lock themselves (autolock).
//!
//! - **Owns** `DATA/lock.json`, and in memory the node key: 32 random bytes that seal this manager's TLS key (`certificates/node.pem`) and,
//!   elsewhere, the key of its Raft log. In the file it is itself sealed, with the swarm's unlock key.
//! - **In:** the unlock key from whoever unlocks the machine, and from the managers which key is in force ([`Vault::engage`],
//!   [`Vault::disengage`]). **Out:** the node key, while there is one and it is known.
//! - **Why a key between.** Two files have a secret each, and no two files change at once. With the node key between, another unlock
//!   key changes one file, in one step: at every moment all that a manager has opens with one unlock key, and the file says with
//!   which ([`KeyId`](skep_proto::model::KeyId)).
//! - **Order.** On the way in the node key is on the disk, sealed, before anything is sealed with it. On the way out all is in clear before it goes.
//!   A crash between leaves some of both: whoever reads takes each as it is, and whoever follows the managers goes on.
//! - **Never back.** The file holds the version of the change that it followed last. A manager that starts reads its log again, and on
//!   the way sees that autolock was once off, or another key in force: older than the file, so nothing is done.
//! - **Memory** that held a key is wiped when it is given back. It may have been swapped out before: encrypt the swap space.
//! - **Why not** derive a key from a password: an unlock key is 256 random bits and needs no stretching.
//!
//! [`file`] is the file's form, [`disk`] the vault.

pub mod disk;
mod error;
pub mod file;

pub use disk::{Vault, draw_unlock_key};
pub use error::VaultError;
