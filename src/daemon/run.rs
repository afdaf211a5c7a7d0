//! Starts and stops the daemon.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use skep_proto::pb::local_server::LocalServer;
use skep_runtime::{Runtime, RuntimeConfig};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::address::{self, Candidate};
use super::gate::{AuthorityGate, Gate};
use super::membership::{Membership, STOP_MAX, Setting};
use super::options::DaemonOptions;
use super::service::local::LocalService;
use super::{disk, metrics};
use crate::SHIM_WORD;
use crate::exit::Exit;
use crate::telemetry;

/// Threads for async work. Two keep a slow call from holding up the others; more would only cost memory, since nothing here
/// computes for long.
const THREADS: usize = 2;

/// Longest path of a socket. *Source*: unix(7), `sun_path` without its zero byte.
const SOCKET_PATH_MAX: usize = 107;

/// Largest message that the local socket takes: a part of a backup may hold one large object.
const MESSAGE_LEN_MAX: usize = 72 << 20;

/// The bridge that this node's containers hang on, and its network. Each daemon has a network namespace of its own or is alone.
const BRIDGE_NAME: &str = "skep0";
const BRIDGE_ADDRESS: (std::net::Ipv4Addr, u8) = (std::net::Ipv4Addr::new(172, 30, 0, 1), 16);

/// The nftables table that the runtime owns.
const NFT_TABLE: &str = "skep";

/// Runs a node until it is told to stop.
///
/// # Errors
/// With what kept it from starting.
pub(crate) fn main(options: &DaemonOptions) -> anyhow::Result<Exit> {
    if !nix::unistd::geteuid().is_root() {
        bail!("run a node: namespaces and cgroups need root; run it as root, or with sudo");
    }
    if options.background {
        // Leaves the terminal's session, so that closing the terminal does not end the node. Refused only to a process that
        // leads a group of its own, which has left already.
        let _ = nix::unistd::setsid();
    }
    telemetry::install(options.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    runtime.context("start the async runtime")?.block_on(run(options))
}

async fn run(options: &DaemonOptions) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for signals")?;
    let _lock = disk::lock(&options.data_dir)?;
    let _run_lock = disk::lock_run_dir(&options.run_dir)?;
    let runtime =
        Runtime::open(runtime_config(&options.data_dir, &options.run_dir, &options.checked_cgroup_parent()?)?).await?;
    let gate = Gate::closed("this daemon is starting");
    let setting = Setting {
        data_dir: options.data_dir.clone(),
        run_dir: options.run_dir.clone(),
        hostname: options.node_name()?,
        labels: options.labels()?,
        runtime: Arc::clone(&runtime),
        advertise: options.advertise_addr.clone(),
        managers: options.manager.iter().map(|text| address::remote(text)).collect::<anyhow::Result<_>>()?,
        gate: gate.clone(),
    };
    let socket = listen(&options.run_dir.join("skep.sock"))?;
    let stop = CancellationToken::new();
    let membership = Membership::resume(setting).await;
    let metrics = match options.metrics_addr {
        Some(address) => Some(metrics::serve(address, Arc::clone(&membership), stop.clone()).await?),
        None => None,
    };
    let local = LocalService { runtime: Arc::clone(&runtime), membership: Arc::clone(&membership) };
    let serving = tokio::spawn(serve(socket, local, gate, stop.clone()));
    tracing::info!(data_dir = %options.data_dir.display(), "the node is up");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the node is stopping; its containers go on");
    stop_all(&membership, &stop).await;
    serving.abort();
    if let Some(metrics) = metrics {
        metrics.abort();
    }
    remove_socket(&options.run_dir.join("skep.sock"))?;
    Ok(Exit::Done)
}

async fn stop_all(membership: &Membership, stop: &CancellationToken) {
    if tokio::time::timeout(STOP_MAX, membership.stop()).await.is_err() {
        tracing::warn!("the clean stop took too long; what was under way is taken up at the next start");
    }
    stop.cancel();
}

/// The runtime of a node with these directories.
fn runtime_config(data_dir: &Path, run_dir: &Path, cgroup_parent: &str) -> anyhow::Result<RuntimeConfig> {
    // The file that runs, not the name it was started by: an upgrade may have put another one there.
    let executable = Path::new("/proc/self/exe");
    Ok(RuntimeConfig {
        data_dir: data_dir.to_owned(),
        run_dir: run_dir.to_owned(),
        cgroup_parent: cgroup_parent.to_owned(),
        shim_command: vec![executable.into(), SHIM_WORD.into()],
        builtin_executable: fs::canonicalize(executable).unwrap_or_else(|_| executable.to_owned()),
        bridge_name: BRIDGE_NAME.to_owned(),
        bridge_address: BRIDGE_ADDRESS,
        nft_table: NFT_TABLE.to_owned(),
    })
}

/// Removes everything that a node with these directories left in this network namespace and on this machine but the
/// directories themselves. No daemon may run on them.
///
/// # Errors
/// With what could not be removed.
pub(crate) fn leave_no_trace(data_dir: &Path, run_dir: &Path, cgroup_parent: &str) -> anyhow::Result<()> {
    let config = runtime_config(data_dir, run_dir, cgroup_parent)?;
    let tokio =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the async runtime")?;
    tokio.block_on(async {
        let _lock = disk::lock(data_dir)?;
        let _run_lock = disk::lock_run_dir(run_dir)?;
        Runtime::open(config).await?.purge().await.context("remove the containers")
    })
}

/// Binds the local socket, which only root may use. A file left by a crash is in the way and goes: the lock says that nobody
/// listens on it.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        bail!(
            "listen on {}: the path of a socket has at most {SOCKET_PATH_MAX} bytes; use a shorter --run-dir",
            path.display()
        );
    }
    remove_socket(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("close {} to others", path.display()))?;
    Ok(listener)
}

fn remove_socket(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn serve(socket: UnixListener, local: LocalService, gate: Gate, stop: CancellationToken) {
    let authority = AuthorityGate(gate.clone());
    let local = LocalServer::new(local).max_decoding_message_size(MESSAGE_LEN_MAX);
    let server = Server::builder().add_service(local).add_service(gate).add_service(authority);
    let stopped = server.serve_with_incoming_shutdown(UnixListenerStream::new(socket), stop.cancelled()).await;
    if let Err(error) = stopped {
        tracing::error!(error = %skep_proto::chain::chain(&error), "the local socket is closed");
    }
}

/// Addresses of this machine, as seen from the daemon's network namespace.
///
/// # Errors
/// When they cannot be listed.
pub(crate) fn candidates() -> anyhow::Result<Vec<Candidate>> {
    let listed = nix::ifaddrs::getifaddrs().context("list this machine's addresses")?;
    let address = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    let own = |name: &str| name == BRIDGE_NAME;
    let found = listed.filter(|entry| !own(&entry.interface_name)).filter_map(|entry| {
        let address = address(entry.address?)?;
        Some(Candidate { interface: entry.interface_name, address })
    });
    Ok(found.collect())
}

/// The machine's address, if it has just one that others could use.
#[must_use]
pub(crate) fn only_address() -> Option<IpAddr> {
    let all = candidates().ok()?;
    let any = address::listen("").ok()?;
    address::advertise("", any, &all).ok().map(|address| address.ip())
}
