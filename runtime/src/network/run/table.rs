//! The nftables table in the kernel, our rules in the machine's firewall, and the connections that outlive a rule.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock of the slow checks")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use super::super::bridge::Bridge;
use super::super::conntrack::{self, Stale};
use super::super::net::{Socket, is_missing};
use super::super::netlink::Message;
use super::super::nftables::change::{self, Change};
use super::super::nftables::ruleset::{self, Chain};
use super::super::nftables::snapshot::{self, ListedChain, Snapshot};
use super::super::ports::{PortKey, Ports};
use super::super::sys::Family;
use super::super::{NetworkError, disk, firewall};

/// How often the old iptables is asked, which takes two processes. Its rules seldom change.
const LEGACY_EVERY: Duration = Duration::from_secs(10);

/// The table and what we believe the kernel has of it.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    bridge: String,
    base: BTreeMap<String, Chain>,
    socket: Option<Socket>,
    have: Option<Snapshot>,
    /// The kernel's count of changes to any table when `have` was true.
    generation: u32,
    legacy_checked: Option<Instant>,
}

impl Table {
    pub(super) fn new(name: String, bridge: &Bridge) -> Self {
        let (base, bridge) = (ruleset::base(bridge), bridge.name.clone());
        Self { name, bridge, base, socket: None, have: None, generation: 0, legacy_checked: None }
    }

    /// Makes the table what it should be. When nobody changed any table since the last time, this is one question.
    pub(super) fn repair(&mut self, ports: &Ports) -> Result<(), NetworkError> {
        if self.have.is_none() || self.read_generation()? != self.generation {
            self.rebuild(ports)?;
        }
        self.repair_legacy()
    }

    /// Reads everything and mends what differs.
    fn rebuild(&mut self, ports: &Ports) -> Result<(), NetworkError> {
        let chains = self.read()?;
        let have = self.have.get_or_insert_default();
        let changes = change::diff(&self.base, ports, have);
        self.commit(&changes)?;
        self.repair_firewall(&chains)
    }

    /// Brings some ports up to date and leaves the others out of the batch.
    pub(super) fn update(&mut self, ports: &Ports, keys: &BTreeSet<PortKey>) -> Result<(), NetworkError> {
        if self.have.is_none() {
            self.read()?;
        }
        if self.have.as_ref().is_none_or(|have| have.ports.is_none()) {
            return self.rebuild(ports);
        }
        if self.commit_ports(ports, keys).is_ok() {
            return Ok(());
        }
        // Somebody changed the table behind our back: look again, once.
        self.read()?;
        match &self.have {
            Some(have) if have.ports.is_some() => self.commit_ports(ports, keys),
            _ => self.rebuild(ports),
        }
    }

