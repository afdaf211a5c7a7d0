//! The shim's loop: reads output, takes commands, and writes down how it ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::guard::Guard;
use super::{now_ms, put, send};
use crate::cgroup;
use crate::container::Exit;
use crate::logs::disk::Writer;
use crate::logs::{Splitter, Stream};
use crate::shim::protocol::{Bundle, DATAGRAM_MAX, Failure, Identity, Reply, Request, State, file};
use crate::shim::sys;

/// Bytes of output taken at once. Half a pipe: the container can go on writing into the other half.
const READ_MAX: usize = 32 * 1024;

/// Connections at once; a further one is closed at once.
const CONNECTIONS_MAX: usize = 8;

/// What a pipe holds if the kernel does not say. *Source:* pipe(7).
const PIPE_BYTES: usize = 64 * 1024;

/// The init and the shim's ends of the pipes to it.
pub(super) struct Child {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
    pub(super) status: OwnedFd,
    pub(super) go: OwnedFd,
}

/// How far the container is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Making,
    Created,
    /// The word was given; this connection waits for the answer.
    Starting(usize),
    Started,
}

/// An output pipe; gone once it has ended.
struct Output {
    pipe: Option<OwnedFd>,
    splitter: Splitter,
}

pub(super) struct Shim {
    bundle: Bundle,
    state: State,
    phase: Phase,
    pidfd: OwnedFd,
    status: Option<OwnedFd>,
    go: OwnedFd,
    outputs: [Output; 2],
    writer: Writer,
    listener: OwnedFd,
    /// The first is the daemon's that started this shim. Closed ones stay as `None`, so that the others keep their places.
    connections: Vec<Option<OwnedFd>>,
    failure: Option<Failure>,
    buffer: Vec<u8>,
    guard: Option<Guard>,
}

/// What a descriptor belongs to.
#[derive(Clone, Copy)]
enum Source {
    Init,
    Status,
    Output(usize),
    Listener,
    Connection(usize),
    Guard,
}

impl Shim {
    pub(super) fn new(bundle: Bundle, child: Child, who: (Identity, Identity), sockets: (OwnedFd, OwnedFd)) -> Self {
        let output = |pipe, stream| Output { pipe: Some(pipe), splitter: Splitter::new(stream) };
        Self {
            writer: Writer::open(&bundle.log_dir),
            bundle,
            state: State { shim: who.0, init: who.1, started_ms: None },
            phase: Phase::Making,
            pidfd: child.pidfd,
            status: Some(child.status),
            go: child.go,
            outputs: [output(child.out, Stream::Stdout), output(child.err, Stream::Stderr)],
            listener: sockets.1,
            connections: vec![Some(sockets.0)],
            failure: None,
            buffer: vec![0; READ_MAX],
            guard: None,
        }
    }

    /// Until the container has ended.
    pub(super) fn run(mut self) -> ExitCode {
        if self.write_state().is_err() || self.unblock().is_err() || self.stand_guard().is_err() {
            return self.abandon();
        }
        loop {
            let Ok(ready) = self.wait() else { return self.abandon() };
            for source in ready {
                match source {
                    Source::Init => return self.finish(),
                    Source::Status => self.read_status(),
                    Source::Output(index) => self.read_output(index),
                    Source::Listener => self.accept(),
                    Source::Connection(index) => self.serve(index),
                    Source::Guard => self.watch_over(),
                }
            }
            if self.phase == Phase::Making && self.connections[0].is_none() {
                // Nobody will ever own it.
                return self.abandon();
            }
        }
    }

