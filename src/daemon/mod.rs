//! The daemon (in the making).

pub mod address;
pub mod disk;
pub mod options;
