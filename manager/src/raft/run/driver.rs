//! The thread: it recovers, waits, turns the machine, and goes read-only and back.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use raft::Config;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::super::disk::snapshot::{self, Loaded};
use super::super::disk::{RaftDir, wal};
use super::super::error::RaftError;
use super::super::log::{Log, founded_by};
use super::super::machine::Machine;
use super::super::pending::{Pending, answer};
use super::drain::logger;
use super::{Command, Leadership, Options, Status};
use crate::store::{Proposal, ProposeError, Store};

/// First wait before writing is tried again, and the longest: a full disk is freed by a person, a hiccup passes at once.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Where the thread's results go.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) store: Store,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) status: watch::Sender<Status>,
}

/// The member, or what is durable of it while nothing can be written.
#[derive(Debug)]
pub(super) enum Member {
    Up(Box<Machine>),
    ReadOnly { log: Log, reason: String, retry_at: Instant, wait: Duration },
}

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) dir: Arc<RaftDir>,
    pub(super) wires: Wires,
    pub(super) wal: wal::Wal,
    pub(super) member: Member,
    pub(super) pending: Pending,
    /// Index and term of the last applied entry.
    pub(super) applied: (u64, u64),
    pub(super) snapshot_bytes: u64,
    pub(super) snapshotting: Option<JoinHandle<()>>,
    /// No snapshot is begun before: the last one failed.
    pub(super) snapshot_after: Instant,
    options: Options,
    logger: slog::Logger,
}

impl Driver {
    /// Reads what is on disk into the store and begins a new log file.
    pub(super) fn recover(dir: RaftDir, wires: Wires, options: Options) -> Result<Self, RaftError> {
        let loaded = snapshot::read_newest(&dir)?;
        let mut past = wal::Past::read(&dir, loaded.is_some())?;
        let base = loaded.as_ref().map_or_else(|| founded_by(options.raft_id), |loaded| loaded.about.clone());
        let mut log = Log::new(base);
        for saved in std::mem::take(&mut past.saved) {
            log.set_hard_state(saved.hard_state);
            if !log.append(saved.entries) {
                return Err(RaftError::Gap { dir: dir.path().to_owned(), index: log.last() });
            }
        }
        if log.hard_state().commit > log.last() {
            return Err(RaftError::Gap { dir: dir.path().to_owned(), index: log.last() });
        }
        let (config, logger) = (config(options), logger());
        let machine =
            Machine::new(&config, log, &logger).map_err(|source| RaftError::Machine { action: "start", source })?;
        let wal = wal::Wal::begin(&dir, past)?;
        let applied = (machine.log().base().index, machine.log().base().term);
        let snapshot_bytes = loaded.map_or(0, |loaded| install(&wires.store, loaded));
        Ok(Self {
            dir: Arc::new(dir),
            wires,
            wal,
            member: Member::Up(Box::new(machine)),
            pending: Pending::default(),
            applied,
            snapshot_bytes,
            snapshotting: None,
            snapshot_after: Instant::now(),
            options,
            logger,
        })
    }

