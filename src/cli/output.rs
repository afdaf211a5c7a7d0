//! What the commands share of the world around them: standard output, the terminal, the clock, and the user's Ctrl-C.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use skep_proto::model::Moment;
use skep_proto::model::moment::millis;

use super::error;
use super::format::progress::Target;

/// Where a line of a container goes: as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Writes to standard output.
///
/// # Errors
/// When it cannot be written; silently when its reader has gone.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write(Sink::Out, text.as_bytes())
}

/// Writes a line to standard error: what the user should know and a script should not read.
///
/// # Errors
/// As [`print()`].
pub(crate) fn note(text: &str) -> anyhow::Result<()> {
    write(Sink::Err, format!("{text}\n").as_bytes())
}

/// Asks a person for something, without ending the line.
///
/// # Errors
/// As [`print()`].
pub(crate) fn prompt(text: &str) -> anyhow::Result<()> {
    write(Sink::Err, text.as_bytes())
}

/// Writes bytes and passes them on at once, since a log or a progress is watched as it grows.
///
/// # Errors
/// As [`print()`].
pub(crate) fn write(sink: Sink, bytes: &[u8]) -> anyhow::Result<()> {
    let written = match sink {
        Sink::Out => put(&mut io::stdout().lock(), bytes),
        Sink::Err => put(&mut io::stderr().lock(), bytes),
    };
    match written {
        Err(gone) if gone.kind() == ErrorKind::BrokenPipe => Err(error::silent()),
        other => other.context("write the output"),
    }
}

fn put(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// How progress is drawn on standard output.
pub(crate) fn progress_target() -> Target {
    let out = io::stdout();
    if !out.is_terminal() {
        return Target::Plain;
    }
    // A terminal that does not tell its width gets whole lines.
    Target::Terminal(rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col.into()))
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}
