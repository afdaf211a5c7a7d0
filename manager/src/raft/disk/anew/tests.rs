//! A new life from an old directory, and what a crash or damage leaves of it.
#![expect(clippy::disallowed_methods, reason = "lays out and damages directories")]

use std::time::Duration;

use raft::eraftpb::HardState;

use super::*;
use crate::raft::saved::Saved;
use crate::raft::{Options, Raft};
use crate::store::Change;
use crate::store::fixture::{node, node_id, transaction};

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn put_node(number: u128) -> Transaction {
    transaction(1, vec![Change::PutNode(Box::new(node(number)))])
}

/// What a follower has: two entries of the leader, of which it knows the first to be committed.
fn follower(path: &Path) -> u64 {
    let dir = RaftDir::open(path, Birth::Found, None).unwrap();
    let mut wal = wal::Wal::begin(&dir, wal::Past::read(&dir, false).unwrap()).unwrap();
    let entry = |index, number| {
        let data = codec::encode(&[put_node(number)]).into();
        Entry { index, term: 4, data, ..Entry::default() }
    };
    let hard_state = HardState { term: 4, commit: 2, ..HardState::default() };
    wal.append(&dir, &Saved { hard_state, entries: vec![entry(2, 1), entry(3, 2)] }).unwrap();
    dir.member.raft_id
}

fn begin(path: &Path) -> Result<(), RaftError> {
    let home = Home::from(path);
    Heritage::read(&home)?.begin(&home, |_, _| Some(put_node(9)))
}

async fn opened(path: &Path) -> (Store, Raft) {
    let (store, proposals) = Store::new();
    let raft = Raft::start(path, Birth::Resume, store.clone(), proposals, (Options::default(), None)).unwrap();
    let mut leadership = raft.leadership();
    let leads = leadership.wait_for(|leadership| leadership.is_leader);
    drop(tokio::time::timeout(PATIENCE, leads).await.expect("a single voter leads at once").unwrap());
    (store, raft)
}

#[tokio::test]
async fn everything_that_was_there_lives_on_committed_or_not_under_a_new_number_beyond_the_old_indexes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("manager");
    let old = follower(&path);
    begin(&path).unwrap();
    let (store, raft) = opened(&path).await;
    let status = raft.status();
    assert_ne!(status.raft_id, old);
    assert!(status.applied > LEAP && status.term > 4, "{status:?}");
    for number in [1, 2, 9] {
        assert!(store.read().node(node_id(number)).is_some(), "{number}");
    }
    store.propose(put_node(10)).await.unwrap();
    raft.shutdown().await;
    begin(&path).unwrap_err();
    let (store, raft) = opened(&path).await;
    assert!(store.read().node(node_id(10)).is_some(), "what could not begin has changed nothing");
    raft.shutdown().await;
    assert!(temp.path().join("manager.before/member").exists());
    assert!(!temp.path().join("manager.new").exists());
}

#[test]
fn a_directory_that_is_damaged_empty_or_in_use_stays_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("manager");
    assert!(matches!(begin(&path), Err(RaftError::Empty { .. })));
    follower(&path);
    let held = RaftDir::open(&path, Birth::Resume, None).unwrap();
    assert!(matches!(begin(&path), Err(RaftError::Locked { .. })));
    drop(held);
    let home = Home::from(&*path);
    let nobody = Heritage::read(&home).unwrap().begin(&home, |_, _| None);
    assert!(matches!(nobody, Err(RaftError::Foreign { .. })));
    let before = fs::read(path.join("member")).unwrap();
    fs::write(path.join("key"), [1; 32]).unwrap();
    let sentence = begin(&path).unwrap_err().to_string();
    assert!(sentence.contains("key"), "{sentence}");
    assert_eq!(fs::read(path.join("member")).unwrap(), before);
    assert!(!siblings(&path).iter().any(|sibling| sibling.exists()));
}

#[test]
fn what_a_crash_left_half_made_is_made_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("manager");
    let old = follower(&path);
    fs::create_dir_all(temp.path().join("manager.new/snap")).unwrap();
    fs::write(temp.path().join("manager.new/key"), b"half").unwrap();
    begin(&path).unwrap();
    let now = RaftDir::open(&path, Birth::Resume, None).unwrap();
    assert_ne!(now.member.raft_id, old);
    let before = RaftDir::open(&temp.path().join("manager.before"), Birth::Resume, None).unwrap();
    assert_eq!(before.member.raft_id, old);
}
