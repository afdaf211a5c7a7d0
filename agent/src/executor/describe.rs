//! What a machine has, read from the kernel's own words.

use skep_proto::model::{NodeDescription, Platform, Resources};

/// Billionths of one CPU.
const NANOS: u64 = 1_000_000_000;

/// The texts that a description is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `/proc/meminfo`.
    pub meminfo: String,
    /// The cgroup's memory limit, in bytes; `max` or a number beyond any machine means none.
    pub memory_limit: String,
    /// How many CPUs this process may use.
    pub cpus: u64,
    /// The hostname.
    pub hostname: String,
    /// As the kernel calls the processor.
    pub architecture: String,
}

/// The description. The memory is what the kernel has, or what the daemon's own cgroup lets it have.
#[must_use]
pub fn describe(facts: &Facts) -> NodeDescription {
    let whole = memory_total(&facts.meminfo);
    let limit = facts.memory_limit.trim().parse::<u64>().unwrap_or(u64::MAX);
    NodeDescription {
        hostname: facts.hostname.trim().to_owned(),
        platform: Platform { os: "linux".into(), architecture: facts.architecture.clone() },
        resources: Resources { nano_cpus: facts.cpus.saturating_mul(NANOS), memory_bytes: whole.min(limit), pids: 0 },
        ..NodeDescription::default()
    }
}

/// `MemTotal` in bytes; the kernel counts in units of 1024 and writes `kB`. *Source*: proc_meminfo(5).
fn memory_total(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    number.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(memory_limit: &str) -> Facts {
        Facts {
            meminfo: "MemFree: 1 kB\nMemTotal:       16384 kB\n".into(),
            memory_limit: memory_limit.into(),
            cpus: 2,
            hostname: "host\n".into(),
            architecture: "x86_64".into(),
        }
    }

    #[test]
    fn memory_is_the_lesser_of_machine_and_cgroup() {
        for (limit, bytes) in
            [("max\n", 16 << 20), ("9223372036854771712", 16 << 20), ("1048576\n", 1 << 20), ("", 16 << 20)]
        {
            assert_eq!(describe(&facts(limit)).resources.memory_bytes, bytes, "{limit:?}");
        }
    }

    #[test]
    fn cpus_are_counted_in_billionths_and_the_hostname_is_trimmed() {
        let read = describe(&facts("max"));
        assert_eq!((read.resources.nano_cpus, read.hostname.as_str()), (2 * NANOS, "host"));
    }

    #[test]
    fn a_file_of_another_form_is_no_memory_and_no_panic() {
        assert_eq!(describe(&Facts { meminfo: "MemTotal: lots".into(), ..facts("max") }).resources.memory_bytes, 0);
    }
}
