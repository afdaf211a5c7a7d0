//! Stopping every process of a group at once, so that none can fork while the others are killed.

use super::{Setting, Version};

/// The write that stops (`frozen`) or continues the processes of a group.
#[must_use]
pub fn setting(version: Version, frozen: bool) -> Setting {
    match (version, frozen) {
        (Version::V1, true) => Setting::may("freezer.state", "FROZEN"),
        (Version::V1, false) => Setting::may("freezer.state", "THAWED"),
        (Version::V2, frozen) => Setting::may("cgroup.freeze", u8::from(frozen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thawing_undoes_freezing_in_the_same_file() {
        for version in [Version::V1, Version::V2] {
            assert_eq!(setting(version, true).file, setting(version, false).file);
            assert_ne!(setting(version, true).value, setting(version, false).value);
        }
    }
}
