//! Kernel settings under /proc/sys, and the programs and lists of the old iptables.
#![expect(clippy::disallowed_methods, reason = "driver: owns the settings files")]

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::NetworkError;
use super::firewall::{legacy_concerns, legacy_rules};

/// Writes "1" where there is something else. Reads first: a setting that is right is not touched, since writing
/// `ip_forward` resets others.
pub(super) fn switch_on(path: PathBuf) -> Result<(), NetworkError> {
    let result = match fs::read(&path) {
        Ok(value) if value.trim_ascii() == b"1" => return Ok(()),
        Ok(_) => fs::write(&path, "1"),
        Err(error) => Err(error),
    };
    result.map_err(|source| NetworkError::Setting { path, source })
}

/// The settings this network needs: packets are passed on, and the bridge may carry packets from 127.0.0.1.
pub(super) fn settings(bridge: &str) -> [PathBuf; 2] {
    let conf = PathBuf::from("/proc/sys/net/ipv4");
    [conf.join("ip_forward"), conf.join("conf").join(bridge).join("route_localnet")]
}

/// Puts our rules into the old iptables' FORWARD chain, if that is in use here and the program to change it is there.
pub(super) fn repair_legacy(bridge: &str) -> io::Result<()> {
    for (check, insert) in legacy_rules("-C", bridge).iter().zip(legacy_rules("-I", bridge)) {
        if uses_legacy() && !legacy(check)? && !legacy(&insert)? {
            return Err(io::Error::other("iptables-legacy refused a rule"));
        }
    }
    Ok(())
}

/// Takes our rules out of it. A rule that is not there is what we want.
pub(super) fn remove_legacy(bridge: &str) -> io::Result<()> {
    for delete in legacy_rules("-D", bridge) {
        if uses_legacy() {
            legacy(&delete)?;
        }
    }
    Ok(())
}

/// The list is the namespace's own, and the thread's: others of the process may be elsewhere.
fn uses_legacy() -> bool {
    fs::read_to_string("/proc/thread-self/net/ip_tables_names").is_ok_and(|names| legacy_concerns(&names))
}

/// Whether the program succeeded. A machine without it counts as success: nobody there can have made such rules since
/// it started, and nothing better can be done.
fn legacy(arguments: &[String]) -> io::Result<bool> {
    let quiet = Command::new("iptables-legacy")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match quiet {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        other => other.map(|status| status.success()),
    }
}
