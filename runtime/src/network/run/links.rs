//! The bridge and the containers' interface pairs, in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;

use super::super::bridge::{self, Bridge, MTU_DEFAULT};
use super::super::link::{self, Link};
use super::super::net::{Listener, Socket};
use super::super::netlink::Message;
use super::super::netlink::wire::{RTMGRP_IPV4_IFADDR, RTMGRP_LINK};
use super::super::sys::{self, Family};
use super::super::{Lease, NetworkError, veth};
use super::cleaner::{self, Cleaner};
use crate::container::ContainerId;

/// Steps of one repair: making the bridge takes three, and one look afterwards. More means that somebody undoes them;
/// the next reconcile goes on.
const REPAIR_STEPS: u32 = 6;

/// Everything of this network that is an interface.
#[derive(Debug)]
pub(super) struct Links {
    bridge: Bridge,
    socket: Option<Socket>,
    listener: Option<Listener>,
    /// The bridge's number and the packets' length, once looked up.
    known: Option<(u32, u32)>,
    attached: BTreeMap<ContainerId, u32>,
    cleaner: Cleaner,
}

impl Links {
    pub(super) fn new(bridge: Bridge) -> Self {
        let (attached, cleaner) = (BTreeMap::new(), Cleaner::default());
        Self { bridge, socket: None, listener: None, known: None, attached, cleaner }
    }

    /// Whether links or addresses may differ from what the last repair saw. Starts listening with the first call.
    pub(super) fn changed(&mut self) -> Result<bool, NetworkError> {
        let heard = match &self.listener {
            Some(listener) => listener.changed(),
            None => {
                let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR;
                self.listener = Some(Listener::open(groups).map_err(|source| NetworkError::Socket { source })?);
                true
            }
        };
        Ok(heard || self.known.is_none())
    }

    /// Makes the bridge what it should be, and leads pairs back to it that lost it.
    pub(super) fn repair(&mut self) -> Result<(), NetworkError> {
        self.known = None;
        let mtu = self.mtu().unwrap_or(MTU_DEFAULT);
        for _ in 0..REPAIR_STEPS {
            let have = self.look()?;
            let addresses = self.list(&bridge::list_addresses(), bridge::parse_address)?;
            match (bridge::repair(&self.bridge, have.as_ref(), &addresses, mtu), have) {
                (Some(step), _) => self.change(step.action, &step.message)?,
                (None, Some(have)) => {
                    self.known = Some((have.index, mtu));
                    return self.gather(&have);
                }
                (None, None) => break,
            }
        }
        Err(self.failed("keep", io::Error::other("something on this machine keeps changing it")))
    }

