//! Latency and throughput of proposals on a real disk. `cargo bench -p skep-manager --bench raft -- DIR` (default: the temp directory).
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark owns the clock and fails loudly")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use skep_manager::raft::{Birth, Options, Raft};
use skep_manager::store::{Change, Store, Transaction};
use skep_proto::model::{
    Availability, Meta, Moment, Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeState, NodeStatus, Seed,
};

fn create_node(id: NodeId) -> Transaction {
    let spec = NodeSpec { labels: BTreeMap::new(), availability: Availability::Active, role: NodeRole::Worker };
    let status = NodeStatus::new(NodeState::Ready, "", "");
    let (description, role) = (NodeDescription::default(), NodeRole::Worker);
    // About as many bytes as etcd's benchmark writes.
    let certificate = "x".repeat(256);
    let node = Node {
        id,
        meta: Meta::default(),
        spec,
        description,
        status,
        role,
        manager: None,
        certificate,
        proven_key: None,
    };
    Transaction { changes: vec![Change::PutNode(Box::new(node))], at: Moment(1) }
}

async fn propose(store: Store, seed: u128, until: Instant) -> Vec<Duration> {
    let mut seed = Seed::new(seed);
    let mut took = Vec::new();
    while Instant::now() < until {
        let transaction = create_node(NodeId::new(seed.draw()));
        let started = Instant::now();
        store.propose(transaction).await.unwrap();
        took.push(started.elapsed());
    }
    took
}

async fn round(store: &Store, proposers: u128) {
    let span = Duration::from_secs(5);
    let until = Instant::now() + span;
    let tasks = (0..proposers).map(|number| tokio::spawn(propose(store.clone(), number << 64 | proposers, until)));
    let mut took = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took.extend(task.await.unwrap());
    }
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    let rate = took.len() as f64 / span.as_secs_f64();
    println!("{proposers:>5} proposers: {rate:>8.0}/s, p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
}

/// Bare append and sync of as many bytes on the same disk, for comparison.
fn floor(dir: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(dir.join("floor")).unwrap();
    file.write_all_at(&vec![0; 4 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let mut took: Vec<Duration> = (0..2000u64)
        .map(|number| {
            let started = Instant::now();
            file.write_all_at(&[7; 512], number * 512).unwrap();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("bare 512-byte write and fdatasync: p50 {:?}, p99 {:?}", took[1000], took[1980]);
}

fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn main() {
    let base =
        std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("skep-bench-raft-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    floor(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, proposals) = Store::new();
        let started = Instant::now();
        let raft =
            Raft::start(dir.join("raft").as_path(), Birth::Found, store.clone(), proposals, (Options::default(), None))
                .unwrap();
        raft.leadership().wait_for(|leadership| leadership.is_leader).await.unwrap();
        println!("empty directory to leading: {:?}", started.elapsed());
        for proposers in [1, 64, 1_000] {
            round(&store, proposers).await;
        }
        // A snapshot may still be written.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = processor();
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!("idle for 3 s: {:?} of processor time", processor() - before);
        raft.shutdown().await;
        let count = store.read().nodes().count();
        let (store, proposals) = Store::new();
        let started = Instant::now();
        let raft =
            Raft::start(dir.join("raft").as_path(), Birth::Found, store.clone(), proposals, (Options::default(), None))
                .unwrap();
        raft.leadership().wait_for(|leadership| leadership.is_leader).await.unwrap();
        println!("restart with {count} objects to leading: {:?}", started.elapsed());
        assert_eq!(store.read().nodes().count(), count);
        raft.shutdown().await;
    });
    std::fs::remove_dir_all(&dir).unwrap();
}
