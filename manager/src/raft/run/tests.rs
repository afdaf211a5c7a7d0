//! The whole of it on a real disk: restart, kill -9, snapshots, a full disk.
#![expect(clippy::disallowed_methods, reason = "owns the clock, starts tasks and damages files")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use skep_proto::model::{Cluster, Meta, Node};

use super::*;
use crate::raft::disk::{snapshot, wal};
use crate::store::fixture::{node, node_id, transaction};
use crate::store::{Change, ProposeError, Transaction};

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names the directory for the child that is killed.
const CHILD_DIR: &str = "SKEP_TEST_RAFT_DIR";

async fn started(dir: &Path) -> (Store, Raft) {
    let (store, proposals) = Store::new();
    let raft = Raft::start(dir, Birth::Found, store.clone(), proposals, (Options::default(), None)).unwrap();
    let mut leadership = raft.leadership();
    let leads = leadership.wait_for(|leadership| leadership.is_leader);
    drop(tokio::time::timeout(PATIENCE, leads).await.expect("a single voter leads at once").unwrap());
    (store, raft)
}

fn with_node(number: u128) -> Transaction {
    transaction(1, vec![Change::PutNode(Box::new(node(number)))])
}

async fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..3u128 {
        let (store, raft) = started(temp.path()).await;
        assert_eq!(store.read().nodes().count() as u128, round);
        let index = store.propose(with_node(round)).await.unwrap();
        assert!(index > last && store.read().node(node_id(round)).unwrap().meta.version == index);
        let refused = store.propose(with_node(round)).await;
        assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
        last = raft.status().applied;
        raft.shutdown().await;
        assert_eq!(store.propose(with_node(99)).await, Err(ProposeError::NotLeader));
    }
}

#[tokio::test]
async fn how_the_cluster_wants_its_members_is_known_at_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    let (store, raft) = started(temp.path()).await;
    assert_eq!(raft.options(), Options::default());
    let wanted = RaftTiming { heartbeat: Duration::from_millis(50), election: Duration::from_millis(700) };
    let mut world = crate::fixture::World::new(0);
    world.history(5);
    let mut founded = Cluster::clone(world.state.cluster().unwrap());
    (founded.meta, founded.spec.raft) = (Meta::default(), wanted);
    store.propose(transaction(1, vec![Change::PutCluster(Box::new(founded))])).await.unwrap();
    raft.shutdown().await;
    let (_, raft) = started(temp.path()).await;
    assert_eq!(raft.options(), wanted.into());
    raft.shutdown().await;
}

#[tokio::test]
async fn a_join_that_was_cut_short_left_nothing_to_go_on_from() {
    let temp = tempfile::tempdir().unwrap();
    for birth in [Birth::Join, Birth::Resume] {
        let (store, proposals) = Store::new();
        match Raft::start(temp.path(), birth, store, proposals, (Options::default(), None)) {
            Ok(raft) => {
                assert_eq!(birth, Birth::Join);
                raft.shutdown().await;
            }
            Err(error) => assert!(birth == Birth::Resume && matches!(error, RaftError::Empty { .. }), "{error}"),
        }
    }
    let founded = tempfile::tempdir().unwrap();
    started(founded.path()).await.1.shutdown().await;
    started(founded.path()).await.1.shutdown().await;
}

