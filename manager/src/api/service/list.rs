//! Lists as streams: the state is looked at a page at a time, as fast as the reader takes them.

use futures_util::{StreamExt, stream};

use super::control::Answers;
use crate::store::{Soft, State, Store};

/// Entries made under one look at the state: a fraction of a millisecond.
pub(super) const PAGE_MAX: usize = 256;

/// An entry for each id that still exists when its turn comes, `page` of them under one look at the state.
pub(super) fn listed<I, T>(
    store: Store,
    ids: &[I],
    page: usize,
    entry: impl Fn(&State, &Soft, I) -> Option<T> + Send + 'static,
) -> Answers<T>
where
    I: Copy + Send + 'static,
    T: Send + 'static,
{
    let pages: Vec<Vec<I>> = ids.chunks(page).map(<[I]>::to_vec).collect();
    let entries = stream::iter(pages).flat_map(move |ids| {
        let (state, soft) = (store.read(), store.soft());
        let page: Vec<_> = ids.into_iter().filter_map(|id| entry(&state, &soft, id)).map(Ok).collect();
        stream::iter(page)
    });
    Box::pin(entries)
}
