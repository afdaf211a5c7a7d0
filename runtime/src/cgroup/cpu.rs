//! The CPU limit: a quota of run time per period.

use super::{Setting, Version};

/// Length of a period, microseconds: the kernel's and Docker's default. Shorter ones cost more switches, longer ones
/// stall a throttled program for longer.
const PERIOD_US: u64 = 100_000;

/// Smallest quota that the kernel takes, microseconds; a smaller wish gets this.
const QUOTA_US_MIN: u64 = 1_000;

/// Writes for `nano_cpus` billionths of one CPU; none for zero.
#[must_use]
pub fn settings(version: Version, nano_cpus: u64) -> Vec<Setting> {
    if nano_cpus == 0 {
        return Vec::new();
    }
    let quota_us = (nano_cpus / (1_000_000_000 / PERIOD_US)).max(QUOTA_US_MIN);
    match version {
        Version::V1 => {
            vec![Setting::must("cpu.cfs_period_us", PERIOD_US), Setting::must("cpu.cfs_quota_us", quota_us)]
        }
        Version::V2 => vec![Setting::must("cpu.max", format!("{quota_us} {PERIOD_US}"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cpu_is_half_a_period() {
        assert_eq!(settings(Version::V2, 500_000_000), [Setting::must("cpu.max", "50000 100000")]);
        assert_eq!(settings(Version::V1, 500_000_000)[1], Setting::must("cpu.cfs_quota_us", 50_000));
    }

    #[test]
    fn tiny_share_is_raised_to_the_kernels_minimum() {
        assert_eq!(settings(Version::V2, 1), [Setting::must("cpu.max", "1000 100000")]);
    }
}