#[tokio::test]
async fn many_proposers_share_syncs_and_each_gets_its_own_answer() {
    let temp = tempfile::tempdir().unwrap();
    let (store, raft) = started(temp.path()).await;
    let propose = |number: u128| {
        let store = store.clone();
        tokio::spawn(async move { store.propose(with_node(number % 250)).await })
    };
    let answers = futures_util::future::join_all((0..500).map(propose)).await;
    let made = answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
    let refused = answers.iter().filter(|answer| matches!(answer, Ok(Err(ProposeError::Refused(_))))).count();
    assert_eq!((made, refused), (250, 250));
    raft.shutdown().await;
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_refused_and_the_next_one_goes_in() {
    let temp = tempfile::tempdir().unwrap();
    let (store, raft) = started(temp.path()).await;
    let mut huge = node(1);
    huge.certificate = "x".repeat(33 << 20);
    let refused = store.propose(transaction(1, vec![Change::PutNode(Box::new(huge))])).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    let mut large = node(1);
    large.certificate = "x".repeat(20 << 20);
    store.propose(transaction(1, vec![Change::PutNode(Box::new(large))])).await.unwrap();
    raft.shutdown().await;
    let (store, raft) = started(temp.path()).await;
    assert_eq!(store.read().node(node_id(1)).unwrap().certificate.len(), 20 << 20);
    raft.shutdown().await;
}

/// Proposes until there was a snapshot, then some more; the log is compacted and a restart finds everything.
#[tokio::test]
async fn a_snapshot_shortens_the_log_and_a_restart_has_it_all() {
    let temp = tempfile::tempdir().unwrap();
    let (store, raft) = started(temp.path()).await;
    let large = |number: u128| {
        let node = Node { certificate: "x".repeat(8 << 20), ..node(number) };
        transaction(1, vec![Change::PutNode(Box::new(node))])
    };
    let (begun, mut made) = (Instant::now(), 0);
    while raft.status().snapshot <= 1 {
        assert!(begun.elapsed() < PATIENCE * 3, "no snapshot after {made} entries");
        made += 1;
        store.propose(large(made)).await.unwrap();
    }
    store.propose(with_node(made + 1)).await.unwrap();
    let snapshot = raft.status().snapshot;
    // On a slow disk many more went in while it was written.
    let behind = store.read().index() - snapshot;
    assert!(raft.status().log_bytes < (behind + 1) * (9 << 20), "what the snapshot holds counts no more");
    raft.shutdown().await;
    let (store, raft) = started(temp.path()).await;
    assert_eq!(store.read().nodes().count() as u128, made + 1);
    assert_eq!(store.read().node(node_id(made)).unwrap().certificate.len(), 8 << 20);
    assert_eq!(raft.status().snapshot, snapshot);
    raft.shutdown().await;
    flip_the_middle_of_the_snapshot(temp.path());
    let (store, proposals) = Store::new();
    let refused = Raft::start(temp.path(), Birth::Resume, store, proposals, (Options::default(), None)).map(drop);
    assert!(matches!(refused, Err(RaftError::Snapshot { .. })), "{refused:?}");
}

fn flip_the_middle_of_the_snapshot(dir: &Path) {
    let files: Vec<_> = std::fs::read_dir(dir.join("snap")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "older ones and half-written ones are gone: {files:?}");
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
}

/// Acknowledges on standard output until it is killed.
#[test]
#[ignore = "the child of the next test, which kills it"]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, _raft) = started(Path::new(&dir)).await;
        let from = store.read().nodes().count() as u128;
        let writers = (0..8u128).map(|writer| acknowledge(store.clone(), from + writer));
        futures_util::future::join_all(writers.map(tokio::spawn)).await;
    });
}

/// Every eighth node from a number on.
async fn acknowledge(store: Store, from: u128) {
    let mut number = from;
    loop {
        if store.propose(with_node(number)).await.is_ok() {
            let mut out = std::io::stdout().lock();
            writeln!(out, "made {number}").unwrap();
            out.flush().unwrap();
        }
        number += 8;
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = std::collections::BTreeSet::new();
    for round in 0..12 {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "raft::run::tests::child_that_is_killed", "--ignored", "--nocapture"])
            .env(CHILD_DIR, temp.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let numbers = |line: String| line.strip_prefix("made ").and_then(|number| number.parse::<u128>().ok());
        let wanted = 50 + round * 37;
        acknowledged.extend(lines.by_ref().filter_map(numbers).take(wanted));
        child.kill().unwrap();
        acknowledged.extend(lines.filter_map(numbers));
        child.wait().unwrap();
        let (store, raft) = started(temp.path()).await;
        let there: std::collections::BTreeSet<u128> = store.read().nodes().map(|node| node.id.bits()).collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        raft.shutdown().await;
    }
    assert!(acknowledged.len() > 1000);
}

