//! The command line.

pub(crate) mod format;
