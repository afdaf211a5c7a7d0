//! Who is woken: loops that follow everything, merged; and watchers of one object, found by its key. A change costs what it touched,
//! never the number of watchers of something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use skep_proto::model::TaskId;

use super::super::event::{Topics, Touched};
use super::news::{News, Recent};

/// What one loop has not yet looked at.
#[derive(Debug)]
struct Inbox {
    topics: Topics,
    touched: Mutex<Touched>,
    arrived: Notify,
}

/// All loops. A handful: each is merged into.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    inboxes: Mutex<Vec<Weak<Inbox>>>,
}

/// Merged wake-ups of a loop.
#[derive(Debug)]
pub struct Subscription {
    inbox: Arc<Inbox>,
}

impl Subscribers {
    pub(super) fn subscribe(this: &Arc<Self>, topics: Topics) -> Subscription {
        let inbox = Arc::new(Inbox { topics, touched: Mutex::default(), arrived: Notify::default() });
        this.inboxes.lock().push(Arc::downgrade(&inbox));
        Subscription { inbox }
    }

    /// Merges into each inbox what it is for; one whose subscription was dropped goes.
    pub(super) fn publish(&self, touched: &Touched) {
        self.inboxes.lock().retain(|inbox| {
            let Some(inbox) = inbox.upgrade() else { return false };
            if inbox.touched.lock().hear(touched, inbox.topics) {
                inbox.arrived.notify_one();
            }
            true
        });
    }
}

impl Subscription {
    /// Takes what was touched since the last look, without waiting.
    pub fn take(&mut self) -> Touched {
        std::mem::take(&mut *self.inbox.touched.lock())
    }

    /// Waits until something was touched, and takes it.
    pub async fn touched(&mut self) -> Touched {
        loop {
            let touched = self.take();
            if !touched.is_empty() {
                return touched;
            }
            self.inbox.arrived.notified().await;
        }
    }
}

/// Watchers by key. An entry lives as long as someone watches.
#[derive(Debug)]
pub(super) struct Registry<K> {
    entries: Mutex<BTreeMap<K, watch::Sender<Recent>>>,
}

impl<K> Default for Registry<K> {
    fn default() -> Self {
        Self { entries: Mutex::new(BTreeMap::new()) }
    }
}

impl<K: Copy + Ord + Debug + Send + Sync + 'static> Registry<K> {
    pub(super) fn watch(this: &Arc<Self>, key: K) -> Watch {
        let mut receiver = this.entries.lock().entry(key).or_default().subscribe();
        receiver.mark_changed();
        let (registry, watched) = (Arc::clone(this), key);
        Watch { receiver: Some(receiver), seen: None, leave: Box::new(move || registry.leave(watched)) }
    }

    fn leave(&self, key: K) {
        let mut entries = self.entries.lock();
        if entries.get(&key).is_some_and(|entry| entry.receiver_count() == 0) {
            entries.remove(&key);
        }
    }

    /// Wakes the watchers of these keys. The shorter of the two lists is walked.
    pub(super) fn wake(&self, keys: &BTreeSet<K>) {
        let entries = self.entries.lock();
        if keys.len() <= entries.len() {
            keys.iter().filter_map(|key| entries.get(key)).for_each(|entry| entry.send_modify(|_| {}));
        } else {
            entries.iter().filter(|(key, _)| keys.contains(key)).for_each(|(_, entry)| entry.send_modify(|_| {}));
        }
    }

    /// Wakes the watchers of these keys, and says which tasks it is about.
    pub(super) fn wake_of(&self, keys: &BTreeSet<K>, tasks: &BTreeMap<K, Vec<TaskId>>) {
        let entries = self.entries.lock();
        for (key, entry) in keys.iter().filter_map(|key| Some((key, entries.get(key)?))) {
            entry.send_modify(|recent| recent.add(tasks.get(key).map_or(&[], Vec::as_slice)));
        }
    }

    /// Keys with watchers.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.entries.lock().len()
    }

    /// Wakes everyone.
    pub(super) fn wake_all(&self) {
        self.entries.lock().values().for_each(|entry| entry.send_modify(Recent::forget));
    }
}

/// Wake-ups about one object. Any number of changes before the next look are one.
pub struct Watch {
    /// `None` only while it is being dropped: the registry counts receivers.
    receiver: Option<watch::Receiver<Recent>>,
    /// How much of the news was taken.
    seen: Option<u64>,
    leave: Box<dyn Fn() + Send + Sync>,
}

impl Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl Watch {
    /// Whether something happened since the last call, without waiting.
    pub fn take(&mut self) -> bool {
        let receiver = self.receiver.as_mut();
        receiver.is_some_and(|receiver| {
            receiver.has_changed().is_ok_and(|changed| {
                changed && {
                    receiver.mark_unchanged();
                    true
                }
            })
        })
    }

    /// Which tasks were changed since the last call. To be asked before the state is looked at: what comes between is told again.
    pub fn news(&mut self) -> News {
        let Some(receiver) = &self.receiver else { return News::Anything };
        let recent = receiver.borrow();
        let news = recent.since(self.seen);
        self.seen = Some(recent.count());
        news
    }

    /// Waits until something happened since the last call; once at once at first.
    pub async fn changed(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        if receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.receiver = None;
        (self.leave)();
    }
}