/// A small file system of its own; needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let temp = tempfile::tempdir().unwrap();
        let mount = Process::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "skep-test"]).arg(temp.path()).status();
        mount.is_ok_and(|status| status.success()).then_some(Self(temp))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Process::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_full_disk_makes_it_read_only_until_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else {
        assert!(std::env::var_os("SKEP_REQUIRE_ALL").is_none(), "cannot mount a small file system");
        println!("SKIP: needs to mount a small file system");
        return;
    };
    let dir = disk.0.path().join("raft");
    let (store, raft) = started(&dir).await;
    store.propose(with_node(0)).await.unwrap();
    std::fs::write(disk.0.path().join("ballast"), vec![1; 2 << 20]).unwrap();
    let mut big = node(1);
    big.certificate = "x".repeat(3 << 20);
    let refused = store.propose(transaction(1, vec![Change::PutNode(Box::new(big))])).await;
    assert!(matches!(&refused, Err(ProposeError::ReadOnly(why)) if why.contains("No space left")), "{refused:?}");
    assert!(store.read().node(node_id(0)).is_some() && raft.leadership().borrow().is_leader, "reads go on");
    assert!(matches!(store.propose(with_node(2)).await, Err(ProposeError::ReadOnly(_))));
    assert!(raft.status().read_only.is_some());
    std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
    until(|| raft.status().read_only.is_none(), "it recovers by itself").await;
    store.propose(with_node(3)).await.unwrap();
    raft.shutdown().await;
    let (store, raft) = started(&dir).await;
    let there: Vec<u128> = store.read().nodes().map(|node| node.id.bits()).collect();
    assert_eq!(there, [0, 3], "what was refused was not made");
    raft.shutdown().await;
}

#[tokio::test]
async fn a_key_that_lay_in_clear_opens_nothing_of_what_was_written_since_it_is_sealed() {
    let temp = tempfile::tempdir().unwrap();
    let (store, raft) = started(temp.path()).await;
    store.propose(with_node(1)).await.unwrap();
    let path = temp.path().join("key");
    let clear = std::fs::read(&path).unwrap();
    let node_key = NodeKey::new([7; 32]);
    raft.handle().keep_key(node_key.clone(), true).await.unwrap();
    store.propose(with_node(2)).await.unwrap();
    // One key with what sealing adds, and no other beside it.
    until(|| std::fs::metadata(&path).unwrap().len() == 68, "the old key to go").await;
    store.propose(with_node(3)).await.unwrap();
    raft.handle().keep_key(node_key.clone(), true).await.unwrap();
    raft.shutdown().await;
    let home = || Home { dir: temp.path().to_owned(), node_key: Some(node_key.clone()) };
    let open = |home: Home| {
        let (store, proposals) = Store::new();
        let raft = Raft::start(home, Birth::Resume, store.clone(), proposals, (Options::default(), None));
        raft.map(|raft| (store, raft))
    };
    let (store, raft) = open(home()).unwrap();
    until(|| store.read().nodes().count() == 3, "all to be there").await;
    raft.shutdown().await;
    std::fs::write(&path, &clear).unwrap();
    let dir = RaftDir::open(temp.path(), Birth::Resume, None).unwrap();
    let refused = snapshot::read_newest(&dir).unwrap_err().to_string();
    assert!(refused.contains("not written with this manager's key"), "{refused}");
    let refused = wal::Past::read(&dir, true).unwrap_err().to_string();
    assert!(refused.contains("not the one that wrote the log"), "{refused}");
}

#[tokio::test]
async fn a_change_of_key_that_was_cut_short_is_brought_to_its_end() {
    let temp = tempfile::tempdir().unwrap();
    let (store, raft) = started(temp.path()).await;
    store.propose(with_node(1)).await.unwrap();
    raft.shutdown().await;
    let (path, node_key) = (temp.path().join("key"), NodeKey::new([7; 32]));
    // The key is replaced, and everything else is yet to be done.
    let dir = RaftDir::open(temp.path(), Birth::Resume, Some(&node_key)).unwrap();
    assert!(dir.keep_key(&node_key, true).unwrap());
    drop(dir);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 100);
    for _ in 0..2 {
        let (store, proposals) = Store::new();
        let home = Home { dir: temp.path().to_owned(), node_key: Some(node_key.clone()) };
        let raft = Raft::start(home, Birth::Resume, store.clone(), proposals, (Options::default(), None)).unwrap();
        until(|| store.read().node(node_id(1)).is_some(), "what was written before").await;
        let mut leadership = raft.leadership();
        leadership.wait_for(|leadership| leadership.is_leader).await.unwrap();
        drop(store.propose(with_node(2)).await);
        until(|| std::fs::metadata(&path).unwrap().len() == 68, "the old key to go").await;
        raft.shutdown().await;
    }
}
