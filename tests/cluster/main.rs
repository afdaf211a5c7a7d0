//! Real daemons on real networks: what a user does, and what goes wrong for them.
#![expect(clippy::unwrap_used, reason = "a test that cannot take its next step has failed")]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod cut_short;
mod followers;
mod joining;
mod locking;
mod managers;
mod moving;
mod outages;
mod recovery;
mod refusals;
mod returning;
mod services;
mod survival;
mod tokens;
mod traces;
