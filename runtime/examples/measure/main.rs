//! Measures the runtime by itself, without images and network. As root:
//! `cargo run --release -p skep-runtime --example measure -- [warm|idle|parallel|memory|versus] [COUNT]`.
//!
//! - `warm`: create, start, exit and removal of `true`, one after the other; median and 95th percentile of each part.
//! - `idle`: the same with 100 ms of rest before each, when the kernel's locks are cold.
//! - `parallel`: COUNT containers created and started at once; the time until all run.
//! - `versus`: the whole of it beside crun and runc on the same bundle, in turn; see [`peer`].
//! - `memory`: proportional set size of the shims of COUNT running containers.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measuring tool: owns a clock and prints")]

mod meter;
mod peer;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meter::Meter;
use peer::Peer;
use skep_runtime::image::{Image, ImageConfig};
use skep_runtime::{ContainerId, ContainerSpec, Runtime, RuntimeConfig};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == "shim") {
        return skep_runtime::shim::main(&args[2..]);
    }
    let text = |n: usize| args.get(n).map(|a| a.to_string_lossy().into_owned());
    let mode = text(1).unwrap_or_else(|| "warm".to_owned());
    let count = text(2).and_then(|c| c.parse().ok()).unwrap_or(50);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio.expect("a runtime starts").block_on(measure(mode, count))
}

