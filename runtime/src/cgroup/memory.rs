//! The memory limit, and how to tell that the kernel killed for it.

use super::{Setting, Version};

/// Writes for a limit of `bytes`; none for zero. Swap may add as much again, as in Docker, where the kernel counts swap.
#[must_use]
pub fn settings(version: Version, bytes: u64) -> Vec<Setting> {
    match (version, bytes) {
        (_, 0) => Vec::new(),
        // Memory first: the kernel refuses a sum of memory and swap below the memory limit.
        (Version::V1, bytes) => vec![
            Setting::must("memory.limit_in_bytes", bytes),
            Setting::may("memory.memsw.limit_in_bytes", bytes.saturating_mul(2)),
        ],
        (Version::V2, bytes) => vec![Setting::must("memory.max", bytes), Setting::may("memory.swap.max", bytes)],
    }
}

/// The file that counts kills.
#[must_use]
pub fn events_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    }
}

/// How many processes the kernel killed for memory, from the text of [`events_file`]; none where it does not say.
#[must_use]
pub fn kills(events: &str) -> u64 {
    let counter = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    counter.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_formats() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(kills("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), 0);
    }

    #[test]
    fn memory_is_limited_before_swap() {
        assert_eq!(settings(Version::V1, 100)[0], Setting::must("memory.limit_in_bytes", 100));
        assert_eq!(settings(Version::V1, 100)[1], Setting::may("memory.memsw.limit_in_bytes", 200));
    }
}
