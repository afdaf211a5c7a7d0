//! Where members are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::State;

/// What members said of where they are. Cheap to clone. There are as many entries as there ever were members in the life of this
/// process: a handful.
#[derive(Clone, Debug, Default)]
pub(in crate::raft) struct Book {
    places: Arc<Mutex<BTreeMap<u64, String>>>,
    /// Those who were found to speak another dialect, which is told once.
    strange: Arc<Mutex<BTreeSet<u64>>>,
}

impl Book {
    /// A member says that it is there.
    pub(in crate::raft) fn learn(&self, id: u64, address: &str) {
        // One that does not know its own host says only the port.
        if !address.is_empty() && !address.starts_with(':') {
            self.places.lock().insert(id, address.to_owned());
        }
    }

    /// A member and this one do not understand each other. `true`: that is news.
    pub(in crate::raft) fn is_strange(&self, id: u64) -> bool {
        self.strange.lock().insert(id)
    }

    /// They do (again).
    pub(in crate::raft) fn is_understood(&self, id: u64) {
        self.strange.lock().remove(&id);
    }

    /// Where to look for a member, the likeliest place first: its own word, then what the state says.
    #[must_use]
    pub(in crate::raft) fn places(&self, id: u64, state: &State) -> Vec<String> {
        let said = self.places.lock().get(&id).cloned();
        let known = state.nodes().filter_map(|node| node.manager.as_ref()).find(|manager| manager.raft_id == id);
        let known = known.map(|manager| manager.address.clone()).filter(|address| said.as_ref() != Some(address));
        said.into_iter().chain(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{ManagerStatus, Moment};

    use super::*;
    use crate::store::fixture::{node, transaction};
    use crate::store::{Change, Touched};

    #[test]
    fn a_members_own_word_comes_before_the_state() {
        let mut state = State::default();
        let manager = Some(ManagerStatus { raft_id: 7, address: "10.0.0.1:2377".into() });
        let node = skep_proto::model::Node { manager, ..node(1) };
        let put = transaction(Moment(1).0, vec![Change::PutNode(Box::new(node))]);
        state.apply(1, vec![put], &mut Touched::default())[0].clone().unwrap();
        let book = Book::default();
        assert_eq!(book.places(7, &state), ["10.0.0.1:2377"]);
        book.learn(7, "10.0.0.9:2377");
        book.learn(7, "");
        assert_eq!(book.places(7, &state), ["10.0.0.9:2377", "10.0.0.1:2377"]);
        assert_eq!(book.places(8, &state), Vec::<String>::new());
    }
}
