//! The simulator: the product's decisions under fake time, with a fake network, fake disks and fake containers, one thread and one
//! seed a run. CONTRIBUTING.md tells how to run it, replay a seed, and add a trouble or an invariant.
//!
//! Everything that decides is the product's own code: the store and what it refuses, the loops of the leader, the dispatcher's
//! sessions, the agent's machine. Only what the product leaves to its drivers is imitated here: the order in which things happen
//! ([`queue`]), the network ([`net`]), the disks and threads of Raft members ([`consensus`]), containers ([`executor`]). [`world`] joins
//! them, [`members`] is the group of managers, [`seats`] who comes into it and who goes, [`fault`] breaks things, [`user`] asks for
//! things, [`check`] says what must hold.

mod agent;
mod asks;
mod calls;
mod chance;
mod check;
mod consensus;
mod executor;
mod fault;
mod manager;
mod members;
mod net;
mod partition;
mod queue;
mod run;
mod seats;
mod stage;
mod time;
mod user;
mod world;

use skep_proto::model::ClusterId;

/// The cluster in every run.
const CLUSTER: ClusterId = ClusterId::new(1);

/// A manager's number in the group.
fn raft_id(manager: usize) -> u64 {
    u64::try_from(manager).expect("few managers") + 1
}

/// Where the member with that number is.
fn place(raft_id: u64) -> Option<usize> {
    usize::try_from(raft_id).ok()?.checked_sub(1)
}

/// Seeds of a plain test run: as many as pass in half a minute of a debug build.
const SEEDS_DEFAULT: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// `SKEP_SIM_SEEDS=10000` runs so many, `SKEP_SIM_FIRST=N` begins at another one.
#[test]
fn every_seed_keeps_every_invariant() {
    let first = number("SKEP_SIM_FIRST").unwrap_or(1);
    run::seeds(first, number("SKEP_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT));
}

/// `SKEP_SIM_SEED=N cargo test --test sim replay -- --nocapture` shows one run.
#[test]
fn replay_shows_one_seed() {
    run::replay(number("SKEP_SIM_SEED").unwrap_or(1), number("SKEP_SIM_SEED").is_some());
}

#[test]
fn the_same_seed_gives_the_same_run_twice() {
    run::twice(1..4);
}
