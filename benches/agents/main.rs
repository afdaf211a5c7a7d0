//! The whole manager under many nodes: real Raft on a disk, real gRPC over mutual TLS on loopback; only the containers are
//! simulated. `cargo run --release --example agents -- [AGENTS] [TASKS_PER_AGENT] [IDLE_SECONDS]`, by default 500, 100 and 10.
//!
//! Two processes, so that the manager's memory and CPU time are its own: this one is the manager, the other holds all the
//! agents. Both share this machine's processors; in a real cluster the agents have their own. The agents' task lists lie in
//! memory (/dev/shm), because in a real cluster five thousand nodes do not share one disk either.
//!
//! [`manager`] founds the cluster and asks for tasks, [`nodes`] is the other process, [`process`] reads what processes use.
#![expect(clippy::print_stdout, reason = "a measuring tool: prints what it measured")]

mod manager;
mod nodes;
mod process;

use std::process::ExitCode;

/// The binary's own: what is measured is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The word that makes this program the process of the agents.
const NODES_WORD: &str = "nodes";

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Nodes.
    pub(crate) agents: usize,
    /// Tasks of each.
    pub(crate) tasks_each: usize,
    /// How long to watch the cluster at rest.
    pub(crate) idle_s: u64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    process::raise_file_limit();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = tokio.map_err(anyhow::Error::from).and_then(|tokio| match words.split_first() {
        Some((word, rest)) if word == NODES_WORD => tokio.block_on(nodes::run(rest)),
        _ => tokio.block_on(manager::measure(size(&words))),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn size(words: &[String]) -> Size {
    let number = |place: usize, default| words.get(place).and_then(|word| word.parse().ok()).unwrap_or(default);
    Size { agents: number(0, 500), tasks_each: number(1, 100), idle_s: u64::try_from(number(2, 10)).unwrap_or(10) }
}
