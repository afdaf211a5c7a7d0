//! Who is a manager: how a machine becomes one, stays one when its address changes, and ceases to be one.
//!
//! - **Owns** the agreement between two lists: the managers that the state names (`Node.manager`, `Node.spec.role`), which is what is
//!   wanted, and the members of the Raft group, which is what is. A pure [`plan`] says the next step from one to the other.
//! - **In:** Join and Leave of managers about themselves ([`service`]), changes of a node's wanted role by users, the group as the leader
//!   sees it. **Out:** changes of the group, one at a time; node objects; leadership handed over.
//! - **A manager comes** with a certificate first and a vote last: promoted in the state, it renews its certificate, opens its port and
//!   asks to join under a Raft id that it drew. The leader calls it back at the address that it gave, so that a wrong one is found before
//!   anything depends on it; then it learns, and when it has caught up it votes. So the group never waits for an empty log.
//! - **A manager goes** the other way round: first its vote, then its certificate's role, so that no voter is without rights. A leader that
//!   is to go hands leadership over first; its successor does the rest.
//! - **Invariants.** No step takes a voter away while those that remain could not decide. A Raft id that was removed never comes back: ids
//!   are random numbers, and a machine that lost its log joins under a new one, whereupon the old one is removed.
//! - **Crash, leader change.** Nothing that matters is kept in memory: the two lists are durable, and the next leader's plan continues with the
//!   difference. A join that nobody could answer leaves a node that never comes; it is removed after an hour ([`unheard`]).
//! - **Why not change the group in the RPC** that asks for it: the RPC's manager may die in between, and then somebody must look at the
//!   difference anyway. So only the loop does.
//!
//! - **Made anew.** A cluster that goes on from one survivor or a backup begins another era ([`anew`]): its one manager is told in the
//!   first change of the new log; nobody else votes. Managers of an earlier era are told so by the first manager or agent of the later
//!   one that they meet; they put their log aside and come as a manager that has none. One may meet nobody, so the state keeps where the
//!   managers were when the era began, and the leader calls them until each has answered from this era ([`former`]). That they may
//!   still be enough to decide something among themselves makes no difference: the latest word of an operator counts.
//! - **A seat that was taken away** from who was cut off, and perhaps given back, is nothing that Raft tells. Who hears of no leader asks one
//!   wherever it may be what has become of its seat (GetSeat); one whose id is gone forgets its log and comes anew.
//!
//! Read next: [`plan`], then [`run`] (the loop) and [`service`] (the RPCs).

pub mod anew;
pub mod error;
pub mod former;
pub mod plan;
pub mod record;
pub mod run;
pub mod service;
pub mod unheard;

pub use error::MembershipError;
pub use run::run;
pub use service::MembershipService;
