//! A machine of its own for each test: the test's thread moves into a new network namespace, and containers are further ones.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use skep_runtime::network::{Lease, Network, NetworkConfig};
use skep_runtime::{ContainerId, Protocol, PublishedPort};

/// Time for one connection attempt, and for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Moves the thread into a namespace of its own, or says why it cannot.
pub(crate) fn machine() -> bool {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            run("ip link set lo up");
            true
        }
        Err(error) => {
            assert!(std::env::var_os("SKEP_REQUIRE_ALL").is_none(), "cannot make a network namespace: {error}");
            println!("SKIP: cannot make a network namespace: {error}");
            false
        }
    }
}

/// Runs a command line and returns its output; fails the test when it fails.
pub(crate) fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// A network as a daemon would make it.
pub(crate) fn network() -> Network {
    Network::new(NetworkConfig {
        bridge_name: "sktest0".into(),
        bridge_address: (Ipv4Addr::new(10, 99, 0, 1), 24),
        nft_table: "sktest".into(),
    })
}

/// A published TCP port that leads to port 80.
pub(crate) fn tcp(published: u16) -> PublishedPort {
    PublishedPort { published, target: 80, protocol: Protocol::Tcp }
}

/// A published UDP port that leads to port 80.
pub(crate) fn udp(published: u16) -> PublishedPort {
    PublishedPort { protocol: Protocol::Udp, ..tcp(published) }
}

/// A network namespace held open by a file.
#[derive(Clone)]
pub(crate) struct Netns(pub Arc<File>);

impl Netns {
    /// A new, empty one.
    pub(crate) fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(Arc::new(std::thread::spawn(make).join().unwrap()))
    }

    /// Runs `work` inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let enter = || {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            };
            scope.spawn(enter).join().unwrap()
        })
    }

    /// A path by which other programs find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// A neighbour machine 192.168.77.2, linked to this one, which is 192.168.77.1 and its gateway.
    pub(crate) fn outside() -> Self {
        let netns = Self::new();
        run(&format!("ip link add out0 type veth peer name eth0 netns {}", netns.path()));
        run("ip addr add 192.168.77.1/24 dev out0 && ip link set out0 up");
        netns.inside(|| {
            run("ip addr add 192.168.77.2/24 dev eth0 && ip link set eth0 up && ip link set lo up");
        });
        netns
    }
}

/// A container with a server that answers its name on port 80, TCP and UDP.
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) netns: Netns,
    pub(crate) lease: Lease,
}

impl Container {
    /// Leases, attaches and serves.
    pub(crate) fn start(network: &Network, name: &'static str) -> Self {
        let (id, netns) = (ContainerId::new(name).unwrap(), Netns::new());
        let lease = network.lease(&id).unwrap();
        network.attach(&id, netns.0.as_fd(), lease).unwrap();
        netns.inside(|| serve(name));
        Self { id, netns, lease }
    }
}

/// Starts servers in the thread's namespace that live as long as the test's process.
pub(crate) fn serve(name: &'static str) {
    let listener = TcpListener::bind("0.0.0.0:80").unwrap();
    let socket = UdpSocket::bind("0.0.0.0:80").unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, name));
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

/// Answers the name at once and again for each byte that comes.
fn answer(mut stream: TcpStream, name: &str) {
    let mut byte = [0];
    while stream.write_all(name.as_bytes()).is_ok() && stream.read_exact(&mut byte).is_ok() {}
}

/// Connects and returns who answered, or nothing.
pub(crate) fn call(address: Ipv4Addr, port: u16) -> Option<String> {
    open(address, port).map(|(name, _)| name)
}

/// Connects and returns who answered, with the open connection.
pub(crate) fn open(address: Ipv4Addr, port: u16) -> Option<(String, TcpStream)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddrV4::new(address, port).into(), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some((hear(&mut stream)?, stream))
}

/// Reads a name.
pub(crate) fn hear(stream: &mut TcpStream) -> Option<String> {
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer).ok().filter(|&n| n > 0)?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// Sends one datagram from `socket` and returns who answered.
pub(crate) fn ask(socket: &UdpSocket, address: Ipv4Addr, port: u16) -> Option<String> {
    let mut buffer = [0; 64];
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(b"?", (address, port)).ok()?;
    let count = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// How many of `count` connections each container answered.
pub(crate) fn spread(address: Ipv4Addr, port: u16, count: usize) -> [usize; 2] {
    let answers: Vec<_> = (0..count).map(|_| call(address, port)).collect();
    ["a", "b"].map(|name| answers.iter().filter(|answer| answer.as_deref() == Some(name)).count())
}
