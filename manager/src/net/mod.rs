//! The manager's one TCP port.
//!
//! - **Owns** the accept loop, TLS, and the HTTP/2 connections. Serves whatever answers calls.
//! - **In:** connections. **Out:** requests that carry who calls ([`crate::caller::Caller`]); what a caller may do is
//!   decided by the RPC.
//! - **Invariants.** TLS 1.2 or newer, always. A client without a certificate gets in, because fetching the root and joining
//!   need none; a client with a certificate that the root did not sign does not. One whose certificate's time is over gets in as
//!   [`crate::caller::Caller::Lapsed`], so that a cluster that was switched off for months comes back by itself. A slow or silent client holds a handshake
//!   slot for a bounded time and blocks nobody who is connected. The configuration can be swapped while connections live.
//! - **Crash.** Connections are lost; clients reconnect.
//! - **Why our own loop,** not the library's: certificates must change without closing the port, and handshakes of thousands of
//!   nodes after a leader change must be bounded.
//!
//! Files: [`tls`] (what a connection must prove), [`run`] (the loop), [`client`] (the way to other managers).

pub mod client;
pub mod error;
pub mod run;
pub mod tls;

pub use client::Dialer;
pub use error::{DialError, NetError};
pub use run::{Answer, Listener, TlsSlot};
pub use tls::{client_config, leads_to, leads_to_as, server_config};
