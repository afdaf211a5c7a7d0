//! Numbers for Prometheus, at the address that `--metrics-addr` names: plain HTTP, one page, nothing secret.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use skep_runtime::ContainerStatus;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::membership::Membership;

/// Scrapers served at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 8;

/// A connection that says nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// What one page is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Containers on this node, by status.
    pub containers: BTreeMap<&'static str, u64>,
    /// Only on a manager.
    pub cluster: Option<ClusterSample>,
}

/// What a manager adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterSample {
    /// It leads.
    pub leader: bool,
    /// Raft index of the last entry applied.
    pub applied_index: u64,
    /// Nodes, by state.
    pub nodes: BTreeMap<&'static str, u64>,
    /// Tasks, by observed state.
    pub tasks: BTreeMap<&'static str, u64>,
    /// Services.
    pub services: u64,
}

/// The page in Prometheus' text format.
#[must_use]
pub(crate) fn page(sample: &Sample) -> String {
    let mut text = String::new();
    family(&mut text, "skep_node_containers", "Containers on this node by status.", "status", &sample.containers);
    let Some(cluster) = &sample.cluster else { return text };
    single(&mut text, "skep_manager_leader", "Whether this manager leads.", u64::from(cluster.leader));
    single(&mut text, "skep_raft_applied_index", "Last log entry applied.", cluster.applied_index);
    single(&mut text, "skep_manager_services", "Services.", cluster.services);
    family(&mut text, "skep_manager_nodes", "Nodes by state.", "state", &cluster.nodes);
    family(&mut text, "skep_manager_tasks", "Tasks by observed state.", "state", &cluster.tasks);
    text
}

fn single(text: &mut String, name: &str, help: &str, value: u64) {
    write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n").expect("a string takes everything");
}

fn family(text: &mut String, name: &str, help: &str, label: &str, values: &BTreeMap<&'static str, u64>) {
    write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n").expect("a string takes everything");
    for (key, value) in values {
        writeln!(text, "{name}{{{label}=\"{key}\"}} {value}").expect("a string takes everything");
    }
}

/// Serves the page until `stop`.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) async fn serve(
    address: SocketAddr,
    membership: Arc<Membership>,
    stop: CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("serve metrics at {address}"))?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    Ok(tokio::spawn(async move {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            // A connection that broke before it was accepted concerns nobody else.
            let Ok((stream, _)) = accepted else { continue };
            let membership = Arc::clone(&membership);
            tokio::spawn(async move {
                answer(stream, membership).await;
                drop(place);
            });
        }
    }))
}

async fn answer(stream: TcpStream, membership: Arc<Membership>) {
    let service = service_fn(move |_| {
        let membership = Arc::clone(&membership);
        async move {
            let mut response = Response::new(Full::new(Bytes::from(page(&sample(&membership).await))));
            let kind = "text/plain; version=0.0.4".parse().expect("a constant header value");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            Ok::<_, Infallible>(response)
        }
    });
    // A scraper that goes away in mid-answer comes again.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn sample(membership: &Membership) -> Sample {
    let mut containers = BTreeMap::from([("created", 0), ("running", 0), ("exited", 0)]);
    for info in membership.setting().runtime.list() {
        let status = match info.status {
            ContainerStatus::Created => "created",
            ContainerStatus::Running => "running",
            ContainerStatus::Exited => "exited",
        };
        *containers.entry(status).or_default() += 1;
    }
    Sample { containers, cluster: membership.cluster_sample().await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_page_has_its_containers_only() {
        let sample = Sample { containers: BTreeMap::from([("running", 3)]), cluster: None };
        let text = page(&sample);
        assert!(text.contains("# TYPE skep_node_containers gauge\nskep_node_containers{status=\"running\"} 3\n"));
        assert!(!text.contains("manager"));
    }

    #[test]
    fn a_managers_page_counts_tasks_by_state() {
        let cluster =
            ClusterSample { leader: true, tasks: BTreeMap::from([("failed", 2)]), ..ClusterSample::default() };
        let text = page(&Sample { cluster: Some(cluster), ..Sample::default() });
        assert!(text.contains("skep_manager_leader 1\n") && text.contains("skep_manager_tasks{state=\"failed\"} 2\n"));
    }
}
