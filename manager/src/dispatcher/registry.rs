//! The sessions that live, and the few words that loops and sessions leave for each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use skep_proto::model::{Moment, NodeId, SessionId};
use skep_proto::pb;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Stands for a session that does not read because we are slow: its silence is ours.
const HELD: u64 = u64::MAX;

/// One session as seen by the others.
#[derive(Debug)]
pub struct Line {
    /// Which session of the node.
    pub session: SessionId,
    heard: AtomicU64,
    committed: watch::Sender<u64>,
    witnessed: watch::Sender<u64>,
    farewell: Mutex<Option<pb::Farewell>>,
    ended: CancellationToken,
}

impl Line {
    /// A session that was heard just now.
    #[must_use]
    pub fn new(session: SessionId, now: Moment) -> Self {
        Self {
            session,
            heard: AtomicU64::new(now.0),
            committed: watch::Sender::new(0),
            witnessed: watch::Sender::new(0),
            farewell: Mutex::new(None),
            ended: CancellationToken::new(),
        }
    }

    /// The agent said something.
    pub fn heard(&self, now: Moment) {
        self.heard.store(now.0, Ordering::Relaxed);
    }

    /// We do not listen for a while; [`Line::heard`] ends it.
    pub fn hold(&self) {
        self.heard.store(HELD, Ordering::Relaxed);
    }

    /// When the agent was last heard.
    #[must_use]
    pub fn last_heard(&self, now: Moment) -> Moment {
        match self.heard.load(Ordering::Relaxed) {
            HELD => now,
            at => Moment(at),
        }
    }

    /// Reports up to this number are committed.
    pub fn commit(&self, seq: u64) {
        self.committed.send_if_modified(|seen| seq > std::mem::replace(seen, seq.max(*seen)));
    }

    /// Where the session hears of commits.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// This manager led after it had heard the heartbeat of that number.
    pub fn witness(&self, seq: u64) {
        self.witnessed.send_if_modified(|seen| seq > std::mem::replace(seen, seq.max(*seen)));
    }

    /// Where the session hears of that.
    #[must_use]
    pub fn contacts(&self) -> watch::Receiver<u64> {
        self.witnessed.subscribe()
    }

    /// Ends the session with these words; the first ones count.
    pub fn end(&self, farewell: pb::Farewell) {
        self.farewell.lock().get_or_insert(farewell);
        self.ended.cancel();
    }

    /// The words of [`Line::end`], if it was called.
    #[must_use]
    pub fn parting(&self) -> Option<pb::Farewell> {
        self.farewell.lock().clone()
    }

    /// Waits for [`Line::end`] and gives its words.
    pub fn farewell(&self) -> impl Future<Output = pb::Farewell> + Send + '_ {
        use futures_util::FutureExt;
        self.ended.cancelled().map(|()| self.farewell.lock().clone().unwrap_or_default())
    }
}

/// All sessions, one a node.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<NodeId, Arc<Line>>>>);

impl Registry {
    /// Makes this the node's session and ends the one before.
    pub fn enter(&self, node: NodeId, line: Arc<Line>) {
        let earlier = self.0.lock().insert(node, line);
        if let Some(earlier) = earlier {
            earlier.end(farewell("the node has opened another session"));
        }
    }

    /// Takes the session out, unless it is not the node's any more. Tells whether it was.
    pub fn leave(&self, node: NodeId, session: SessionId) -> bool {
        let mut lines = self.0.lock();
        let ours = lines.get(&node).is_some_and(|line| line.session == session);
        if ours {
            lines.remove(&node);
        }
        ours
    }

    /// The node's session.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<Arc<Line>> {
        self.0.lock().get(&node).cloned()
    }

    /// When the node was last heard; `None` without a session.
    #[must_use]
    pub fn last_heard(&self, node: NodeId, now: Moment) -> Option<Moment> {
        self.0.lock().get(&node).map(|line| line.last_heard(now))
    }

    /// Ends the node's session, if it has one.
    pub fn end(&self, node: NodeId, farewell: pb::Farewell) {
        if let Some(line) = self.get(node) {
            line.end(farewell);
        }
    }

    /// Ends all.
    pub fn end_all(&self, farewell: &pb::Farewell) {
        for line in self.0.lock().values() {
            line.end(farewell.clone());
        }
    }
}

/// Parting words with a reason.
#[must_use]
pub fn farewell(reason: &str) -> pb::Farewell {
    pb::Farewell { reason: reason.to_owned(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_session_ends_the_first_and_stays() {
        let registry = Registry::default();
        let node = NodeId::new(1);
        let line = |id| Arc::new(Line::new(SessionId::new(id), Moment(1)));
        let (first, second) = (line(1), line(2));
        registry.enter(node, Arc::clone(&first));
        registry.enter(node, second);
        assert!(first.ended.is_cancelled());
        assert!(!registry.leave(node, SessionId::new(1)));
        assert_eq!(registry.get(node).unwrap().session, SessionId::new(2));
    }

    #[test]
    fn a_held_session_is_never_silent() {
        let line = Line::new(SessionId::new(1), Moment(1));
        line.hold();
        assert_eq!(line.last_heard(Moment(99)), Moment(99));
        line.heard(Moment(100));
        assert_eq!(line.last_heard(Moment(200)), Moment(100));
    }
}
