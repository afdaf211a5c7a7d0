//! How a change takes force.

use std::io::Read;
use std::sync::Arc;

use super::super::archive::Budget;
use super::super::catalogue::{Catalogue, Record};
use super::super::config::{Document, Image};
use super::super::digest::Digest;
use super::super::disk::home::Workspace;
use super::super::disk::unpack::{Unpacked, unpack};
use super::super::error::ImageError;
use super::{ImageStore, State};

/// An unpacked layer that is not in its place yet.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) diff_id: Digest,
    pub(crate) file_bytes: u64,
    /// Holds the unpacked layer.
    pub(crate) workspace: Workspace,
    /// Whether it takes the place of one that may be damaged.
    pub(crate) replaces: bool,
}

/// An image whose layers are staged or there.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: Digest,
    pub(crate) bytes: Vec<u8>,
    pub(crate) document: Document,
    pub(crate) record: Record,
}

impl Arrival {
    /// An image made here, its configuration written by us.
    pub(crate) fn new(document: Document, name: Option<String>) -> Self {
        let bytes = serde_json::to_vec(&document).expect("a configuration is made of strings and lists");
        let record = Record { references: name.into_iter().collect(), ..Record::default() };
        Self { id: Digest::of(&bytes), bytes, document, record }
    }
}

impl ImageStore {
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.shared.state.lock().catalogue)
    }

    /// An image after a look at its layers: someone may have cleaned up by hand, and a mount's error would not say so.
    pub(super) fn whole_image(&self, catalogue: &Catalogue, id: &Digest) -> Result<Image, ImageError> {
        let image = catalogue.image(id, &self.shared.home.layers());
        let image = image.ok_or_else(|| ImageError::NotFound { reference: id.to_string() })?;
        match image.layers.iter().find(|layer| !layer.is_dir()) {
            None => Ok(image),
            Some(path) => Err(ImageError::MissingLayer { image: id.short().to_owned(), path: path.clone() }),
        }
    }

    /// Unpacks a layer into a workspace.
    pub(crate) fn stage(&self, archive: impl Read, budget: &mut Budget<'_>) -> Result<(Staged, Unpacked), ImageError> {
        let workspace = self.shared.home.workspace()?;
        let unpacked = unpack(archive, &workspace.layer(), budget)?;
        let (diff_id, file_bytes) = (unpacked.diff_id.clone(), unpacked.file_bytes);
        Ok((Staged { diff_id, file_bytes, workspace, replaces: false }, unpacked))
    }

    /// Puts images with their staged layers in force, all or none. `also` may change the catalogue further.
    pub(crate) fn take_in(
        &self,
        staged: &[Staged],
        arrivals: Vec<Arrival>,
        also: impl FnOnce(&mut Catalogue),
    ) -> Result<Vec<Image>, ImageError> {
        let kept = self.catalogue();
        let ids: Vec<Digest> = arrivals.iter().map(|arrival| arrival.id.clone()).collect();
        let sizes: Vec<(Digest, u64)> = staged.iter().map(|layer| (layer.diff_id.clone(), layer.file_bytes)).collect();
        let committed = self.commit(staged, |catalogue| {
            catalogue.layers.extend(sizes);
            for arrival in arrivals {
                self.shared.home.place_config(&arrival.id, &arrival.bytes)?;
                catalogue.insert(&arrival.id, Arc::new(arrival.document), arrival.record);
            }
            also(catalogue);
            Ok(())
        });
        committed.inspect_err(|_| {
            ids.iter().filter(|id| !kept.has(id)).for_each(|id| self.shared.home.discard_config(id))
        })?;
        let (catalogue, layers) = (self.catalogue(), self.shared.home.layers());
        Ok(ids.iter().filter_map(|id| catalogue.image(id, &layers)).collect())
    }

    /// Changes the catalogue. Returns the change's answer and the layers that went with it, lowest last.
    ///
    /// Order: layers into their place, then the index that names them; on the way out the index first, then the layers. A crash
    /// between leaves layers that no index names, which the next start collects, and never the reverse.
    pub(super) fn commit<T>(
        &self,
        staged: &[Staged],
        change: impl FnOnce(&mut Catalogue) -> Result<T, ImageError>,
    ) -> Result<(T, Vec<Digest>), ImageError> {
        let writer = self.shared.writer.lock();
        let before = self.catalogue();
        let mut after = Catalogue::clone(&before);
        let answer = change(&mut after)?;
        after.drop_layers(&self.shared.state.lock().leases);
        let gone = before.layers_not_in(&after);
        self.place(staged, &before)?;
        if let Err(error) = self.publish(&before, after) {
            self.take_back(staged, &before);
            return Err(error);
        }
        let rubbish = self.clear(&before, &gone);
        drop(writer);
        self.shared.home.clear(rubbish);
        Ok((answer, gone))
    }

    fn place(&self, staged: &[Staged], before: &Catalogue) -> Result<(), ImageError> {
        let fresh = staged.iter().filter(|layer| layer.replaces || !before.layers.contains_key(&layer.diff_id));
        for layer in fresh {
            let placed = self.shared.home.place_layer(&layer.diff_id, &layer.workspace.layer());
            placed.inspect_err(|_| self.take_back(staged, before))?;
        }
        Ok(())
    }

    /// Removes layers that were placed for an index that was not written.
    fn take_back(&self, staged: &[Staged], before: &Catalogue) {
        for layer in staged.iter().filter(|layer| !before.layers.contains_key(&layer.diff_id)) {
            // One that was not placed yet cannot be taken back; one that stays is collected at the next start.
            drop(self.shared.home.discard_layer(&layer.diff_id));
        }
    }

    /// Writes the index, then swaps the catalogue. The slow write happens before the lock; pins that came meanwhile are heeded.
    fn publish(&self, before: &Catalogue, after: Catalogue) -> Result<(), ImageError> {
        let prepared = self.shared.home.prepare_index(&after.index())?;
        {
            let mut state = self.shared.state.lock();
            let published = state.check_pins(before, &after).and_then(|()| self.shared.home.publish_index(&prepared));
            published.inspect_err(|_| self.shared.home.forget_index(&prepared))?;
            state.catalogue = Arc::new(after);
        }
        self.shared.home.sync()
    }

    /// Takes the files of what is gone away at once, and gives back what is still to be removed.
    fn clear(&self, before: &Catalogue, gone: &[Digest]) -> Vec<Workspace> {
        let after = self.catalogue();
        before.ids_by_name().iter().filter(|id| !after.has(id)).for_each(|id| self.shared.home.discard_config(id));
        let discarded = gone.iter().map(|layer| self.shared.home.discard_layer(layer));
        let failed =
            |error: &ImageError| tracing::warn!(%error, "could not remove a layer; the next start tries again");
        discarded.filter_map(|workspace| workspace.inspect_err(failed).ok()).collect()
    }
}

impl State {
    /// Who uses an image; the first if several do.
    pub(super) fn user_of(&self, id: &Digest) -> Option<String> {
        self.pins.iter().find(|(_, images)| images.contains(id)).map(|(user, _)| user.clone())
    }

    /// Refuses a change that takes a pinned image away.
    fn check_pins(&self, before: &Catalogue, after: &Catalogue) -> Result<(), ImageError> {
        for (user, images) in &self.pins {
            if let Some(id) = images.iter().find(|id| before.has(id) && !after.has(id)) {
                return Err(ImageError::InUse { image: id.short().to_owned(), user: user.clone() });
            }
        }
        Ok(())
    }
}
