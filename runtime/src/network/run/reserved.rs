//! Ports held against the other processes of this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

use super::super::NetworkError;
use super::super::ports::{PortKey, Ports};
use super::super::sys;

/// One bound socket for each published port.
#[derive(Debug, Default)]
pub(super) struct Reserved(BTreeMap<PortKey, OwnedFd>);

impl Reserved {
    /// Holds all of `keys` or, when one is refused, none more than before.
    pub(super) fn take(&mut self, keys: &BTreeSet<PortKey>) -> Result<(), NetworkError> {
        let missing = keys.iter().filter(|key| !self.0.contains_key(*key));
        let taken: Result<Vec<_>, _> = missing.map(|key| Ok((*key, reserve(*key)?))).collect();
        self.0.extend(taken?);
        Ok(())
    }

    /// Lets go of those of `keys` that nobody serves.
    pub(super) fn give_back(&mut self, keys: &BTreeSet<PortKey>, ports: &Ports) {
        for key in keys.iter().filter(|key| ports.backends(**key).is_empty()) {
            self.0.remove(key);
        }
    }

    /// Whether a port is held or could be.
    pub(super) fn check(&self, key: PortKey) -> Result<(), NetworkError> {
        if self.0.contains_key(&key) { Ok(()) } else { reserve(key).map(drop) }
    }
}

fn reserve(key: PortKey) -> Result<OwnedFd, NetworkError> {
    let PortKey { protocol, port } = key;
    if port == 0 {
        return Err(NetworkError::PortZero { protocol });
    }
    sys::reserve(protocol, port).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => NetworkError::PortInUse { port, protocol },
        _ => NetworkError::Reserve { port, protocol, source },
    })
}
