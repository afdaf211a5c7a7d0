//! Removes the files of what is gone, where nobody has to wait for it: a layer of 100,000 files takes from one second to minutes.
#![expect(clippy::disallowed_methods, reason = "driver: owns a thread")]

use std::sync::mpsc::{self, Sender};
use std::thread;

use super::home::Workspace;

/// Takes rubbish and removes it in a thread of its own, one piece after the other. The queue is as long as the list of layers that
/// were removed, each a path. When the store is closed the thread ends once it is done; what a dying process leaves lies in
/// `tmp/`, and the next start hands it to its janitor.
#[derive(Clone, Debug)]
pub(crate) struct Janitor {
    queue: Sender<Vec<Workspace>>,
}

impl Janitor {
    /// Starts the thread.
    pub(crate) fn start() -> Self {
        let (queue, rubbish) = mpsc::channel();
        thread::spawn(move || rubbish.into_iter().for_each(drop));
        Self { queue }
    }

    /// Has rubbish removed.
    pub(crate) fn take(&self, rubbish: Vec<Workspace>) {
        // The thread outlives every sender. If it died all the same, the rubbish comes back in the error and is removed here.
        drop(self.queue.send(rubbish));
    }
}
