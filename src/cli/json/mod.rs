//! Objects as Docker's API shows them: what `inspect` prints and templates look into. Pure.
//!
//! *In*: messages of the daemon. *Out*: JSON with Docker's names and nesting: durations in nanoseconds, times as RFC 3339,
//! ids as text. *Invariant*: an object has all the fields that it may ever have, `null` when empty, so that a template may
//! ask for them; who prints JSON leaves the nulls out.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod node;
mod parts;
pub(crate) mod service;
pub(crate) mod spec;
pub(crate) mod task;

pub(crate) use parts::{id_text, meta_id, number_or_null, or_null, text_or_null, time};
