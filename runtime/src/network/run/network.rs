//! The face of the network: leases, pairs and ports, each call one step from one agreeing state to the next.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use parking_lot::Mutex;

use super::super::address::AddressPool;
use super::super::bridge::Bridge;
use super::super::conntrack::Stale;
use super::super::ports::{PortKey, Ports, Publication, keys};
use super::super::{Lease, NetworkConfig, NetworkError, disk};
use super::links::{self, Links};
use super::reserved::Reserved;
use super::table::Table;
use crate::container::{ContainerId, PublishedPort};

/// Bridge, addresses and published ports of one node. Every call may block for a few milliseconds on netlink.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pool: AddressPool,
    ports: Ports,
    reserved: Reserved,
    links: Links,
    table: Table,
    /// Whether the kernel should have anything of ours.
    active: bool,
    /// Whether the bridge and its table were made since this daemon started.
    prepared: bool,
    /// Containers from before the daemon's restart, until the first reconcile.
    restored: BTreeSet<ContainerId>,
}

impl Network {
    /// Remembers the names; touches the kernel only with the first lease.
    #[must_use]
    pub fn new(config: NetworkConfig) -> Self {
        let state = Mutex::new(State::new(&config));
        Self { config, state }
    }

    /// Takes a free address for `id`, making the bridge and the table if this is the first. Asked again, gives the same
    /// one.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`], or a kernel refusal.
    pub fn lease(&self, id: &ContainerId) -> Result<Lease, NetworkError> {
        let mut state = self.state.lock();
        state.prepare(&self.config.bridge_name)?;
        state.pool.lease(id)
    }

    /// Takes note of a lease that a container from before the daemon's restart still holds.
    pub fn restore(&self, id: &ContainerId, lease: Lease) {
        let mut state = self.state.lock();
        state.pool.hold(id, lease);
        state.restored.insert(id.clone());
        state.active = true;
    }

    /// Puts one end of a veth pair into `netns` as `eth0` with the lease's address, and brings `lo` up there.
    ///
    /// # Errors
    /// A kernel refusal, with the step that was refused. Nothing of the pair is left then.
    pub fn attach(&self, id: &ContainerId, netns: BorrowedFd<'_>, lease: Lease) -> Result<(), NetworkError> {
        let made = self.state.lock().links.make_pair(id, netns, lease);
        // Other containers need not wait for what happens inside this one.
        let result = made.and_then(|()| links::configure(id, netns, lease));
        if result.is_err() {
            // What was refused says more than a refusal to clean up would.
            let _ = self.state.lock().links.release(id);
        }
        result
    }

    /// Leads `ports` of this machine to the container, beside the others that publish the same ones. Replaces what `id`
    /// had.
    ///
    /// # Errors
    /// A port that a process of this machine listens on, or a kernel refusal. What `id` had stays then.
    pub fn publish(&self, id: &ContainerId, lease: Lease, ports: &[PublishedPort]) -> Result<(), NetworkError> {
        let publication = Publication { address: lease.address, ports: ports.to_vec() };
        self.state.lock().publish(id, Some(publication))
    }

    /// Whether [`Network::publish`] of this port would be refused because of another process. It may still be later.
    ///
    /// # Errors
    /// [`NetworkError::PortInUse`], [`NetworkError::PortZero`], or the kernel's reason why it cannot be known.
    pub fn check_port_free(&self, port: PublishedPort) -> Result<(), NetworkError> {
        self.state.lock().reserved.check(PortKey::from(&port))
    }

    /// Leads no port to it any more; connections that exist go on.
    ///
    /// # Errors
    /// A kernel refusal.
    pub fn unpublish(&self, id: &ContainerId) -> Result<(), NetworkError> {
        self.state.lock().publish(id, None)
    }

    /// Gives everything of `id` back: ports, veth pair, address. Does nothing for an unknown one. The pair is gone some
    /// milliseconds later.
    ///
    /// # Errors
    /// A kernel refusal; what could be given back was.
    pub fn release(&self, id: &ContainerId) -> Result<(), NetworkError> {
        let mut state = self.state.lock();
        let unpublished = state.publish(id, None);
        state.restored.remove(id);
        // The address goes last: nobody else may get it while a port still leads there.
        let known = state.pool.free(id).is_some();
        let released = if known { state.links.release(id) } else { Ok(()) };
        unpublished.and(released)
    }

