//! What a container prints: framed, bounded, and readable while it is written.
//!
//! **Owns** the directory of log files of one container. The shim writes (it outlives the daemon, so that no line is lost
//! while that is down), anyone may read at the same time. Input: bytes of two pipes. Output: [`LogLine`] values.
//!
//! **A file is a row of records** ([`frame`]), with the length at both ends, so that the last lines are found from the end
//! without reading the rest. A record that was cut off by a crash or a full disk ends a file; what stands before it counts.
//!
//! **Files are numbered**, `00000001.log` and up ([`rotate`]), never renamed: a reader that follows goes on with the next
//! number when the one it reads has a successor, without comparing inodes. The writer removes the oldest past the bound.
//!
//! **Backpressure**: the shim writes into the page cache and never waits for the disk on purpose. A write that fails (disk
//! full) loses its lines; the container goes on. It is slowed down only by the pipe being full, as with any reader.
//!
//! Read next: [`frame`], then [`disk`].

pub mod disk;
pub mod frame;
pub mod rotate;

pub use frame::{LogLine, Splitter, Stream};

/// Which lines a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Only the last so many; all if `None`.
    pub tail: Option<usize>,
    /// Only lines printed at this time or later, Unix milliseconds; zero for all.
    pub since_ms: u64,
    /// Whether to go on until the container ends.
    pub follow: bool,
    /// Whether standard output counts.
    pub stdout: bool,
    /// Whether standard error counts.
    pub stderr: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { tail: None, since_ms: 0, follow: false, stdout: true, stderr: true }
    }
}

impl LogQuery {
    /// Whether the reader wants this line.
    #[must_use]
    pub fn wants(&self, line: &LogLine) -> bool {
        let stream = match line.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        stream && line.at_ms >= self.since_ms
    }
}
