//! Which layers make an image, in the order that overlayfs takes them.

use std::collections::BTreeSet;

use super::config::Document;
use super::digest::Digest;

/// The layers of an image, lowest first, each once. A layer that comes twice (empty ones do) is kept where it comes last: all that
/// its lower copy does, the upper one does again over everything between, and overlayfs refuses one directory twice.
pub(crate) fn topmost(diff_ids: &[Digest]) -> Vec<&Digest> {
    let mut seen = BTreeSet::new();
    let mut layers: Vec<&Digest> = diff_ids.iter().rev().filter(|layer| seen.insert(*layer)).collect();
    layers.reverse();
    layers
}

/// All layers that the given images have.
pub(crate) fn used<'a>(documents: impl Iterator<Item = &'a Document>) -> BTreeSet<&'a Digest> {
    documents.flat_map(|document| &document.rootfs.diff_ids).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_layer_stays_where_it_comes_last() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let diff_ids = [a.clone(), b.clone(), a.clone(), c.clone(), b.clone()];
        assert_eq!(topmost(&diff_ids), [&a, &c, &b]);
    }
}
