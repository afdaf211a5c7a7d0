//! Which devices a container may use, as Docker has it: nothing but the standard nodes. The v1 controller takes the rules as
//! text; for v2 they become a [`program`](super::program).

use super::Setting;

/// Making a node.
pub const MAKE: u32 = 1;
/// Opening for reading.
pub const READ: u32 = 2;
/// Opening for writing.
pub const WRITE: u32 = 4;

const ALL: u32 = MAKE | READ | WRITE;

/// A permission. What no rule permits is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Block devices, else character devices.
    pub block: bool,
    /// Of this driver, or of any.
    pub major: Option<u32>,
    /// Of these, this one, or any.
    pub minor: Option<u32>,
    /// [`MAKE`], [`READ`] and [`WRITE`].
    pub access: u32,
}

/// Making any node is harmless, opening it is what counts. Then null, zero, full, random, urandom, tty, console, ptmx, the pts
/// slaves, and the TUN device.
pub const ALLOWED: [Rule; 12] = [
    Rule { block: false, major: None, minor: None, access: MAKE },
    Rule { block: true, major: None, minor: None, access: MAKE },
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(1)),
    character(5, Some(2)),
    character(136, None),
    character(10, Some(200)),
];

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { block: false, major: Some(major), minor, access: ALL }
}

impl Rule {
    /// As the v1 controller reads and lists it: `c 1:3 rwm`. *Source:* the kernel's `admin-guide/cgroup-v1/devices.rst`.
    fn text(self) -> String {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let access = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')];
        let access: String =
            access.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        format!("{} {}:{} {access}", if self.block { 'b' } else { 'c' }, number(self.major), number(self.minor))
    }
}

/// What is written to the v1 parent group once; a child starts with its parent's rules and can only lose some. What the group above
/// forbids cannot be allowed, and need not be.
#[must_use]
pub fn inherited() -> Vec<Setting> {
    let deny = Setting::must("devices.deny", "a");
    std::iter::once(deny).chain(ALLOWED.iter().map(|rule| Setting::may("devices.allow", rule.text()))).collect()
}

/// The file that lists a v1 group's rules.
pub const LIST: &str = "devices.list";

/// Whether a group with that list allows nothing but [`ALLOWED`].
#[must_use]
pub fn holds(list: &str) -> bool {
    list.lines().all(|line| ALLOWED.iter().any(|rule| rule.text() == line))
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

    #[test]
    fn rules_read_as_the_kernel_writes_them() {
        let values: Vec<String> = inherited().into_iter().map(|s| s.value).collect();
        for text in ["c *:* m", "b *:* m", "c 1:3 rwm", "c 136:* rwm"] {
            assert!(values.iter().any(|v| v == text), "{text}");
        }
    }

    #[test]
    fn list_with_anything_else_does_not_hold() {
        assert!(holds("c *:* m\nb *:* m\nc 1:3 rwm\n") && holds(""));
        assert!(!holds("a *:* rwm\n"));
        assert!(!holds("c 1:3 rwm\nb 8:0 rwm\n"));
    }
}
