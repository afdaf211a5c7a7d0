//! Removes interface pairs in the background: each takes 15 ms, in which the kernel lets nobody else change links.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::super::net::{Socket, is_missing};
use super::super::sys::Family;
use super::super::veth;

/// How long a pair may take to vanish by itself with its container's namespace, which costs nobody anything.
const GRACE: Duration = Duration::from_millis(250);

/// Links about to go. Bounded by the links that exist.
#[derive(Debug, Default)]
struct Doomed {
    links: BTreeSet<u32>,
    running: bool,
    hurry: bool,
}

#[derive(Debug, Default)]
struct Shared {
    doomed: Mutex<Doomed>,
    changed: Condvar,
}

/// Hands links to a thread that lives while there are any.
#[derive(Debug, Default)]
pub(super) struct Cleaner(Arc<Shared>);

impl Cleaner {
    /// Removes the link some time soon, unless it vanishes first.
    pub(super) fn remove(&self, index: u32) {
        let mut doomed = self.0.doomed.lock();
        doomed.links.insert(index);
        if doomed.running {
            return;
        }
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("skep:links".to_owned());
        match thread.spawn(move || shared.work()) {
            Ok(_) => doomed.running = true,
            // The link stays in the set: the next removal, or `finish`, takes it along.
            Err(error) => tracing::warn!(%error, "no thread to remove interfaces with"),
        }
    }

    /// Returns when every link handed over is gone.
    pub(super) fn finish(&self) {
        let mut doomed = self.0.doomed.lock();
        doomed.hurry = true;
        self.0.changed.notify_all();
        while doomed.running {
            self.0.changed.wait(&mut doomed);
        }
        doomed.hurry = false;
        let left = std::mem::take(&mut doomed.links);
        drop(doomed);
        delete_and_log(&left);
    }
}

impl Shared {
    fn work(&self) {
        let mut doomed = self.doomed.lock();
        while !doomed.links.is_empty() {
            if !doomed.hurry {
                self.changed.wait_for(&mut doomed, GRACE);
            }
            let links = std::mem::take(&mut doomed.links);
            parking_lot::MutexGuard::unlocked(&mut doomed, || delete_and_log(&links));
        }
        doomed.running = false;
        self.changed.notify_all();
    }
}

fn delete_and_log(links: &BTreeSet<u32>) {
    if let Err(error) = delete(links) {
        tracing::warn!(%error, count = links.len(), "interfaces of ended containers stay until the network is removed");
    }
}

/// Deletes links in one go: the kernel waits once for a whole group. Links that are gone are what we want.
pub(super) fn delete(links: &BTreeSet<u32>) -> io::Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open(Family::Route)?;
    let mut alive = false;
    for link in links {
        alive |= unless_missing(socket.request(&veth::doom(*link)))?;
    }
    if alive {
        unless_missing(socket.request(&veth::delete_doomed()))?;
    }
    Ok(())
}

/// Whether the request met something.
fn unless_missing(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
