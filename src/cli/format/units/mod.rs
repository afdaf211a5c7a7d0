//! Amounts as people write and read them: byte sizes, CPUs, durations, ids and names.
//!
//! *In*: exact numbers (bytes, billionths of a CPU, [`std::time::Duration`]) or the user's text. *Out*: the other one.
//!
//! *Invariants*: reading is exact, without a float in between, so that `0.1` CPU is 100,000,000 and never one less; what
//! [`go_duration`] writes, [`parse_duration`] reads back to the nanosecond; every amount that is read fits 63 bits, the
//! range of Docker's API.
//!
//! *Where to read next*: [`duration`], [`size`], [`name`]; [`decimal`] is what the first two share.

mod decimal;
mod duration;
mod name;
mod size;

pub(crate) use duration::{ago, go_duration, human_duration, parse_duration};
pub(crate) use name::{ellipsis, natural_cmp, short_id};
pub(crate) use size::{binary_size, decimal_size, parse_cpus, parse_size};