    /// The pipes must not block this side: at the end they are read until they are empty.
    fn unblock(&self) -> io::Result<()> {
        for pipe in self.outputs.iter().filter_map(|o| o.pipe.as_ref()) {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(())
    }

    fn stand_guard(&mut self) -> io::Result<()> {
        self.guard = self.bundle.tether.clone().map(Guard::new).transpose()?;
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let watched = self.watched();
        let mut polled: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        loop {
            match poll(&mut polled, None) {
                Err(Errno::INTR) => {}
                other => break other.map(drop)?,
            }
        }
        let ready = watched.iter().zip(&polled).filter(|(_, p)| !p.revents().is_empty());
        Ok(ready.map(|((source, _), _)| *source).collect())
    }

    /// Everything to wait for. The status comes before the init's end, so that a failure is known when that is handled.
    fn watched(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut all = Vec::with_capacity(6 + self.connections.len());
        all.extend(self.status.iter().map(|fd| (Source::Status, fd.as_fd())));
        all.push((Source::Init, self.pidfd.as_fd()));
        let outputs = self.outputs.iter().enumerate();
        all.extend(outputs.filter_map(|(i, o)| Some((Source::Output(i), o.pipe.as_ref()?.as_fd()))));
        all.extend(self.guard.iter().map(|guard| (Source::Guard, guard.timer())));
        all.push((Source::Listener, self.listener.as_fd()));
        let connections = self.connections.iter().enumerate();
        all.extend(connections.filter_map(|(i, c)| Some((Source::Connection(i), c.as_ref()?.as_fd()))));
        all
    }

    /// The init's word: `R` for ready, `F` and a failure, or the end of the pipe because `execve` closed it.
    fn read_status(&mut self) {
        let Some(pipe) = &self.status else { return };
        let mut message = [0; DATAGRAM_MAX];
        let length = rustix::io::read(pipe, &mut message).unwrap_or(0);
        match message[..length].split_first() {
            Some((b'R', _)) => {
                // Told by the shim and not by the init: the state file is there by now, and the daemon reads it next.
                self.phase = Phase::Created;
                self.tell(0, &Reply::Created);
            }
            Some((_, failure)) => self.failure = Failure::decode(failure),
            None => {
                self.status = None;
                self.started();
            }
        }
    }

    fn started(&mut self) {
        let Phase::Starting(index) = self.phase else { return };
        if self.failure.is_some() {
            return;
        }
        self.phase = Phase::Started;
        self.state.started_ms = Some(now_ms());
        let reply = match self.write_state() {
            Ok(()) => Reply::Done,
            Err(e) => Reply::Failed(Failure { text: format!("write the state file: {e}"), code: None }),
        };
        self.tell(index, &reply);
    }

    fn write_state(&self) -> io::Result<()> {
        put(file::STATE, &serde_json::to_vec(&self.state)?)
    }

    /// Takes what a stream has. Returns whether there may be more.
    fn take_output(&mut self, index: usize) -> bool {
        let output = &mut self.outputs[index];
        let Some(pipe) = &output.pipe else { return false };
        let mut records = Vec::new();
        let more = match rustix::io::read(pipe, &mut self.buffer[..]) {
            Ok(0) => false,
            Ok(length) => {
                output.splitter.push(&self.buffer[..length], now_ms(), &mut records);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(_) => false,
        };
        if !more {
            output.pipe = None;
        }
        // A full disk loses these lines; the container goes on.
        let _ = self.writer.append(&records);
        more
    }

    fn read_output(&mut self, index: usize) {
        self.take_output(index);
    }

    fn accept(&mut self) {
        let Ok(connection) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        if let Some(free) = self.connections.iter().skip(1).position(Option::is_none) {
            self.connections[free + 1] = Some(connection);
        } else if self.connections.len() < CONNECTIONS_MAX {
            self.connections.push(Some(connection));
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(connection) = &self.connections[index] else { return };
        let mut datagram = [0; 64];
        match rustix::net::recv(connection, &mut datagram[..], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok((length, _)) if length > 0 => match Request::decode(&datagram[..length]) {
                Some(request) => self.obey(index, request),
                None => self.refuse(index, "understand the request: this shim is older than the daemon"),
            },
            _ => self.connections[index] = None,
        }
    }

    fn obey(&mut self, index: usize, request: Request) {
        match request {
            Request::Start if self.phase == Phase::Created => self.start(index),
            Request::Start => self.refuse(index, "start the container: it is not in the state created"),
            Request::Signal(number) => match sys::send_signal(self.pidfd.as_fd(), number) {
                Ok(()) => self.tell(index, &Reply::Done),
                Err(e) => self.refuse(index, &format!("send signal {number}: {e}")),
            },
        }
    }

    /// Gives the init the word, unless the container's time is up. The guard looks first, so that no instant of the program goes
    /// unwatched.
    fn start(&mut self, index: usize) {
        if let Some(reason) = self.guard.as_ref().and_then(Guard::refuses) {
            return self.refuse(index, &reason);
        }
        self.phase = Phase::Starting(index);
        self.watch_over();
        let _ = rustix::io::write(&self.go, b"G");
    }

    fn watch_over(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.wake(self.pidfd.as_fd());
        }
    }

    fn tell(&self, index: usize, reply: &Reply) {
        if let Some(connection) = &self.connections[index] {
            send(connection, reply);
        }
    }

    fn refuse(&self, index: usize, text: &str) {
        self.tell(index, &Reply::Failed(Failure { text: text.to_owned(), code: None }));
    }

    /// The init has ended: its last output, its exit code, the record, and the word to whoever waits for one.
    fn finish(mut self) -> ExitCode {
        if self.status.is_some() && self.failure.is_none() {
            self.read_status();
        }
        let code = self.reap();
        if self.phase == Phase::Making && self.failure.is_none() {
            self.failure = Some(Failure { text: format!("the container's init ended with {code}"), code: None });
        }
        for index in 0..self.outputs.len() {
            let _drained = (0..self.last_reads(index)).all(|_| self.take_output(index));
        }
        let mut records = Vec::new();
        self.outputs.iter_mut().for_each(|o| o.splitter.finish(now_ms(), &mut records));
        let _ = self.writer.append(&records);
        let recorded = self.record(code);
        if let Some(failure) = self.failure.take() {
            let index = if let Phase::Starting(index) = self.phase { index } else { 0 };
            self.tell(index, &Reply::Failed(failure));
        }
        if recorded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Reads that empty a stream's pipe, which the container may have enlarged. Bounded, should a foreign process have got hold of
    /// the other end.
    fn last_reads(&self, index: usize) -> usize {
        let size = self.outputs[index].pipe.as_ref().and_then(|pipe| rustix::pipe::fcntl_getpipe_size(pipe).ok());
        size.unwrap_or(PIPE_BYTES) / READ_MAX + 2
    }

    fn record(&self, code: i32) -> io::Result<()> {
        let failure = self.failure.as_ref();
        let exit = Exit {
            code: failure.and_then(|f| f.code).unwrap_or(code),
            oom_killed: cgroup::oom_killed(&self.bundle.groups),
            at_ms: now_ms(),
            error: failure.map(|f| f.text.clone()).or_else(|| self.guard.as_ref().and_then(Guard::verdict)),
        };
        put(file::EXIT, &serde_json::to_vec(&exit)?)
    }

    /// Exit code, or 128 plus the signal's number.
    fn reap(&self) -> i32 {
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let Ok(Some(status)) = status else { return 255 };
        status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).unwrap_or(255)
    }

    /// Ends the container because the shim cannot go on; without a record the daemon finds that the shim failed.
    fn abandon(self) -> ExitCode {
        let _ = sys::send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = self.reap();
        ExitCode::FAILURE
    }
}
