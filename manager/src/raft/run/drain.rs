//! The raft crate's log lines in ours.

use slog::{Drain, Level, Never, OwnedKVList, Record};

/// Passes lines on. The crate calls normal life info; to an operator it is debug.
#[derive(Debug)]
pub(super) struct ToTracing;

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        let line = record.msg();
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "skep::raft", "{line}"),
            Level::Warning => tracing::warn!(target: "skep::raft", "{line}"),
            Level::Info => tracing::debug!(target: "skep::raft", "{line}"),
            Level::Debug | Level::Trace => tracing::trace!(target: "skep::raft", "{line}"),
        }
        Ok(())
    }
}

/// A logger for the raft crate.
pub(super) fn logger() -> slog::Logger {
    slog::Logger::root(ToTracing, slog::o!())
}
