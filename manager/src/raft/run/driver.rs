//! The thread: it recovers, waits, turns the member, and goes read-only and back.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::super::disk::snapshot;
use super::super::disk::{RaftDir, wal};
use super::super::error::RaftError;
use super::super::log::Log;
use super::super::member::Member;
use super::super::net::Links;
use super::super::pending::answer;
use super::super::stall::Stall;
use super::begin::{TICKS_A_HEARTBEAT, install, machine, recovered_log, settled};
use super::drain::logger;
use super::shore::Shore;
use super::{Command, Options, Status};
use crate::group::{Group, Leadership, Predecessor};
use crate::store::{Over, Proposal, ProposeError, Store};

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
    pub(super) group: watch::Sender<Group>,
}

/// The member, or what is durable of it while nothing can be written.
#[derive(Debug)]
pub(super) enum Condition {
    Up(Box<Member>),
    /// Without `retry_at` for good: its part is over.
    ReadOnly {
        log: Box<Log>,
        applied: (u64, u64),
        reason: String,
        retry_at: Option<Instant>,
        wait: Duration,
    },
}

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shore: Shore,
    pub(super) wires: Wires,
    pub(super) member: Condition,
    pub(super) snapshot_bytes: u64,
    pub(super) snapshotting: Option<JoinHandle<()>>,
    /// No snapshot is begun before: the last one failed.
    pub(super) snapshot_after: Instant,
    /// The newest snapshot, or the one on its way, was begun under the key that files are begun under now.
    pub(super) is_anew: bool,
    pub(super) begun: Instant,
    pub(super) stall: Stall,
    pub(super) options: Options,
    pub(super) raft_id: u64,
    ticks: u32,
    /// The leader that this member follows or followed last, and when it was last heard.
    followed: Option<(u64, Instant)>,
    logger: slog::Logger,
}

impl Driver {
    /// Reads what is on disk into the store and begins a new log file.
    pub(super) fn recover(
        dir: Arc<RaftDir>,
        wires: Wires,
        options: Options,
        links: Option<Links>,
    ) -> Result<Self, RaftError> {
        let (raft_id, logger) = (dir.member.raft_id, logger());
        let loaded = snapshot::read_newest(&dir)?;
        let mut past = wal::Past::read(&dir, loaded.is_some())?;
        let log = recovered_log(&dir, loaded.as_ref(), &mut past)?;
        let begun = log.snapshot_about();
        let applied = (begun.index, begun.term);
        let options = settled(loaded.as_ref(), &log).unwrap_or(options);
        let machine = machine(raft_id, options, log, applied.0, &logger)?;
        let wal = wal::Wal::begin(&dir, past)?;
        let snapshot_bytes = loaded.map_or(0, |loaded| install(&wires.store, loaded));
        let member = Member::new(raft_id, machine, wires.store.clone(), applied);
        let now = Instant::now();
        Ok(Self {
            shore: Shore::new(dir, wal, links),
            wires,
            member: Condition::Up(Box::new(member)),
            snapshot_bytes,
            snapshotting: None,
            snapshot_after: now,
            is_anew: false,
            begun: now,
            stall: Stall::default(),
            options,
            raft_id,
            ticks: 0,
            followed: None,
            logger,
        })
    }

