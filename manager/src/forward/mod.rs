//! Answers on every manager what only the leader can answer.
//!
//! - **Owns** the way from a manager that does not lead to the one that does. It stands before all services of a manager, on its port
//!   and on the daemon's socket, and looks at nothing but a call's path and headers: no RPC has code here.
//! - **In:** requests, who leads, the state (where the leader is). **Out:** the answer of this manager's own services while it leads,
//!   else the leader's: headers, body and trailers as they come, in both directions. A caller that goes ends the call there, too.
//! - **Who calls** travels in a header ([`envelope`]), which is taken off whatever comes in. It counts only from a manager's certificate
//!   of this cluster whose node the state has as a manager; the call is then the original caller's, with that caller's rights.
//! - **Never twice.** A call that was passed on is not passed on again: who gets one and does not lead says so in a header, before any
//!   service has seen the call, and the manager that passed it on waits for the next leader.
//! - **Never done twice.** A call is asked again only when it certainly did not run: nothing was sent, or the answer was that header. One
//!   that only looks ([`policy`]) may be asked again until its answer has begun. Anything else ends with the words that the change may or
//!   may not have been made, because only the caller knows whether asking twice is harmless.
//! - **Never old.** Before this manager answers what people ask, it makes sure that it still leads ([`crate::store::Store::barrier`]): what
//!   anybody was told before is in the answer, whichever manager was asked, and who was demoted a moment ago is a manager no more. If it does
//!   not lead any more the call has not run and goes to who does.
//! - **No leader.** A call waits as long as an election takes, then fails with what is missing and what to do. A manager that was elected
//!   and has not yet applied its first entry does not lead yet, so calls wait for it in the same way.
//! - **Leader change.** Answers that this manager is still streaming when it leads no more are ended with an error: what feeds them (agents'
//!   log lines, reasons for waiting) has moved to the next leader.
//! - **Why not let clients find the leader,** as others do: they stand at a socket of one machine and have no certificate. **Why not in
//!   each service:** fifty RPCs would each repeat the decision, and the fifty-first would forget it.
//!
//! Files: [`policy`] (which calls, and what to do with one), [`envelope`] (the headers), [`outlook`] (what to say without a leader),
//! [`body`] (bodies that can be sent again, answers that may break off), [`client`] (connections to the leader), [`service`] (the way itself).

pub mod body;
pub mod client;
pub mod envelope;
pub mod error;
pub mod outlook;
pub mod policy;
pub mod service;

pub use error::ForwardError;
pub use service::{Bearings, Forward, LocalCalls};
