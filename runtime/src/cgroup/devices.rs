//! Device rules of the v1 controller, as Docker sets them: nothing but the standard nodes.

use super::Setting;

/// Every rule that is allowed after all were denied: making any node is harmless (opening it is what counts), then null,
/// zero, full, random, urandom, tty, console, ptmx, the pts slaves, and the TUN device.
const ALLOWED: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
];

/// What is written to the parent group once; a child starts with its parent's rules and can only lose some.
#[must_use]
pub fn inherited() -> Vec<Setting> {
    let deny = Setting::must("devices.deny", "a");
    std::iter::once(deny).chain(ALLOWED.iter().map(|rule| Setting::must("devices.allow", rule))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_comes_before_every_permission() {
        let rules = inherited();
        assert_eq!(rules[0], Setting::must("devices.deny", "a"));
        assert!(rules[1..].iter().all(|r| r.file == "devices.allow"));
    }
}