    /// Repairs drift: makes the kernel's bridge, table and forwarding settings what they should be.
    ///
    /// # Errors
    /// A kernel refusal.
    pub fn reconcile(&self) -> Result<(), NetworkError> {
        let mut state = self.state.lock();
        if state.active { state.reconcile(&self.config.bridge_name) } else { Ok(()) }
    }

    /// Removes bridge, table and every veth pair, also those of an earlier daemon with this configuration, and forgets
    /// all leases and ports.
    ///
    /// # Errors
    /// A kernel refusal; what could be removed was.
    pub fn remove_all(&self) -> Result<(), NetworkError> {
        let mut state = self.state.lock();
        let table = state.table.remove_all();
        let links = state.links.remove_all();
        *state = State::new(&self.config);
        table.and(links)
    }
}

impl State {
    fn new(config: &NetworkConfig) -> Self {
        let (address, prefix) = config.bridge_address;
        let bridge = Bridge { name: config.bridge_name.clone(), address, prefix };
        Self {
            pool: AddressPool::new(address, prefix),
            ports: Ports::default(),
            reserved: Reserved::default(),
            table: Table::new(config.nft_table.clone(), &bridge),
            links: Links::new(bridge),
            active: false,
            prepared: false,
            restored: BTreeSet::new(),
        }
    }

    /// Makes bridge and table for the first lease. While restored containers have not all published their ports, the
    /// table is left as it is: making it fit now would cut them off.
    fn prepare(&mut self, bridge: &str) -> Result<(), NetworkError> {
        if self.prepared {
            return Ok(());
        }
        self.repair_links(bridge)?;
        if self.restored.is_empty() {
            self.table.repair(&self.ports)?;
        }
        (self.active, self.prepared) = (true, true);
        Ok(())
    }

    fn reconcile(&mut self, bridge: &str) -> Result<(), NetworkError> {
        self.repair_links(bridge)?;
        self.table.repair(&self.ports)?;
        self.restored.clear();
        self.prepared = true;
        Ok(())
    }

    /// The bridge comes before its settings, which vanish with it.
    fn repair_links(&mut self, bridge: &str) -> Result<(), NetworkError> {
        if self.links.changed()? {
            self.links.repair()?;
        }
        disk::settings(bridge).into_iter().try_for_each(disk::switch_on)
    }

    /// Replaces what `id` publishes, in memory, in the kernel and among the held ports, or leaves all three as they
    /// were.
    fn publish(&mut self, id: &ContainerId, publication: Option<Publication>) -> Result<(), NetworkError> {
        let wanted = publication.iter().flat_map(keys).collect();
        self.reserved.take(&wanted)?;
        let deferred = publication.is_some() && self.restored.contains(id);
        let before = self.ports.set(id, publication.clone());
        let touched: BTreeSet<PortKey> = before.iter().flat_map(keys).chain(wanted).collect();
        let result = if deferred || touched.is_empty() { Ok(()) } else { self.table.update(&self.ports, &touched) };
        if result.is_err() {
            self.ports.set(id, before);
            self.reserved.give_back(&touched, &self.ports);
            return result;
        }
        self.reserved.give_back(&touched, &self.ports);
        let stale = self.stale(before.as_ref(), publication.as_ref());
        self.table.forget(&stale)
    }

    /// Which connections the step from `before` to `after` makes stale.
    fn stale(&self, before: Option<&Publication>, after: Option<&Publication>) -> Stale {
        let backends = before.into_iter().flat_map(Publication::backends);
        let left = backends.filter(|(key, backend)| !self.ports.backends(*key).contains(backend)).collect();
        let first = |key: &PortKey| self.ports.backends(*key).len() == 1;
        let published = after.into_iter().flat_map(keys).filter(first).collect();
        Stale { left, published }
    }
}
