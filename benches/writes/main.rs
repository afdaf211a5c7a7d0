//! Committed writes a second over gRPC, at 1, 64 and 1,000 clients: of skep's API or of etcd's, for `benches/raft`, which starts both.
//! `writes skep SOCKET CLIENTS SECONDS` or `writes etcd HOST:PORT CLIENTS SECONDS` prints the rate and the latencies in microseconds.
//!
//! Each client waits for its answer before it writes again. Both write something new each time: skep a service, which is checked,
//! named, indexed and looked at by the loops; etcd a key with a value of as many bytes.
#![expect(clippy::print_stdout, reason = "a measuring tool: prints what it measured")]

mod etcd;
mod skep;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// Connections that the clients share: one has a limit of streams at a time, and more than that many only cost both sides time.
const CONNECTIONS_MAX: usize = 8;

/// A way to write.
#[derive(Clone)]
enum Way {
    Skep(Box<skep::Writer>),
    Etcd(etcd::Writer),
}

impl Way {
    async fn write(&mut self, key: String) -> anyhow::Result<()> {
        match self {
            Self::Skep(writer) => writer.write(key).await,
            Self::Etcd(writer) => writer.write(key).await,
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match tokio.map_err(anyhow::Error::from).and_then(|tokio| tokio.block_on(run(&words))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[String]) -> anyhow::Result<()> {
    let [side, place, clients, seconds] = words else { bail!("measure: give skep|etcd PLACE CLIENTS SECONDS") };
    let (clients, seconds): (usize, u64) = (clients.parse()?, seconds.parse()?);
    let mut ways = Vec::new();
    for _ in 0..clients.min(CONNECTIONS_MAX) {
        ways.push(match side.as_str() {
            "skep" => Way::Skep(Box::new(skep::Writer::new(place).await?)),
            "etcd" => Way::Etcd(etcd::Writer::new(place).await?),
            other => bail!("measure {other}: give skep or etcd"),
        });
    }
    let took = measure(&ways, clients, Duration::from_secs(seconds)).await?;
    ensure!(!took.is_empty(), "write anything in {seconds} s");
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_micros();
    println!("{} {} {}", took.len() as u64 / seconds, at(50), at(99));
    Ok(())
}

/// How long each write took, sorted.
async fn measure(ways: &[Way], clients: usize, span: Duration) -> anyhow::Result<Vec<Duration>> {
    let (mut writers, until) = (JoinSet::new(), Instant::now() + span);
    let round = std::process::id();
    for (client, way) in (0..clients).zip(ways.iter().cycle()) {
        writers.spawn(write_until(way.clone(), format!("w{round}-{clients}-{client}"), until));
    }
    let mut took = Vec::new();
    while let Some(one) = writers.join_next().await {
        took.extend(one??);
    }
    took.sort_unstable();
    Ok(took)
}

async fn write_until(mut way: Way, name: String, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        way.write(format!("{name}-{}", took.len())).await.context("write")?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

/// A connection, of which the host name only has to be well-formed.
async fn tcp(address: &str) -> anyhow::Result<Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("connect to {address}"))
}
