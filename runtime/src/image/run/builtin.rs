//! When `skep/hello` is made.

use std::sync::Arc;

use super::super::catalogue::{Builtin, Catalogue, Stamp};
use super::super::disk::builtin;
use super::super::error::ImageError;
use super::super::reference::Reference;
use super::ImageStore;
use super::commit::{Arrival, Staged};

impl ImageStore {
    /// Makes `skep/hello` if text means it and it is missing, made of another executable, or made before the last boot. A name that
    /// someone gave to an image of their own is left alone.
    pub(super) fn refresh_builtin(&self, text: &str) -> Result<(), ImageError> {
        if !means_builtin(&self.catalogue(), text) {
            return Ok(());
        }
        let _one = self.shared.builtin.lock();
        let stamp = builtin::stamp(&self.shared.builtin_executable)?;
        let catalogue = self.catalogue();
        if is_current(&catalogue, &stamp) { Ok(()) } else { self.make_builtin(&catalogue) }
    }

    fn make_builtin(&self, catalogue: &Arc<Catalogue>) -> Result<(), ImageError> {
        let workspace = self.shared.home.workspace()?;
        let made = builtin::make(&self.shared.builtin_executable, &workspace.layer())?;
        let arrival = Arrival::new(made.document, Some(builtin::NAME.to_owned()));
        let diff_id = arrival.document.rootfs.diff_ids[0].clone();
        // Only what was made before this boot may be torn; a copy of this boot may be in use.
        let replaces = catalogue.builtin.as_ref().is_some_and(|old| old.stamp.boot != made.stamp.boot);
        let staged = Staged { diff_id, file_bytes: made.file_bytes, workspace, replaces };
        let current = Builtin { image: arrival.id.clone(), stamp: made.stamp };
        let old = catalogue.builtin.as_ref().map(|old| old.image.clone()).filter(|old| *old != current.image);
        let unused = old.filter(|old| self.shared.state.lock().user_of(old).is_none());
        self.take_in(&[staged], vec![arrival], |catalogue| {
            catalogue.builtin = Some(current);
            // The one of an older executable goes unless it has got other names or a container uses it.
            unused.filter(|old| catalogue.names_of(old).is_empty()).iter().for_each(|old| catalogue.take_out(old));
        })?;
        Ok(())
    }
}

fn means_builtin(catalogue: &Catalogue, text: &str) -> bool {
    let named = Reference::parse(text).is_ok_and(|name| name.digest().is_none() && name.familiar() == builtin::NAME);
    match (catalogue.resolve(text), &catalogue.builtin) {
        (Ok(id), Some(builtin)) => id == builtin.image,
        (Ok(_), None) => false,
        (Err(_), _) => named,
    }
}

fn is_current(catalogue: &Catalogue, stamp: &Stamp) -> bool {
    let there =
        |made: &Builtin| made.stamp == *stamp && catalogue.resolve(builtin::NAME).is_ok_and(|id| id == made.image);
    catalogue.builtin.as_ref().is_some_and(there)
}
