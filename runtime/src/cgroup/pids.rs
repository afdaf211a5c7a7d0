//! The limit on processes and threads. Both versions have the same file.

use super::Setting;

/// Writes for at most `pids` processes and threads; none for zero.
#[must_use]
pub fn settings(pids: u64) -> Vec<Setting> {
    if pids == 0 { Vec::new() } else { vec![Setting::must("pids.max", pids)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_no_limit() {
        assert!(settings(0).is_empty());
        assert_eq!(settings(5), [Setting::must("pids.max", 5)]);
    }
}