    /// Until a shutdown.
    pub(super) fn run(
        mut self,
        mut proposals: mpsc::Receiver<Proposal>,
        mut commands: mpsc::Receiver<Command>,
        tick: Duration,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime without an I/O driver asks the system for nothing");
        runtime.block_on(self.serve(&mut proposals, &mut commands, tick));
        self.pending.fail(&ProposeError::NotLeader);
        self.wires.leadership.send_replace(Leadership::default());
        drop((proposals, commands));
        if let Some(thread) = self.snapshotting.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot thread panicked");
        }
    }

    async fn serve(
        &mut self,
        proposals: &mut mpsc::Receiver<Proposal>,
        commands: &mut mpsc::Receiver<Command>,
        tick: Duration,
    ) {
        self.stand();
        let mut ticked = Instant::now();
        loop {
            let wake = self.wake_at(ticked + tick);
            // Commands and time go first: proposals may come without end.
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None | Some(Command::Shutdown) => return,
                    Some(Command::Snapshot(result)) => self.snapshotted(result),
                },
                () = sleep_until(wake.unwrap_or(ticked)), if wake.is_some() => {
                    ticked = Instant::now();
                    self.woken();
                }
                Some(first) = proposals.recv() => self.take_proposals(first, proposals),
            }
        }
    }

    /// When time alone is a reason to act. A member that is alone has nobody to tell that it lives, and sleeps until it is asked.
    fn wake_at(&self, next_tick: Instant) -> Option<Instant> {
        match &self.member {
            Member::Up(machine) => (!machine.is_alone()).then_some(next_tick),
            Member::ReadOnly { retry_at, .. } => Some(*retry_at),
        }
    }

    fn woken(&mut self) {
        match &mut self.member {
            Member::Up(machine) => {
                machine.tick();
                self.drive();
            }
            Member::ReadOnly { .. } => self.retry(),
        }
    }

    /// A member that is alone need not wait for an election.
    fn stand(&mut self) {
        if let Member::Up(machine) = &mut self.member
            && machine.is_alone()
            && let Err(error) = machine.campaign()
        {
            tracing::error!(%error, "failed to stand for election");
        }
        self.drive();
    }

    /// Nothing can be written: proposals are refused, reads go on, and writing is tried again. What the machine holds beyond the disk
    /// is forgotten, as if the process had died: those proposers are told that nothing was done.
    pub(super) fn go_read_only(&mut self, error: &RaftError) {
        let reason = skep_proto::chain::chain(error).to_string();
        let wait = match &self.member {
            Member::Up(_) => RETRY,
            Member::ReadOnly { wait, .. } => (*wait * 2).min(RETRY_MAX),
        };
        tracing::warn!(%reason, "read-only: the log cannot be written");
        self.pending.fail(&ProposeError::ReadOnly(reason.clone()));
        let empty = Member::ReadOnly { log: Log::default(), reason, retry_at: Instant::now() + wait, wait };
        let before = std::mem::replace(&mut self.member, empty);
        if let Member::ReadOnly { log, .. } = &mut self.member {
            *log = match before {
                Member::Up(machine) => machine.into_log(),
                Member::ReadOnly { log, .. } => log,
            };
        }
        self.report();
    }

    /// Begins a new file, because what the failed write left in the old one is unknown, and the member anew from what is durable.
    fn retry(&mut self) {
        let Member::ReadOnly { log, .. } = &mut self.member else { return };
        if let Err(error) = self.wal.reopen(&self.dir) {
            return self.go_read_only(&error);
        }
        match Machine::new(&config(self.options), log.clone(), &self.logger) {
            Ok(machine) => self.member = Member::Up(Box::new(machine)),
            Err(source) => return self.go_read_only(&RaftError::Machine { action: "start", source }),
        }
        self.stand();
        if let Member::Up(_) = self.member {
            tracing::info!("the log can be written again");
        }
    }

    /// Refuses a proposal while nothing can be written.
    pub(super) fn refuse(&self, proposal: Proposal) {
        if let Member::ReadOnly { reason, .. } = &self.member {
            answer(proposal.reply, Err(ProposeError::ReadOnly(reason.clone())));
        }
    }

    /// Publishes what changed, if anything did.
    pub(super) fn report(&self) {
        let (log, read_only) = match &self.member {
            Member::Up(machine) => (machine.log(), None),
            Member::ReadOnly { log, reason, .. } => (log, Some(reason.clone())),
        };
        let status = Status {
            raft_id: self.options.raft_id,
            term: log.hard_state().term,
            last_index: log.last(),
            applied: self.applied.0,
            snapshot: log.base().index,
            log_bytes: log.bytes(),
            read_only,
        };
        self.wires.status.send_replace(status);
        self.report_leadership();
    }

    /// A read-only member stays what it was: it can still be asked.
    fn report_leadership(&self) {
        let Member::Up(machine) = &self.member else { return };
        let term = machine.term();
        let now = Leadership { is_leader: machine.leads() && self.applied.1 == term, term };
        let changed = self.wires.leadership.send_if_modified(|there| std::mem::replace(there, now) != now);
        if changed {
            tracing::info!(raft.term = term, is_leader = now.is_leader, "leadership changed");
        }
        if changed && !now.is_leader {
            self.wires.store.forget_soft();
        }
    }
}

fn install(store: &Store, loaded: Loaded) -> u64 {
    store.install(loaded.state);
    loaded.bytes
}

fn config(options: Options) -> Config {
    let ticks = options.election.as_millis() / options.tick.as_millis().max(1);
    Config {
        id: options.raft_id,
        heartbeat_tick: 1,
        // The crate wants at least two.
        election_tick: usize::try_from(ticks).unwrap_or(usize::MAX / 2).max(2),
        check_quorum: true,
        pre_vote: true,
        // A message to a follower: a few hundred placements. More only delays heartbeats behind it.
        max_size_per_msg: 1 << 20,
        max_inflight_msgs: 256,
        // Entries handed over at once to be applied, in bytes: as much again is then kept in memory.
        max_committed_size_per_ready: 16 << 20,
        ..Config::default()
    }
}
