//! What `logs` and `service logs` share: their flags, and how pieces become lines. Pure.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use skep_proto::model::Moment;
use skep_proto::pb;

use super::error::usage;
use super::flags::since::since;
use super::output::Sink;

/// Longest line that is held back until its end has come; beyond it, what is there is shown as a line.
const HELD_MAX: usize = 1 << 20;

/// Which lines, and with what in front.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogFlags {
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all", allow_negative_numbers = true, value_name = "LINES")]
    tail: String,
    /// Show logs since a time (as in 2026-01-02T13:23:37Z) or a span back from now (as in 42m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

impl LogFlags {
    /// The request's options.
    ///
    /// # Errors
    /// When a number or time cannot be read.
    pub(crate) fn options(&self, now: Moment) -> anyhow::Result<pb::LogOptions> {
        let since = self.since.as_deref().map(|text| since(text, now)).transpose()?;
        Ok(pb::LogOptions {
            follow: self.follow,
            tail: tail(&self.tail)?,
            since: since.map_or(0, |moment| moment.0),
            stdout: true,
            stderr: true,
        })
    }
}

/// A negative number is all, as in Docker.
fn tail(text: &str) -> anyhow::Result<i64> {
    match text {
        "all" => Ok(-1),
        number => number
            .parse()
            .map_err(|_| usage(format!("failed to use {text:?} as a number of lines: give a number or all"))),
    }
}

/// Pieces of lines that have not ended yet, by task and stream.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    held: BTreeMap<(Vec<u8>, bool), Vec<u8>>,
}

impl Lines {
    /// Takes a piece in; gives the line's bytes when it has ended.
    pub(crate) fn take(&mut self, piece: &pb::LogLine) -> Option<Vec<u8>> {
        let held = self.held.entry((piece.task.clone(), piece.stderr)).or_default();
        held.extend_from_slice(&piece.data);
        if piece.partial && held.len() < HELD_MAX {
            return None;
        }
        Some(std::mem::take(held))
    }

    /// What never ended, for the end of the stream.
    pub(crate) fn rest(self) -> impl Iterator<Item = (Vec<u8>, bool, Vec<u8>)> {
        self.held.into_iter().filter(|(_, data)| !data.is_empty()).map(|((task, stderr), data)| (task, stderr, data))
    }
}

/// Where a stream's lines go.
pub(crate) fn sink(stderr: bool) -> Sink {
    if stderr { Sink::Err } else { Sink::Out }
}

/// A line as it is written: time, prefix, bytes as they came, line break.
pub(crate) fn written(stamp: Option<u64>, prefix: &str, data: &[u8]) -> Vec<u8> {
    let stamp = stamp.map(|at| stamp_text(at) + " ").unwrap_or_default();
    [stamp.as_bytes(), prefix.as_bytes(), data, b"\n"].concat()
}

/// Nine digits always, as Docker has it, so that the lines stand in columns.
fn stamp_text(ms: u64) -> String {
    let whole = i64::try_from(ms / 1000).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let whole = whole.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    format!("{whole}.{:03}000000Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(data: &str, stderr: bool, partial: bool) -> pb::LogLine {
        pb::LogLine { data: data.to_owned().into(), stderr, partial, ..Default::default() }
    }

    #[test]
    fn pieces_of_two_streams_do_not_mix() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&piece("a", false, true)), None);
        assert_eq!(lines.take(&piece("err", true, false)), Some(b"err".to_vec()));
        assert_eq!(lines.take(&piece("b", false, false)), Some(b"ab".to_vec()));
        assert_eq!(lines.take(&piece("prompt", false, true)), None);
        assert_eq!(lines.rest().map(|(_, _, data)| data).collect::<Vec<_>>(), [b"prompt".to_vec()]);
    }

    #[test]
    fn an_endless_line_is_shown_in_parts() {
        let mut lines = Lines::default();
        let long = "x".repeat(HELD_MAX);
        assert_eq!(lines.take(&piece(&long, false, true)).map(|line| line.len()), Some(HELD_MAX));
        assert_eq!(lines.rest().count(), 0);
    }

    #[test]
    fn a_line_has_its_time_in_nine_digits() {
        let line = written(Some(1_795_455_852_330), "p | ", b"tick");
        assert_eq!(String::from_utf8(line).unwrap(), "2026-11-23T17:44:12.330000000Z p | tick\n");
        assert_eq!(written(None, "", b""), b"\n");
    }

    #[test]
    fn the_tail_is_a_number_or_all() {
        assert_eq!((tail("all").unwrap(), tail("10").unwrap(), tail("0").unwrap()), (-1, 10, 0));
        assert!(tail("some").is_err());
    }
}
