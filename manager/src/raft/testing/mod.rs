//! Members without threads, clocks, files or a network, for the simulator: the same [`Member`](super::member::Member) that the thread
//! drives, over a disk and messages that are values.

mod disk;
mod member;
mod tail;
#[cfg(test)]
mod tests;

pub use disk::{CrashPoint, MemoryDisk, Remnant, Rot};
pub use member::{MemoryMember, Parcel};