/// Whatever becomes of the measuring, nothing of it stays.
async fn measure(mode: String, count: usize) -> ExitCode {
    let root = std::env::temp_dir().join(name());
    let runtime = Runtime::open_bare(config(&root), image(&root)).await.expect("the runtime opens");
    let (lent, dir) = (Arc::clone(&runtime), root.clone());
    let done = tokio::spawn(async move { carry_out(&lent, &dir, &mode, count).await }).await;
    runtime.purge().await.expect("nothing stays");
    std::fs::remove_dir_all(&root).expect("the directory goes");
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn carry_out(runtime: &Arc<Runtime>, root: &Path, mode: &str, count: usize) {
    match mode {
        "parallel" => parallel(runtime, count).await,
        "memory" => memory(runtime, count).await,
        "versus" => {
            versus(runtime, root, count, Duration::ZERO).await;
            versus(runtime, root, count.div_ceil(4), Duration::from_millis(100)).await;
        }
        "idle" => sequence(runtime, count, Duration::from_millis(100)).await,
        _ => sequence(runtime, count, Duration::ZERO).await,
    }
}

/// Of everything that is made.
fn name() -> String {
    format!("skep-measure-{}", std::process::id())
}

fn config(root: &Path) -> RuntimeConfig {
    let executable = std::env::current_exe().expect("this program has a path");
    RuntimeConfig {
        data_dir: root.join("data"),
        run_dir: Path::new("/dev/shm").join(root.file_name().expect("it has a name")),
        cgroup_parent: format!("{}/containers", name()),
        shim_command: vec![executable.clone().into(), "shim".into()],
        builtin_executable: executable,
        bridge_name: "unused".to_owned(),
        bridge_address: (Ipv4Addr::LOCALHOST, 8),
        nft_table: "unused".to_owned(),
    }
}

/// A root filesystem that is busybox and nothing else.
fn image(root: &Path) -> Image {
    let layer = root.join("layer");
    // What every image has, so that nothing of it must be made in the writable layer.
    for dir in ["bin", "etc", "proc", "dev", "sys"] {
        std::fs::create_dir_all(layer.join(dir)).expect("the layer is made");
    }
    for file in ["hosts", "hostname", "resolv.conf"] {
        std::fs::write(layer.join("etc").join(file), "").expect("the layer is made");
    }
    std::fs::copy("/usr/bin/busybox", layer.join("bin/busybox")).expect("busybox is installed");
    for name in ["true", "sleep"] {
        std::os::unix::fs::symlink("busybox", layer.join("bin").join(name)).expect("a link is made");
    }
    Image {
        id: "sha256:measure".to_owned(),
        references: Vec::new(),
        layers: vec![layer],
        config: ImageConfig::default(),
        size_bytes: 0,
        created: String::new(),
        architecture: String::new(),
        os: String::new(),
    }
}

fn spec(command: &[&str]) -> ContainerSpec {
    ContainerSpec { args: command.iter().map(|a| (*a).to_owned()).collect(), ..ContainerSpec::default() }
}

fn id(number: usize) -> ContainerId {
    ContainerId::new(format!("c{number}")).expect("letters and digits")
}

async fn sequence(runtime: &Arc<Runtime>, count: usize, rest: Duration) {
    let mut parts: [Vec<Duration>; 5] = Default::default();
    for number in 0..count + 5 {
        tokio::time::sleep(rest).await;
        let id = id(number);
        let begin = Instant::now();
        runtime.create(id.clone(), spec(&["true"])).await.expect("it is made");
        let created = Instant::now();
        runtime.start(&id).await.expect("it starts");
        let started = Instant::now();
        runtime.wait(&id).await.expect("it ends");
        let ended = Instant::now();
        runtime.remove(&id).await.expect("it goes");
        let removed = Instant::now();
        // The first few warm caches up.
        if number >= 5 {
            let spans = [created - begin, started - created, ended - started, removed - ended, removed - begin];
            parts.iter_mut().zip(spans).for_each(|(part, span)| part.push(span));
        }
    }
    for (name, part) in ["create", "start", "exit", "remove", "total"].iter().zip(&mut parts) {
        part.sort_unstable();
        println!("{name:8} median {:>8.2?}  p95 {:>8.2?}", part[part.len() / 2], part[part.len() * 95 / 100]);
    }
}

/// Ours and theirs in turn, each first as often as the others, because what runs first finds other caches. The tenth percentile says
/// what a quiet machine would take when this one is not.
async fn versus(runtime: &Arc<Runtime>, root: &Path, count: usize, rest: Duration) {
    let (meter, parent) = (Meter::new(&name()), name());
    let peers = ["crun", "runc"].map(|name| Peer::new(name, root, &root.join("layer"), &parent));
    let mut runs: [Vec<Run>; 3] = Default::default();
    // The first few warm caches up.
    for number in 0..3 * (count + 2) {
        tokio::time::sleep(rest).await;
        let side = (number + number / 3) % 3;
        let (begin, used) = (Instant::now(), meter.used());
        match side.checked_sub(1) {
            None => whole(runtime, &id(number)).await,
            Some(peer) => peers[peer].run(&format!("c{number}")),
        }
        if number >= 6 {
            runs[side].push(Run { wall: begin.elapsed(), processor: meter.used() - used });
        }
    }
    print_versus(&runs, rest);
}

/// What one container's whole life took.
struct Run {
    wall: Duration,
    processor: Duration,
}

fn print_versus(runs: &[Vec<Run>; 3], rest: Duration) {
    let filter = if peer::has_profile() { "with" } else { "WITHOUT" };
    println!("create, start, exit, delete; {rest:?} of rest before each; theirs {filter} a system call filter");
    let sorted = |side: usize, of: fn(&Run) -> Duration| {
        let mut times: Vec<Duration> = runs[side].iter().map(of).collect();
        times.sort_unstable();
        times
    };
    for (what, of) in [("wall", (|run| run.wall) as fn(&Run) -> Duration), ("processor", |run| run.processor)] {
        let ours = sorted(0, of);
        for (side, name) in ["skep", "crun", "runc"].iter().enumerate() {
            let times = sorted(side, of);
            let at = |percent: usize| times[times.len() * percent / 100];
            let ratio = |percent: usize| at(percent).as_secs_f64() / ours[ours.len() * percent / 100].as_secs_f64();
            let (median, tenth, p95) = (at(50), at(10), at(95));
            let (of_medians, of_tenths) = (ratio(50), ratio(10));
            println!(
                "{what:9} {name:4} median {median:>8.2?} ({of_medians:.2} times ours)  p10 {tenth:>8.2?} ({of_tenths:.2})  p95 {p95:>8.2?}"
            );
        }
    }
}

/// The whole life of one container.
async fn whole(runtime: &Arc<Runtime>, id: &ContainerId) {
    runtime.create(id.clone(), spec(&["true"])).await.expect("it is made");
    runtime.start(id).await.expect("it starts");
    runtime.wait(id).await.expect("it ends");
    runtime.remove(id).await.expect("it goes");
}

async fn all_at_once(runtime: &Arc<Runtime>, count: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let runtime = Arc::clone(runtime);
        tasks.spawn(async move {
            runtime.create(id(number), spec(&["sleep", "1000"])).await.expect("it is made");
            runtime.start(&id(number)).await.expect("it starts");
        });
    }
    tasks.join_all().await;
}

async fn parallel(runtime: &Arc<Runtime>, count: usize) {
    for round in 0..5 {
        let begin = Instant::now();
        all_at_once(runtime, count).await;
        let running = begin.elapsed();
        let mut removals = tokio::task::JoinSet::new();
        for number in 0..count {
            let runtime = Arc::clone(runtime);
            removals.spawn(async move { runtime.remove(&id(number)).await.expect("it goes") });
        }
        removals.join_all().await;
        println!("round {round}: {count} running after {running:.1?}, all removed after {:.1?}", begin.elapsed());
    }
}

async fn memory(runtime: &Arc<Runtime>, count: usize) {
    all_at_once(runtime, count).await;
    let mut sizes: Vec<(u64, u64)> = runtime.list().iter().filter_map(|c| shim_of(c.pid?)).map(sizes_kib).collect();
    sizes.sort_unstable();
    let (pss, rss) = sizes[sizes.len() / 2];
    println!("{} shims: median PSS {pss} KiB, RSS {rss} KiB", sizes.len());
}

fn shim_of(init: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn sizes_kib(pid: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("Pss:"), field("Rss:"))
}
