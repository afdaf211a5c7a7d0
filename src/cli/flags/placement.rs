//! Constraints and preferences of placement, and what else names a machine.

use std::net::IpAddr;

use skep_proto::model::Constraint;

use crate::cli::error::usage;

/// What every preference begins with; Docker knows no other strategy.
const SPREAD: &str = "spread=";

/// Reads `key==value` or `key!=value`.
///
/// # Errors
/// For anything else.
pub(crate) fn constraint(text: &str) -> anyhow::Result<Constraint> {
    let equal = text.split_once("==").map(|(key, value)| (key, true, value));
    let unequal = text.split_once("!=").map(|(key, value)| (key, false, value));
    // The operator that comes first is meant: the other may be part of the value.
    let (key, equal, value) = [equal, unequal]
        .into_iter()
        .flatten()
        .min_by_key(|(key, ..)| key.len())
        .filter(|(key, _, value)| !key.trim().is_empty() && !value.trim().is_empty())
        .ok_or_else(|| usage(format!("failed to use {text:?} as a constraint: write KEY==VALUE or KEY!=VALUE, as in node.role==worker")))?;
    Ok(Constraint { key: key.trim().to_owned(), equal, value: value.trim().to_owned() })
}

/// A constraint as it is written.
pub(crate) fn constraint_text(constraint: &Constraint) -> String {
    let operator = if constraint.equal { "==" } else { "!=" };
    format!("{}{operator}{}", constraint.key, constraint.value)
}

/// Reads `spread=node.labels.zone`.
///
/// # Errors
/// For anything else.
pub(crate) fn preference(text: &str) -> anyhow::Result<String> {
    match text.strip_prefix(SPREAD).map(str::trim) {
        Some(label) if !label.is_empty() => Ok(label.to_owned()),
        _ => Err(usage(format!(
            "failed to use {text:?} as a placement preference: write spread=LABEL, as in spread=node.labels.zone"
        ))),
    }
}

/// Reads `NAME:IP` into a line of /etc/hosts.
///
/// # Errors
/// For anything else.
pub(crate) fn host(text: &str) -> anyhow::Result<String> {
    let pair = text.split_once(':').filter(|(name, _)| !name.is_empty());
    let pair = pair.and_then(|(name, ip)| Some((name, ip.parse::<IpAddr>().ok()?)));
    pair.map(|(name, ip)| format!("{ip} {name}"))
        .ok_or_else(|| usage(format!("failed to use {text:?} as a host: write NAME:IP")))
}

/// Checks the address of a name server.
///
/// # Errors
/// When it is no address.
pub(crate) fn name_server(text: &str) -> anyhow::Result<String> {
    let ip = text.trim().parse::<IpAddr>();
    ip.map(|ip| ip.to_string())
        .map_err(|_| usage(format!("failed to use {text:?} as a name server: give its IP address")))
}

/// A capability in the kernel's spelling: `net_admin` is `CAP_NET_ADMIN`.
pub(crate) fn capability(text: &str) -> String {
    let name = text.trim().to_ascii_uppercase();
    if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_read_and_write_alike() {
        let cases = [
            ("node.role==manager", "node.role", true, "manager"),
            ("node.labels.zone != a b", "node.labels.zone", false, "a b"),
            ("node.labels.x==a!=b", "node.labels.x", true, "a!=b"),
        ];
        for (text, key, equal, value) in cases {
            let read = constraint(text).unwrap();
            assert_eq!((read.key.as_str(), read.equal, read.value.as_str()), (key, equal, value));
            assert_eq!(constraint(&constraint_text(&read)).unwrap(), read);
        }
        for bad in ["", "a", "a=b", "==b", "a== ", "a<b"] {
            assert!(constraint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_spreading_is_a_preference() {
        assert_eq!(preference("spread=node.labels.zone").unwrap(), "node.labels.zone");
        for bad in ["node.labels.zone", "pack=x", "spread=", ""] {
            assert!(preference(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_become_lines_of_the_hosts_file() {
        assert_eq!(host("db:10.0.0.1").unwrap(), "10.0.0.1 db");
        assert_eq!(host("db:fe80::1").unwrap(), "fe80::1 db");
        for bad in ["db", ":10.0.0.1", "db:x", ""] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(name_server("8.8.8.8").is_ok() && name_server("dns.example").is_err());
    }

    #[test]
    fn capabilities_have_one_spelling() {
        for (text, name) in [("net_admin", "CAP_NET_ADMIN"), ("CAP_CHOWN", "CAP_CHOWN"), ("all", "ALL")] {
            assert_eq!(capability(text), name);
        }
    }
}
