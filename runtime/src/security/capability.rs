//! Capability names and Docker's default set.

use serde::{Deserialize, Serialize};

/// Every capability, at the index that is its number. *Source:* capabilities(7), `linux/capability.h`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has without being asked.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapabilitySet(u64);

/// A name that no capability has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the capability {name:?}: names are as in NET_ADMIN or CAP_NET_ADMIN, or ALL")]
pub struct UnknownCapability {
    /// What was asked for.
    pub name: String,
}

impl CapabilitySet {
    /// Every capability.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The default set with `add` and without `drop`. A name counts with or without `CAP_`, in any case; dropping wins over
    /// the default, a named addition over a dropped `ALL`, a named drop over an added `ALL`. *Source:* Docker's TweakCapabilities.
    ///
    /// # Errors
    /// [`UnknownCapability`].
    pub fn tweaked(add: &[String], drop: &[String]) -> Result<Self, UnknownCapability> {
        let (added, dropped) = (Self::named(add)?, Self::named(drop)?);
        let base = match (has_all(add), has_all(drop)) {
            (true, _) => Self::ALL.0,
            (false, true) => 0,
            (false, false) => Self::default().0,
        };
        let set = if has_all(drop) && !has_all(add) { base | added.0 } else { (base & !dropped.0) | added.0 };
        Ok(Self(set))
    }

    /// The set of these names; `ALL` adds nothing here.
    fn named(names: &[String]) -> Result<Self, UnknownCapability> {
        let mut bits = 0;
        for name in names.iter().filter(|n| !is_all(n)) {
            bits |= 1 << number(name).ok_or_else(|| UnknownCapability { name: name.clone() })?;
        }
        Ok(Self(bits))
    }

    /// Whether it holds the capability of that name.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        number(name).is_some_and(|n| self.0 & (1 << n) != 0)
    }

    /// The bits, capability 0 lowest.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl Default for CapabilitySet {
    fn default() -> Self {
        Self(DEFAULT.iter().filter_map(|name| number(name)).fold(0, |bits, n| bits | 1 << n))
    }
}

fn number(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|n| *n == bare)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL")
}

fn has_all(names: &[String]) -> bool {
    names.iter().any(|name| is_all(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> CapabilitySet {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        CapabilitySet::tweaked(&own(add), &own(drop)).unwrap()
    }

    #[test]
    fn default_set_has_dockers_bits() {
        assert_eq!(set(&[], &[]).bits(), 0xa80425fb);
    }

    #[test]
    fn names_count_with_and_without_prefix_in_any_case() {
        assert_eq!(set(&["cap_net_admin"], &[]), set(&["NET_ADMIN"], &[]));
        assert!(set(&["NET_ADMIN"], &[]).has("CAP_NET_ADMIN"));
    }

    #[test]
    fn dropping_all_keeps_only_what_is_added() {
        assert_eq!(set(&["KILL"], &["ALL"]).bits(), 1 << 5);
        assert_eq!(set(&["ALL"], &["KILL"]).bits(), CapabilitySet::ALL.bits() & !(1 << 5));
        assert_eq!(set(&[], &["KILL"]).bits(), 0xa80425fb & !(1 << 5));
    }

    #[test]
    fn unknown_name_is_refused() {
        assert!(CapabilitySet::tweaked(&["FLY".to_owned()], &[]).is_err());
    }
}
