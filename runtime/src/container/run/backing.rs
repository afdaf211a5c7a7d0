//! Where images and addresses come from.

use std::os::fd::BorrowedFd;

use crate::container::{ContainerId, PublishedPort, RuntimeConfig, RuntimeError};
use crate::image::{Image, ImageStore};
use crate::network::{Lease, Network, NetworkConfig};

/// The real store and network, or one fixed image and no network, with which the rest of the runtime is tested and measured.
#[derive(Debug)]
pub(crate) enum Backing {
    Full { images: ImageStore, network: Box<Network> },
    Bare(Box<Image>),
}

impl Backing {
    pub(crate) fn full(config: &RuntimeConfig) -> Result<Self, RuntimeError> {
        let images = ImageStore::open(&config.data_dir, &config.builtin_executable)?;
        let network = Network::new(NetworkConfig {
            bridge_name: config.bridge_name.clone(),
            bridge_address: config.bridge_address,
            nft_table: config.nft_table.clone(),
        });
        Ok(Self::Full { images, network: Box::new(network) })
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        match self {
            Self::Full { network, .. } => Some(network),
            Self::Bare(_) => None,
        }
    }

    pub(crate) fn pin(&self, reference: &str, id: &ContainerId) -> Result<Image, RuntimeError> {
        match self {
            Self::Bare(image) => Ok(Image::clone(image)),
            Self::Full { images, .. } => Ok(images.pin(reference, id.as_str())?),
        }
    }

    pub(crate) fn unpin(&self, id: &ContainerId) {
        if let Self::Full { images, .. } = self {
            images.unpin(id.as_str());
        }
    }

    pub(crate) fn lease(&self, id: &ContainerId) -> Result<Option<Lease>, RuntimeError> {
        Ok(self.network().map(|n| n.lease(id)).transpose()?)
    }

    pub(crate) fn restore(&self, id: &ContainerId, lease: Option<Lease>) {
        if let (Some(network), Some(lease)) = (self.network(), lease) {
            network.restore(id, lease);
        }
    }

    pub(crate) fn attach(
        &self,
        id: &ContainerId,
        netns: BorrowedFd<'_>,
        lease: Option<Lease>,
    ) -> Result<(), RuntimeError> {
        let (Some(network), Some(lease)) = (self.network(), lease) else { return Ok(()) };
        Ok(network.attach(id, netns, lease)?)
    }

    pub(crate) fn publish(
        &self,
        id: &ContainerId,
        lease: Option<Lease>,
        ports: &[PublishedPort],
    ) -> Result<(), RuntimeError> {
        match (self.network(), lease) {
            (Some(network), Some(lease)) if !ports.is_empty() => Ok(network.publish(id, lease, ports)?),
            _ => Ok(()),
        }
    }

    pub(crate) fn unpublish(&self, id: &ContainerId, ports: &[PublishedPort]) -> Result<(), RuntimeError> {
        match self.network() {
            Some(network) if !ports.is_empty() => Ok(network.unpublish(id)?),
            _ => Ok(()),
        }
    }

    pub(crate) fn release(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        Ok(self.network().map_or(Ok(()), |n| n.release(id))?)
    }

    pub(crate) fn reconcile(&self) -> Result<(), RuntimeError> {
        Ok(self.network().map_or(Ok(()), Network::reconcile)?)
    }

    pub(crate) fn remove_all(&self) -> Result<(), RuntimeError> {
        Ok(self.network().map_or(Ok(()), Network::remove_all)?)
    }
}