    /// Makes the pair of a container; configuring the end inside is [`configure`]'s, which needs no lock.
    pub(super) fn make_pair(
        &mut self,
        id: &ContainerId,
        netns: BorrowedFd<'_>,
        lease: Lease,
    ) -> Result<(), NetworkError> {
        if self.known.is_none() {
            self.repair()?;
        }
        let failed = |source| NetworkError::Veth { action: "make the interfaces", id: id.clone(), source };
        let index = self.create(id, netns, lease).map_err(failed)?;
        self.attached.insert(id.clone(), index);
        if self.join(id, index).is_err() {
            // The bridge may have been deleted since the last look.
            self.repair()?;
            self.join(id, index).map_err(|source| NetworkError::Veth {
                action: "put the interface on the bridge",
                id: id.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Sees to it that the pair of a container goes, without waiting.
    pub(super) fn release(&mut self, id: &ContainerId) -> Result<(), NetworkError> {
        let index = match self.attached.remove(id) {
            Some(index) => Some(index),
            None => self.find(id)?,
        };
        index.into_iter().for_each(|index| self.cleaner.remove(index));
        Ok(())
    }

    /// Removes every pair of this bridge, known or not, and the bridge; returns when they are gone.
    pub(super) fn remove_all(&mut self) -> Result<(), NetworkError> {
        self.cleaner.finish();
        let prefix = veth::alias_prefix(&self.bridge.name);
        let links = self.list(&link::list(), link::parse)?;
        let mut ours: BTreeSet<u32> = links.iter().filter(|l| l.alias.starts_with(&prefix)).map(|l| l.index).collect();
        ours.extend(links.iter().filter(|l| l.name == self.bridge.name && l.kind == "bridge").map(|l| l.index));
        cleaner::delete(&ours).map_err(|source| self.failed("remove", source))?;
        self.attached.clear();
        (self.known, self.listener) = (None, None);
        Ok(())
    }

    /// The bridge as the kernel has it.
    fn look(&mut self) -> Result<Option<Link>, NetworkError> {
        let have = self.get(&link::get(&self.bridge.name.clone()))?;
        match have {
            Some(link) if link.kind != "bridge" => Err(NetworkError::NameTaken { bridge: self.bridge.name.clone() }),
            other => Ok(other),
        }
    }

    /// Length of packets on the way to the world, or nothing where there is none.
    fn mtu(&mut self) -> Option<u32> {
        let route = self.socket().ok()?.get(&bridge::default_route(), bridge::parse_route).ok()??;
        self.get(&link::get_index(route)).ok()?.map(|link| link.mtu)
    }

    fn gather(&mut self, bridge: &Link) -> Result<(), NetworkError> {
        let links = self.list(&link::list(), link::parse)?;
        for stray in veth::strays(&links, bridge) {
            self.change("put a container's interface back on", &veth::join(stray.index, bridge.index, &stray.alias))?;
            self.change("allow hairpin on a port of", &veth::hairpin(stray.index))?;
        }
        Ok(())
    }

    /// Makes the pair under the first name that is free, and returns the host end's number.
    fn create(&mut self, id: &ContainerId, netns: BorrowedFd<'_>, lease: Lease) -> io::Result<u32> {
        let mtu = self.known.map_or(MTU_DEFAULT, |(_, mtu)| mtu);
        let socket = self.socket()?;
        let mut refused = io::Error::from(io::ErrorKind::AlreadyExists);
        for name in (0..veth::NAMES).map(|attempt| veth::host_name(id, attempt)) {
            match socket.request(&veth::create(&name, netns, lease, mtu)) {
                Ok(()) => {
                    let made = socket.get(&link::get(&name), link::parse)?;
                    return made.map(|l| l.index).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    fn join(&mut self, id: &ContainerId, index: u32) -> io::Result<()> {
        let bridge = self.known.map_or(0, |(bridge, _)| bridge);
        let alias = veth::alias(&self.bridge.name, id);
        let socket = self.socket()?;
        socket.request(&veth::join(index, bridge, &alias))?;
        socket.request(&veth::hairpin(index))
    }

    /// The host end of a container that an earlier daemon attached.
    fn find(&mut self, id: &ContainerId) -> Result<Option<u32>, NetworkError> {
        let alias = veth::alias(&self.bridge.name, id);
        for name in (0..veth::NAMES).map(|attempt| veth::host_name(id, attempt)) {
            match self.get(&link::get(&name))? {
                Some(link) if link.alias == alias => return Ok(Some(link.index)),
                _ => {}
            }
        }
        Ok(None)
    }

    fn get(&mut self, message: &Message) -> Result<Option<Link>, NetworkError> {
        let found = self.socket().and_then(|socket| socket.get(message, link::parse));
        found.map_err(|source| self.failed("look up", source))
    }

    fn list<T>(&mut self, message: &Message, parse: fn(&[u8]) -> Option<T>) -> Result<Vec<T>, NetworkError> {
        let found = self.socket().and_then(|socket| socket.list(message, parse));
        found.map_err(|source| self.failed("list the interfaces around", source))
    }

    fn change(&mut self, action: &'static str, message: &Message) -> Result<(), NetworkError> {
        let done = self.socket().and_then(|socket| socket.request(message));
        done.map_err(|source| self.failed(action, source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> NetworkError {
        NetworkError::Bridge { action, bridge: self.bridge.name.clone(), source }
    }

    fn socket(&mut self) -> io::Result<&mut Socket> {
        if self.socket.is_none() {
            self.socket = Some(Socket::open(Family::Route)?);
        }
        self.socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Gives the container's end its address and route, and switches its loopback on.
pub(super) fn configure(id: &ContainerId, netns: BorrowedFd<'_>, lease: Lease) -> Result<(), NetworkError> {
    let failed = |action| move |source| NetworkError::Veth { action, id: id.clone(), source };
    let fd = sys::netlink_in(netns).map_err(failed("enter the network namespace"))?;
    let mut socket = Socket::from_fd(fd);
    let inside = socket.get(&link::get(veth::INSIDE), link::parse).map_err(failed("find eth0"))?;
    let index =
        inside.map(|l| l.index).ok_or_else(|| failed("find eth0")(io::Error::from_raw_os_error(libc::ENODEV)))?;
    let steps = [
        ("switch on the loopback", link::up(veth::LOOPBACK)),
        ("give eth0 its address", bridge::assign(index, lease.address, lease.prefix)),
        ("switch on eth0", link::up(index)),
        // The route needs both: without them the gateway is out of reach.
        ("add the default route", veth::default_route(lease.gateway, index)),
    ];
    steps.into_iter().try_for_each(|(action, message)| socket.request(&message).map_err(failed(action)))
}
