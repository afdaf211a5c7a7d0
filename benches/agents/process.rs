//! What a process uses, from /proc and the kernel's limits.

use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// CPU time and memory of a process up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
}

impl Usage {
    /// Of a running process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        // The name in parentheses may hold spaces; times are the 12th and 13th field after it, in hundredths of a second.
        let stat = read("stat")?;
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let field =
            |place: usize| after_name.split(' ').nth(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let pages: u64 = read("statm")?.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { cpu: Duration::from_millis(10 * (field(11) + field(12))), rss: 4096 * pages })
    }

    /// What was used between `earlier` and this.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(earlier.cpu), rss: self.rss.saturating_sub(earlier.rss) }
    }
}

/// Each agent has a connection, and so has the manager for it. A limit that cannot be raised shows when connections fail.
pub(crate) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