    /// Until a shutdown.
    pub(super) fn run(mut self, mut proposals: mpsc::Receiver<Proposal>, mut commands: mpsc::Receiver<Command>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime without an I/O driver asks the system for nothing");
        runtime.block_on(self.serve(&mut proposals, &mut commands));
        self.wires.leadership.send_replace(Leadership::default());
        self.wires.group.send_replace(Group::default());
        drop((proposals, commands));
        if let Condition::Up(member) = self.member {
            drop(member.into_log(&ProposeError::NotLeader));
        }
        if let Some(thread) = self.snapshotting.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot thread panicked");
        }
    }

    async fn serve(&mut self, proposals: &mut mpsc::Receiver<Proposal>, commands: &mut mpsc::Receiver<Command>) {
        let mut ticked = Instant::now();
        let mut over = self.wires.store.watch_over();
        let mut ended = over.borrow_and_update().clone();
        loop {
            if let Some(over) = ended.take() {
                self.part(&over);
            }
            let wake = self.wake_at(ticked + self.options.heartbeat / TICKS_A_HEARTBEAT);
            // Time goes first: the others may come without end. What waits of both is then taken together, so that neither starves.
            tokio::select! {
                biased;
                Ok(()) = over.changed() => ended = over.borrow_and_update().clone(),
                () = sleep_until(wake.unwrap_or(ticked)), if wake.is_some() => {
                    ticked = Instant::now();
                    self.woken();
                }
                command = commands.recv() => match command {
                    None => return,
                    Some(command) => if self.round(Some(command), None, commands, proposals) { return },
                },
                Some(first) = proposals.recv() => if self.round(None, Some(first), commands, proposals) { return },
            }
        }
    }

    /// When time alone is a reason to act. A member that is alone has nobody to tell that it lives, and sleeps until it is asked.
    fn wake_at(&self, next_tick: Instant) -> Option<Instant> {
        match &self.member {
            Condition::Up(member) => (!member.machine().is_alone()).then_some(next_tick),
            Condition::ReadOnly { retry_at, .. } => *retry_at,
        }
    }

    fn woken(&mut self) {
        match &mut self.member {
            Condition::Up(member) => {
                member.machine_mut().tick();
                self.ticks = self.ticks.wrapping_add(1);
                self.drive();
                if self.ticks.is_multiple_of(TICKS_A_HEARTBEAT) {
                    self.report_group(true);
                }
            }
            Condition::ReadOnly { .. } => self.retry(),
        }
    }

    /// Nothing can be written: proposals are refused, reads go on, and writing is tried again. What the machine holds beyond the disk
    /// is forgotten, as if the process had died: those proposers are told that nothing was done.
    pub(super) fn go_read_only(&mut self, error: &RaftError) {
        let reason = skep_proto::chain::chain(error).to_string();
        let wait = match &self.member {
            Condition::Up(_) => RETRY,
            Condition::ReadOnly { wait, .. } => (*wait * 2).min(RETRY_MAX),
        };
        tracing::warn!(%reason, "read-only: the log cannot be written");
        self.lay_down(&ProposeError::ReadOnly(reason.clone()), reason, (Some(Instant::now() + wait), wait));
    }

    /// This member votes, leads and hears no more, whatever its own group makes of it.
    fn part(&mut self, over: &Over) {
        if matches!(self.member, Condition::ReadOnly { retry_at: None, .. }) {
            return;
        }
        let reason = match over {
            Over::Era { .. } => "the cluster was made anew without it",
            Over::Seat => "it was taken out of the group of managers",
        };
        tracing::warn!(reason, "this manager takes no part in its group any more");
        self.lay_down(&ProposeError::NotLeader, reason.to_owned(), (None, RETRY));
    }

    /// Keeps what is durable of the member and nothing else, and says so.
    fn lay_down(&mut self, error: &ProposeError, reason: String, retry: (Option<Instant>, Duration)) {
        self.take_apart(error, reason, retry);
        self.report();
    }

    fn take_apart(&mut self, error: &ProposeError, reason: String, (retry_at, wait): (Option<Instant>, Duration)) {
        let empty = Condition::ReadOnly { log: Box::default(), applied: (0, 0), reason, retry_at, wait };
        let before = std::mem::replace(&mut self.member, empty);
        if let Condition::ReadOnly { log, applied, .. } = &mut self.member {
            (*log, *applied) = match before {
                Condition::Up(member) => {
                    let applied = member.applied();
                    (Box::new(member.into_log(error)), applied)
                }
                Condition::ReadOnly { log, applied, .. } => (log, applied),
            };
        }
    }

    /// Begins a new file, because what the failed write left in the old one is unknown, and the member anew from what is durable.
    fn retry(&mut self) {
        if let Err(error) = self.shore.reopen() {
            return self.go_read_only(&error);
        }
        self.begin_anew();
        if let Condition::Up(_) = self.member {
            tracing::info!("the log can be written again");
        }
    }

    /// The member anew from what is durable.
    fn begin_anew(&mut self) {
        let Condition::ReadOnly { log, applied, .. } = &self.member else { return };
        let (log, applied) = (Log::clone(log), *applied);
        match machine(self.raft_id, self.options, log, applied.0, &self.logger) {
            Ok(machine) => {
                let member = Member::new(self.raft_id, machine, self.wires.store.clone(), applied);
                self.member = Condition::Up(Box::new(member));
            }
            Err(error) => return self.go_read_only(&error),
        }
        self.drive();
    }

    /// A joiner that nobody told how members behave finds it in the state that it is sent, and is another machine with the same log.
    pub(super) fn behave(&mut self) {
        let settled = self.wires.store.read().cluster().map(|cluster| Options::from(cluster.spec.raft));
        let Some(settled) = settled.filter(|settled| *settled != self.options) else { return };
        tracing::info!(heartbeat = ?settled.heartbeat, election = ?settled.election, "this member behaves as its cluster settled it");
        self.options = settled;
        if let Condition::Up(_) = self.member {
            self.take_apart(&ProposeError::NotLeader, String::new(), (Some(Instant::now()), RETRY));
            self.begin_anew();
        }
    }

    /// Refuses a proposal while nothing can be written; reads go on.
    pub(super) fn refuse(&self, proposal: Proposal) {
        let Condition::ReadOnly { reason, .. } = &self.member else { return };
        let alone = self.wires.leadership.borrow().is_leader;
        let answered = if proposal.transactions.is_empty() && alone {
            Ok(Vec::new())
        } else {
            Err(ProposeError::ReadOnly(reason.clone()))
        };
        answer(proposal.reply, answered);
    }

    /// Publishes what changed, if anything did.
    pub(super) fn report(&self) {
        let (log, applied, read_only) = match &self.member {
            Condition::Up(member) => (member.machine().log(), member.applied(), None),
            Condition::ReadOnly { log, applied, reason, .. } => (&**log, *applied, Some(reason.clone())),
        };
        let status = Status {
            raft_id: self.raft_id,
            term: log.hard_state().term,
            last_index: log.last(),
            applied: applied.0,
            snapshot: log.snapshot_about().index,
            log_bytes: log.bytes_behind(),
            options: self.options,
            read_only,
        };
        self.wires.status.send_replace(status);
        self.report_group(false);
        self.report_leadership();
    }

    /// How far members are changes all the time: it is told with the ticks only, everything else at once.
    pub(super) fn report_group(&self, ticked: bool) {
        let Condition::Up(member) = &self.member else { return };
        let now = member.group();
        self.wires.group.send_if_modified(|there| {
            let news = if ticked { *there != now } else { differs(there, &now) };
            if news {
                *there = now;
            }
            news
        });
    }

    /// Whom a leader succeeds is found out once, when it comes to lead.
    fn succeeding(&self, there: Leadership, now: Leadership) -> Leadership {
        let before = match self.followed {
            _ if !now.is_leader => None,
            _ if there.is_leader && there.term == now.term => there.before,
            followed => followed.map(|(raft_id, at)| Predecessor { raft_id, silent: at.elapsed() }),
        };
        Leadership { before, ..now }
    }

    /// After messages of other members, of whom `from` is one: whether it is the leader that this one follows.
    pub(super) fn note_leader(&mut self, from: u64) {
        let Condition::Up(member) = &self.member else { return };
        if member.machine().leader() == Some(from) && from != self.raft_id {
            self.followed = Some((from, Instant::now()));
        }
    }

    /// A member that cannot write and is alone stays what it was: it can still be asked. Others elect another leader.
    fn report_leadership(&self) {
        let there = *self.wires.leadership.borrow();
        let now = match &self.member {
            Condition::Up(member) => self.succeeding(there, member.leadership()),
            Condition::ReadOnly { retry_at: Some(_), .. } if self.wires.group.borrow().members.len() < 2 => there,
            Condition::ReadOnly { .. } => Leadership { is_leader: false, leader: None, ..there },
        };
        if there == now {
            return;
        }
        self.wires.leadership.send_replace(now);
        tracing::info!(raft.term = now.term, is_leader = now.is_leader, leader = ?now.leader, "leadership");
        if there.is_leader && !now.is_leader {
            self.wires.store.forget_soft();
        }
    }
}

/// Who belongs to it or leads it is another.
fn differs(there: &Group, now: &Group) -> bool {
    let members = |group: &Group| group.members.iter().map(|m| (m.id, m.is_voter)).collect::<Vec<_>>();
    there.leadership != now.leadership || members(there) != members(now)
}
