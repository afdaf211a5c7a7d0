//! The process of the agents: joins each as its own node, over TLS with a key of its own, and runs it until told to end.
#![expect(clippy::print_stdout, reason = "tells the manager's process that all nodes have joined")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use skep_agent::identity::client::{JoinOrder, join};
use skep_agent::sim::{SimConfig, SimExecutor};
use skep_agent::sys::Executor;
use skep_agent::{Agent, AgentConfig};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

/// Nodes that join at the same time: enough to keep both processes busy.
const JOINS_MAX: usize = 32;

/// Runs `COUNT` agents of the manager at `ADDRESS` until standard input ends.
pub(crate) async fn run(words: &[String]) -> anyhow::Result<()> {
    let [address, token, count] = words else { bail!("start the agents: give ADDRESS TOKEN COUNT") };
    let dir = tempfile::Builder::new().prefix("skep-agents-").tempdir_in("/dev/shm")?;
    let agents = start_all(address, token, count.parse()?, dir.path()).await?;
    println!("joined");
    let _ = tokio::io::stdin().read(&mut [0]).await;
    drop(agents);
    Ok(())
}

async fn start_all(address: &str, token: &str, count: usize, dir: &Path) -> anyhow::Result<Vec<Agent>> {
    let (mut joining, mut agents) = (JoinSet::new(), Vec::with_capacity(count));
    for number in 0..count {
        if joining.len() == JOINS_MAX {
            agents.extend(joining.join_next().await.transpose()?.transpose()?);
        }
        joining.spawn(start(address.to_owned(), token.to_owned(), dir.join(number.to_string()), number));
    }
    while let Some(agent) = joining.join_next().await {
        agents.push(agent??);
    }
    Ok(agents)
}

async fn start(address: String, token: String, data_dir: PathBuf, number: usize) -> anyhow::Result<Agent> {
    let executor = Arc::new(SimExecutor::new(SimConfig { hostname: format!("sim-{number}"), ..SimConfig::default() }));
    let order = JoinOrder { description: executor.describe().await?, ..JoinOrder::new(&address, &token)? };
    let identity = join(&order).await.with_context(|| format!("join node {number}"))?.identity;
    let config = AgentConfig {
        vault: skep_agent::vault::Vault::at(&data_dir),
        named: Vec::new(),
        data_dir,
        identity: Arc::new(identity),
        managers: vec![address],
        address: String::new(),
        hostname: None,
        labels: std::collections::BTreeMap::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Agent::start(config, executor).await?)
}
