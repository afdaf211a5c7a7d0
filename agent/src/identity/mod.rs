//! Who the node is: its key, its certificate, and the root it trusts.
//!
//! Owns `DATA/certificates/`. The key is the identity: it is made on this machine and never leaves it; a certificate lends it
//! the node's id (CN), role (OU) and cluster (O). Input: a join token and a manager's address, later the certificate's age.
//! Output: an [`Identity`] and TLS configurations made of it.
//!
//! - The root is fetched from a stranger, and compared with the digest in the token *before* the token's secret is said. Only
//!   whoever holds that root then hears the secret.
//! - A certificate is renewed at a time drawn between 50 and 80 % of its life, so that nodes that joined together do not
//!   renew together, and a manager that is away for weeks is waited for.
//! - Key and certificate are replaced one after the other, so each certificate lies in the same file as its key: a crash
//!   leaves the old pair or the new one.
//!
//! [`certificate`] reads certificates, [`tls`] makes configurations, [`client`] speaks with managers, [`disk`] keeps the files.

pub mod certificate;
pub mod client;
pub mod disk;
mod error;
pub mod tls;

pub use certificate::{Identity, Life};
pub use error::IdentityError;
