//! Which lines travel together, and how an order for lines is read.

use skep_proto::model::{Moment, NodeId, TaskId};
use skep_proto::pb;

use crate::sys::{LogLine, LogOptions};

/// Lines in one message.
pub const LINES_MAX: usize = 256;

/// Bytes in one message, a last line excepted. Half of this travels through the managers without a copy that hurts.
pub const BYTES_MAX: usize = 256 << 10;

/// Lines that are gathered for one message.
#[derive(Debug, Default)]
pub struct Batch {
    lines: Vec<pb::LogLine>,
    bytes: usize,
}

impl Batch {
    /// Adds a line.
    pub fn push(&mut self, node: NodeId, task: TaskId, line: LogLine) {
        self.bytes += line.data.len();
        self.lines.push(pb::LogLine {
            task: task.to_bytes(),
            node: node.to_bytes(),
            at: line.at.0,
            stderr: line.stderr,
            data: line.data.into(),
            partial: line.partial,
        });
    }

    /// Nothing more may be added before it is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lines.len() >= LINES_MAX || self.bytes >= BYTES_MAX
    }

    /// Nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The message, and an empty batch in its place.
    pub fn take(&mut self, subscription: &[u8]) -> pb::PublishRequest {
        self.bytes = 0;
        let lines = std::mem::take(&mut self.lines);
        pb::PublishRequest { subscription: subscription.to_vec(), lines, error: String::new() }
    }
}

/// Reads what is wanted. No stream named means both.
#[must_use]
pub fn options(message: Option<pb::LogOptions>) -> LogOptions {
    let message = message.unwrap_or_else(|| pb::LogOptions { tail: -1, ..pb::LogOptions::default() });
    let both = !message.stdout && !message.stderr;
    LogOptions {
        follow: message.follow,
        tail: u64::try_from(message.tail).ok(),
        since: Moment(message.since),
        stdout: message.stdout || both,
        stderr: message.stderr || both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize) -> LogLine {
        LogLine { at: Moment(1), stderr: false, data: vec![b'x'; length], partial: false }
    }

    #[test]
    fn a_batch_is_full_by_lines_or_by_bytes() {
        let mut batch = Batch::default();
        for _ in 0..LINES_MAX {
            assert!(!batch.is_full());
            batch.push(NodeId::new(1), TaskId::new(2), line(1));
        }
        assert!(batch.is_full());
        assert_eq!(batch.take(b"s").lines.len(), LINES_MAX);
        assert!(batch.is_empty() && !batch.is_full());
        batch.push(NodeId::new(1), TaskId::new(2), line(BYTES_MAX));
        assert!(batch.is_full());
    }

    #[test]
    fn a_negative_tail_is_everything_and_no_stream_is_both() {
        let read = options(Some(pb::LogOptions { tail: -1, ..pb::LogOptions::default() }));
        assert_eq!((read.tail, read.stdout, read.stderr), (None, true, true));
        let read = options(Some(pb::LogOptions { tail: 0, stderr: true, ..pb::LogOptions::default() }));
        assert_eq!((read.tail, read.stdout, read.stderr), (Some(0), false, true));
        assert_eq!(options(None).tail, None);
    }
}