    /// Forgets connections that would otherwise go where they should not.
    pub(super) fn forget(&mut self, stale: &Stale) -> Result<(), NetworkError> {
        if stale.is_empty() {
            return Ok(());
        }
        let found = self.socket().and_then(|s| s.list(&conntrack::list(), |body| conntrack::forget(body, stale)));
        for message in found.map_err(|source| NetworkError::Conntrack { source })? {
            match self.socket().and_then(|socket| socket.request(&message)) {
                Err(source) if !is_missing(&source) => return Err(NetworkError::Conntrack { source }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the table and our rules elsewhere.
    pub(super) fn remove_all(&mut self) -> Result<(), NetworkError> {
        (self.have, self.legacy_checked) = (None, None);
        // Adding first makes deleting succeed whether or not it was there.
        let messages = [change::new_table(&self.name), change::delete_table(&self.name)].map(|m| (0, m));
        self.send(&messages).map_err(|(_, source)| self.refused("delete everything", source))?;
        let chains = self.read()?;
        self.have = None;
        if firewall::concerns(&chains) {
            self.change_firewall(firewall::remove)?;
        }
        disk::remove_legacy(&self.bridge).map_err(|source| self.barred(source))
    }

    fn commit_ports(&mut self, ports: &Ports, keys: &BTreeSet<PortKey>) -> Result<(), NetworkError> {
        let have = self.have.get_or_insert_default();
        let changes: Vec<Change> = keys.iter().flat_map(|key| change::diff_port(ports, have, *key)).collect();
        self.commit(&changes)
    }

    /// Sends the changes as one batch. After a refusal nothing is believed any more.
    fn commit(&mut self, changes: &[Change]) -> Result<(), NetworkError> {
        let messages: Vec<(usize, Message)> = changes
            .iter()
            .zip(1_u32..)
            .enumerate()
            .flat_map(|(i, (change, set))| change::encode(&self.name, change, set).into_iter().map(move |m| (i, m)))
            .collect();
        if let Err((i, source)) = self.send(&messages) {
            self.have = None;
            return Err(self.refused(&changes[i].to_string(), source));
        }
        if let Some(have) = &mut self.have {
            changes.iter().for_each(|change| have.apply(change));
        }
        Ok(())
    }

    /// A batch counts as one change: if the kernel then counts more, somebody else changed something too.
    fn send(&mut self, messages: &[(usize, Message)]) -> Result<(), (usize, io::Error)> {
        if messages.is_empty() {
            return Ok(());
        }
        self.socket().map_err(|error| (0, error))?.batch(messages)?;
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    /// Reads the table anew; returns the chains of all tables. The count is read first: what changes meanwhile is seen
    /// next time.
    fn read(&mut self) -> Result<Vec<ListedChain>, NetworkError> {
        self.have = None;
        self.generation = self.read_generation()?;
        let table = self.name.clone();
        let chains = self.list(&snapshot::list_chains(), snapshot::parse_chain)?;
        let rules = self.list(&snapshot::list_rules(&table, None), snapshot::parse_rule)?;
        let elements = match self
            .socket()
            .and_then(|s| s.list(&snapshot::list_ports(&table), |body| Some(snapshot::parse_elements(body))))
        {
            Ok(lists) => Some(lists.into_iter().flatten().collect()),
            Err(error) if is_missing(&error) => None,
            Err(source) => return Err(NetworkError::ReadTable { table, source }),
        };
        self.have = Some(snapshot::assemble(&table, chains.clone(), rules, elements));
        Ok(chains)
    }

    fn read_generation(&mut self) -> Result<u32, NetworkError> {
        let found = self.socket().and_then(|s| s.get(&snapshot::get_generation(), snapshot::parse_generation));
        let table = self.name.clone();
        found.map(Option::unwrap_or_default).map_err(|source| NetworkError::ReadTable { table, source })
    }

    fn repair_firewall(&mut self, chains: &[ListedChain]) -> Result<(), NetworkError> {
        if firewall::concerns(chains) { self.change_firewall(firewall::repair) } else { Ok(()) }
    }

    fn change_firewall(&mut self, plan: fn(&[snapshot::ListedRule], &str) -> Vec<Message>) -> Result<(), NetworkError> {
        let list = snapshot::list_rules(firewall::TABLE, Some(firewall::CHAIN));
        let rules = self.list(&list, snapshot::parse_rule)?;
        let messages: Vec<_> = plan(&rules, &self.bridge).into_iter().map(|m| (0, m)).collect();
        self.send(&messages).map_err(|(_, source)| self.barred(source))
    }

    fn repair_legacy(&mut self) -> Result<(), NetworkError> {
        let now = Instant::now();
        if self.legacy_checked.is_some_and(|checked| now.duration_since(checked) < LEGACY_EVERY) {
            return Ok(());
        }
        self.legacy_checked = Some(now);
        disk::repair_legacy(&self.bridge).map_err(|source| self.barred(source))
    }

    fn list<T>(&mut self, message: &Message, parse: fn(&[u8]) -> Option<T>) -> Result<Vec<T>, NetworkError> {
        let found = self.socket().and_then(|socket| socket.list(message, parse));
        found.map_err(|source| NetworkError::ReadTable { table: self.name.clone(), source })
    }

    fn refused(&self, change: &str, source: io::Error) -> NetworkError {
        NetworkError::ChangeTable { change: change.to_owned(), table: self.name.clone(), source }
    }

    fn barred(&self, source: io::Error) -> NetworkError {
        NetworkError::Firewall { bridge: self.bridge.clone(), source }
    }

    fn socket(&mut self) -> io::Result<&mut Socket> {
        if self.socket.is_none() {
            self.socket = Some(Socket::open(Family::Netfilter)?);
        }
        self.socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
