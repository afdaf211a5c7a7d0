//! The shim's process from its first line to its last.
#![expect(clippy::disallowed_methods, reason = "driver: owns the container's process, its clock and its files")]

mod guard;
mod init;
mod nursery;
mod supervise;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

use super::protocol::{self, Bundle, Failure, Identity, PIECE_MAX, Reply, file, start_ticks};
use super::sys::{self, Cloned};
use crate::cgroup::{self, Version};
use init::Init;
use nursery::{Heritage, Order};
use supervise::{Child, Shim};

/// Connections that may wait to be accepted; the daemon opens one, a person with a debugging tool another.
const BACKLOG: i32 = 4;

/// Bytes of a process's `stat` that are looked at: a name and some fifty numbers, of which the last ones do not matter.
const STAT_MAX: usize = 1024;

/// Runs the nursery; standard input is the socket that orders come from. Returns when the daemon is gone; in a shim, when its
/// container has ended; in a container's init, if that could not become the program.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    let ([], Ok(orders)) = (args, nursery::open()) else { return ExitCode::from(2) };
    nursery::serve(orders).map_or(ExitCode::SUCCESS, |(order, heritage)| shim(order, heritage))
}

/// From the shim's birth on.
fn shim(order: Order, heritage: Heritage) -> ExitCode {
    let Order { dir, control } = order;
    sys::mind_children();
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"skep:shim");
    match receive(&control).map_err(failed("read the bundle")).and_then(|bundle| make(&dir, bundle, heritage)) {
        Ok(Made::Init(init)) => init.run(),
        Ok(Made::Shim(made)) => hold(made.0, made.1, control),
        Err(failure) => {
            send(&control, &Reply::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// Which process this is after the clone.
enum Made {
    Init(Box<Init>),
    Shim(Box<(Bundle, Child)>),
}

/// A failure of making the container, with what was done.
fn failed(what: &str) -> impl Fn(io::Error) -> Failure {
    move |e| Failure { text: format!("{what}: {e}"), code: None }
}

/// The bundle, whose parts are the first that the daemon sends.
fn receive(control: &OwnedFd) -> io::Result<Bundle> {
    let (mut bundle, mut datagram) = (Vec::new(), vec![0; PIECE_MAX + 1]);
    loop {
        let receive = || rustix::net::recv(control, &mut datagram[..], RecvFlags::empty());
        let (length, _) = rustix::io::retry_on_intr(receive)?;
        match protocol::add_piece(&mut bundle, &datagram[..length]) {
            Some(true) => return Ok(serde_json::from_slice(&bundle)?),
            Some(false) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn make(dir: &Path, bundle: Bundle, heritage: Heritage) -> Result<Made, Failure> {
    rustix::process::chdir(dir).map_err(io::Error::from).map_err(failed("enter the run directory"))?;
    let (joins, unified) = make_groups(&bundle)?;
    let pipes = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(failed("make a pipe"));
    let (out, err, status, go) = (pipes()?, pipes()?, pipes()?, pipes()?);
    match sys::clone_init(unified.as_ref().map(AsFd::as_fd)).map_err(failed("clone the container's init"))? {
        Cloned::Child => {
            let (out, err, status, go, files) = (out.1, err.1, status.1, go.0, Vec::new());
            let init = Init { bundle, heritage, joins, out, err, status, go, files };
            Ok(Made::Init(Box::new(init)))
        }
        Cloned::Parent(pid, pidfd) => {
            let child = Child { pid, pidfd, out: out.0, err: err.0, status: status.0, go: go.1 };
            Ok(Made::Shim(Box::new((bundle, child))))
        }
    }
}

/// Makes the groups. Returns the v1 files to join through, and the v2 group to be born in.
fn make_groups(bundle: &Bundle) -> Result<(Vec<File>, Option<OwnedFd>), Failure> {
    let (mut joins, mut unified) = (Vec::new(), None);
    let told = |e: &dyn std::error::Error| {
        let cause = e.source().map(|c| format!(": {c}")).unwrap_or_default();
        Failure { text: format!("{e}{cause}"), code: None }
    };
    for group in &bundle.groups {
        cgroup::make(group).map_err(|e| told(&e))?;
        match group.version {
            Version::V1 => joins.push(cgroup::join_file(group).map_err(|e| told(&e))?),
            Version::V2 => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = rustix::fs::openat(CWD, &group.dir, flags, Mode::empty()).map_err(io::Error::from);
                unified = Some(dir.map_err(failed("open the container's cgroup"))?);
            }
        }
    }
    Ok((joins, unified))
}

/// The shim after the clone. The id goes out first: the daemon attaches the network while the init makes its root.
fn hold(bundle: Bundle, child: Child, control: OwnedFd) -> ExitCode {
    send(&control, &Reply::Cloned(child.pid));
    let prepared = identity(child.pid).and_then(|init| Ok((init, identity(std::process::id())?, listen()?)));
    match prepared {
        Ok((init, shim, listener)) => Shim::new(bundle, child, (shim, init), (control, listener)).run(),
        Err(e) => {
            let _ = sys::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
            send(&control, &Reply::Failed(failed("prepare the shim")(e)));
            ExitCode::FAILURE
        }
    }
}

fn identity(pid: u32) -> io::Result<Identity> {
    let mut stat = [0; STAT_MAX];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut stat)?;
    let start_ticks = start_ticks(&String::from_utf8_lossy(&stat[..length])).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Identity { pid, start_ticks })
}

fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // Relative to the run directory, where this process is: a longer path might not fit into an address.
    rustix::net::bind(&socket, &SocketAddrUnix::new(file::SOCKET)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Tells the other side. If it is gone, the files tell whoever comes next.
fn send(to: &OwnedFd, reply: &Reply) {
    let _ = rustix::net::send(to, &reply.encode(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Puts a file of the run directory there whole or not at all. It is not synced: what a reboot takes, it takes with the container.
fn put(name: &str, contents: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.new");
    fs::write(&temporary, contents)?;
    fs::rename(&temporary, name)
}
