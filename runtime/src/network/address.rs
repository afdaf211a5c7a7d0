//! Which container holds which address: a pool over one prefix.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Lease, NetworkError};
use crate::container::ContainerId;

/// Addresses of the node-local network. Hands them out in turn, so that one just given back rests as long as possible:
/// neighbours and connection tables elsewhere may still remember its last holder.
#[derive(Debug)]
pub(crate) struct AddressPool {
    gateway: Ipv4Addr,
    prefix: u8,
    next: u32,
    by_container: BTreeMap<ContainerId, Lease>,
    by_address: BTreeMap<u32, ContainerId>,
}

impl AddressPool {
    /// All addresses around `gateway` are free but its own.
    pub(crate) fn new(gateway: Ipv4Addr, prefix: u8) -> Self {
        let (by_container, by_address) = (BTreeMap::new(), BTreeMap::new());
        Self { gateway, prefix, next: 0, by_container, by_address }
    }

    /// The lease of `id`: the one it has, or the next free one.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`] when no address is free.
    pub(crate) fn lease(&mut self, id: &ContainerId) -> Result<Lease, NetworkError> {
        if let Some(lease) = self.by_container.get(id) {
            return Ok(*lease);
        }
        let address = self.next_free().ok_or(NetworkError::Exhausted { count: self.capacity() })?;
        let lease = Lease { address, prefix: self.prefix, gateway: self.gateway };
        self.hold(id, lease);
        self.next = u32::from(address).wrapping_add(1);
        Ok(lease)
    }

    /// Notes that `id` holds `lease`, whatever the pool thought before.
    pub(crate) fn hold(&mut self, id: &ContainerId, lease: Lease) {
        self.free(id);
        self.by_address.insert(u32::from(lease.address), id.clone());
        self.by_container.insert(id.clone(), lease);
        self.next = self.next.max(u32::from(lease.address).wrapping_add(1));
    }

    /// Takes the address of `id` back.
    pub(crate) fn free(&mut self, id: &ContainerId) -> Option<Lease> {
        let lease = self.by_container.remove(id)?;
        self.by_address.remove(&u32::from(lease.address));
        Some(lease)
    }

    /// Addresses that can be handed out in all, without network, broadcast and gateway.
    pub(crate) fn capacity(&self) -> usize {
        let (first, last) = self.range();
        let inside = last.saturating_sub(first).saturating_add(1);
        usize::try_from(inside).unwrap_or(usize::MAX).saturating_sub(1)
    }

    /// First and last address that a machine may have in the prefix.
    fn range(&self) -> (u32, u32) {
        let network = u32::from(network(self.gateway, self.prefix));
        (network.saturating_add(1), u32::from(broadcast(self.gateway, self.prefix)).saturating_sub(1))
    }

    /// Walks over runs of taken addresses, not over the whole prefix.
    fn next_free(&self) -> Option<Ipv4Addr> {
        let (first, last) = self.range();
        let start = self.next.clamp(first, last);
        let start = if self.next > last { first } else { start };
        (start..=last).chain(first..start).find(|&a| self.is_free(a)).map(Ipv4Addr::from)
    }

    fn is_free(&self, address: u32) -> bool {
        address != u32::from(self.gateway) && !self.by_address.contains_key(&address)
    }
}

/// The prefix's first address.
pub(crate) fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) & mask(prefix))
}

/// The prefix's last address.
pub(crate) fn broadcast(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) | !mask(prefix))
}

/// The prefix as a mask; all ones from 32 up.
pub(crate) fn mask(prefix: u8) -> u32 {
    if prefix == 0 { 0 } else { u32::MAX << (32 - u32::from(prefix.min(32))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: usize) -> ContainerId {
        ContainerId::new(format!("c{n}")).unwrap()
    }

    fn pool(prefix: u8) -> AddressPool {
        AddressPool::new(Ipv4Addr::new(10, 9, 0, 1), prefix)
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_handed_out() {
        let mut pool = pool(29);
        let given: Vec<_> = (0..5).map(|n| pool.lease(&id(n)).unwrap().address.octets()[3]).collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert!(matches!(pool.lease(&id(5)), Err(NetworkError::Exhausted { count: 5 })));
    }

    #[test]
    fn a_freed_address_is_the_last_to_be_used_again() {
        let mut pool = pool(29);
        pool.lease(&id(0)).unwrap();
        pool.free(&id(0));
        let given: Vec<_> = (1..6).map(|n| pool.lease(&id(n)).unwrap().address.octets()[3]).collect();
        assert_eq!(given, [3, 4, 5, 6, 2]);
    }

    #[test]
    fn asking_twice_gives_the_same_lease() {
        let mut pool = pool(24);
        assert_eq!(pool.lease(&id(0)).unwrap(), pool.lease(&id(0)).unwrap());
    }

    #[test]
    fn a_restored_address_is_not_given_to_another() {
        let mut pool = pool(24);
        let address = Ipv4Addr::new(10, 9, 0, 2);
        pool.hold(&id(7), Lease { address, prefix: 24, gateway: Ipv4Addr::new(10, 9, 0, 1) });
        assert_ne!(pool.lease(&id(8)).unwrap().address, address);
    }

    #[test]
    fn ten_thousand_containers_one_after_the_other_leak_no_address() {
        let mut pool = pool(24);
        for n in 0..10_000 {
            assert!(n < 200 || pool.free(&id(n - 200)).is_some());
            pool.lease(&id(n)).unwrap();
        }
        assert_eq!((pool.by_address.len(), pool.by_container.len()), (200, 200));
        assert!((9_800..10_000).all(|n| pool.free(&id(n)).is_some()));
        assert_eq!((pool.by_address.len(), pool.by_container.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn no_two_containers_share_an_address(steps in prop::collection::vec((0_usize..12, any::<bool>()), 0..100)) {
            let mut pool = pool(29);
            for (n, take) in steps {
                if take { let _ = pool.lease(&id(n)); } else { pool.free(&id(n)); }
                prop_assert_eq!(pool.by_address.len(), pool.by_container.len());
                prop_assert!(pool.by_address.len() <= pool.capacity());
            }
        }
    }
}
