//! Keeps a layer while a load counts on it.

use super::super::digest::Digest;
use super::ImageStore;

/// While it lives, the layer stays, even if its last image is removed; it then goes with the next change or start.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    store: &'a ImageStore,
    pub(super) layer: Digest,
}

impl ImageStore {
    /// Takes a lease on a layer, if the store has it whole.
    pub(super) fn lease(&self, layer: &Digest) -> Option<Lease<'_>> {
        // The writer's lock keeps a removal, which has seen the leases already, from finishing behind our back.
        let _writer = self.shared.writer.lock();
        let mut state = self.shared.state.lock();
        let whole = state.catalogue.layers.contains_key(layer) && self.shared.home.has_layer(layer);
        whole.then(|| {
            *state.leases.entry(layer.clone()).or_default() += 1;
            Lease { store: self, layer: layer.clone() }
        })
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let leases = &mut self.store.shared.state.lock().leases;
        if let Some(count) = leases.get_mut(&self.layer) {
            *count -= 1;
        }
        leases.retain(|_, count| *count > 0);
    }
}
