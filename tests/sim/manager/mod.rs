//! A manager: its place in the Raft group, its store, and while it leads the product's loops and sessions over it.

mod dispatch;
mod door;
mod group;
mod loops;
mod term;

use std::collections::BTreeMap;

use skep_manager::group::{Group, Leadership, MemberChange};
use skep_manager::raft::testing::{CrashPoint, MemoryDisk, Parcel};
use skep_manager::store::{Store, Subscription, Touched, Transaction};
use skep_proto::model::{Moment, NodeId, SteadyTime};
use skep_proto::pb;

use super::consensus::{Input, Round, Seat};
use super::queue::{ConnId, Event, Loop, Owner, Result, Side};
use super::stage::Stage;
use super::time::{BootClock, MS, SECOND, Us, WallClock, count};
use super::{place, raft_id};
pub(crate) use term::{Lead, Term};

/// A manager.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) place: usize,
    pub(crate) clock: WallClock,
    /// Millionths that its steady clock is quick.
    pub(crate) error: i64,
    /// The node that it is part of.
    pub(crate) node: NodeId,
    /// It gave its place up, or lost it, for ever.
    pub(crate) is_retired: bool,
    pub(crate) life: u32,
    /// `None` while it is down.
    pub(crate) daemon: Option<Daemon>,
    /// What is durable of its log while it is down.
    pub(crate) disk: Option<MemoryDisk>,
    /// It dies in the middle of its next round.
    pub(crate) dies: Option<CrashPoint>,
    /// Or only cannot write for a while.
    pub(crate) survives: bool,
    /// Nothing moves before then.
    pub(crate) frozen_until: Us,
    /// Every write of its log is slow before then.
    pub(crate) slow_until: Us,
}

/// A manager that is up.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) store: Store,
    /// For the world: what was touched since it last looked.
    watch: Subscription,
    pub(crate) seat: Seat,
    /// A round of its Raft thread is due.
    is_armed: bool,
    /// How long that takes.
    took: Us,
    /// What it last heard of who leads.
    told: Leadership,
    /// News of that are on their way to it.
    is_being_told: bool,
    pub(crate) term: Option<Term>,
    /// How often it has begun to lead.
    begun: u64,
    /// Streams that wait for somebody to lead.
    held: BTreeMap<ConnId, (NodeId, pb::Hello)>,
    started: (Us, Moment),
    error: i64,
    time: SteadyTime,
}

impl Manager {
    pub(crate) fn new(place: usize, node: NodeId, disk: MemoryDisk) -> Self {
        let (clock, disk) = (WallClock::default(), Some(disk));
        Self {
            place,
            clock,
            error: 0,
            node,
            is_retired: false,
            life: 0,
            daemon: None,
            disk,
            dies: None,
            survives: false,
            frozen_until: 0,
            slow_until: 0,
        }
    }

    /// Starts over what is on disk. `false`: it runs already.
    pub(crate) fn start(&mut self, stage: &mut Stage) -> bool {
        let Some(disk) = self.disk.take() else { return false };
        stage.note(format_args!("manager {} starts", self.place));
        self.life += 1;
        let (store, _) = Store::new();
        let watch = store.subscribe();
        let seat = Seat::start(disk, &store, stage.chance.seed());
        let started = (stage.now, self.clock.wall(stage.now));
        self.daemon = Some(Daemon {
            store,
            watch,
            seat,
            is_armed: false,
            took: 0,
            told: Leadership::default(),
            is_being_told: false,
            term: None,
            begun: 0,
            held: BTreeMap::new(),
            started,
            error: self.error,
            time: SteadyTime::new(count(stage.now), started.1),
        });
        true
    }

    /// Dies. Its streams break. `false`: it was not up.
    pub(crate) fn crash(&mut self, stage: &mut Stage) -> bool {
        let Some(daemon) = self.daemon.take() else { return false };
        stage.note(format_args!("manager {} is killed", self.place));
        self.life += 1;
        self.dies = None;
        self.disk = Some(daemon.seat.into_disk());
        stage.hang_up(Side::Manager, self.place, true);
        true
    }

    /// A write failed. If it survives that, it is read-only until its disk has room again; gives what those who waited are told.
    pub(crate) fn survive(&mut self, stage: &mut Stage) -> Option<Vec<(Owner, Lead, Result)>> {
        let daemon = self.daemon.as_mut().filter(|_| self.survives)?;
        stage.note(format_args!("manager {} is read-only", self.place));
        daemon.seat.stall(stage.chance.seed(), daemon.told);
        let most = stage.chance.pick(&[SECOND, 5 * SECOND]).unwrap_or(SECOND);
        let delay = if stage.rules.is_quiet { SECOND } else { stage.chance.between(100 * MS, most) };
        stage.after(delay, Event::Revive(self.place, self.life));
        Some(daemon.seat.answers())
    }

    /// Gives its Raft thread something. `at_once`: it costs no write, so that the round may be made now if none is due; says whether
    /// it is to be.
    pub(crate) fn give(&mut self, stage: &mut Stage, input: Input, at_once: bool) -> bool {
        let Some(daemon) = &mut self.daemon else { return false };
        daemon.seat.take(input);
        if daemon.is_armed || at_once {
            return !daemon.is_armed;
        }
        self.arm(stage);
        false
    }

    /// A round is to be made, if none is due. Most of its time is that of the disk.
    fn arm(&mut self, stage: &mut Stage) {
        let Some(daemon) = self.daemon.as_mut().filter(|daemon| !daemon.is_armed) else { return };
        daemon.is_armed = true;
        let is_slow = self.slow_until > stage.now;
        let usual = stage.chance.delay(2 * MS, stage.rules.sync_max);
        daemon.took = if is_slow { stage.chance.between(200 * MS, SECOND) } else { usual };
        stage.after(daemon.took, Event::Drive(self.place, self.life));
    }

    /// A round of its Raft thread.
    pub(crate) fn round(&mut self, now: Us, crash: Option<CrashPoint>) -> Option<Round> {
        let daemon = self.daemon.as_mut()?;
        daemon.is_armed = false;
        let took = std::mem::take(&mut daemon.took);
        Some(daemon.seat.round(now, took, crash))
    }

    /// A round of one input; for the time before anything else happens.
    pub(crate) fn hand(&mut self, input: Input) -> Vec<Parcel> {
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        daemon.seat.take(input);
        daemon.seat.round(0, 0, None).parcels
    }

    /// Changes the group; likewise.
    pub(crate) fn change(&mut self, change: MemberChange) {
        if let Some(daemon) = &mut self.daemon {
            daemon.seat.change(change);
        }
    }

    /// Proposes for one of its loops, whose proposals count in their term only, or for the user.
    pub(crate) fn propose(&mut self, stage: &mut Stage, owner: Owner, transactions: Vec<Transaction>) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(lead) = daemon.term.as_ref().map(|term| term.lead) else { return };
        daemon.seat.propose(owner, lead, owner.is_loop(), transactions);
        self.arm(stage);
    }

    /// It is a member of the group, as far as it knows.
    pub(crate) fn is_member(&self) -> bool {
        let group = self.daemon.as_ref().map(|daemon| daemon.seat.group());
        group.is_some_and(|group| group.member(raft_id(self.place)).is_some())
    }

    /// It knows of a group, and of no leader of it, or has no vote in it: the others may have gone on without it.
    pub(crate) fn is_astray(&self) -> bool {
        let group = self.daemon.as_ref().map(|daemon| daemon.seat.group()).filter(|group| !group.members.is_empty());
        let votes = |group: &Group| group.member(raft_id(self.place)).is_some_and(|member| member.is_voter);
        group.is_some_and(|group| !votes(&group) || group.leadership.leader.is_none())
    }

    /// Who leads, as its Raft member knows.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        self.daemon.as_ref().map(|daemon| daemon.seat.leadership())
    }

    /// Its Raft member knows more of that than the rest of it has heard.
    pub(crate) fn is_news(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.seat.leadership() != daemon.told)
    }

    /// The rest of it is to be told; `false`: somebody is on the way already.
    pub(crate) fn will_hear(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| !std::mem::replace(&mut daemon.is_being_told, true))
    }

    /// Hears who leads: begins or ends its term, and serves the streams that waited for the news.
    pub(crate) fn lead(&mut self, stage: &mut Stage) {
        let Some(daemon) = &mut self.daemon else { return };
        let now = daemon.seat.leadership();
        (daemon.told, daemon.is_being_told) = (now, false);
        let mine = daemon.term.as_ref().map(|term| term.lead.term);
        if mine.is_some_and(|term| !now.is_leader || term != now.term) {
            self.end_term(stage);
        }
        let Some(daemon) = &mut self.daemon else { return };
        if now.is_leader && daemon.term.is_none() {
            stage.note(format_args!("manager {} leads in term {}", self.place, now.term));
            daemon.begun += 1;
            let lead = Lead { manager: self.place, term: now.term, begun: daemon.begun };
            let mut term = Term::new(lead, &daemon.store, daemon.steady(stage.now));
            term.begin(stage);
            daemon.term = Some(term);
        }
        if now.leader.is_some() {
            let waiting: Vec<ConnId> = daemon.held.keys().copied().collect();
            waiting.into_iter().for_each(|conn| self.waited(stage, conn));
        }
    }

    /// Where the leader is, as far as it has heard.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leader = self.daemon.as_ref()?.told.leader?;
        place(leader)
    }

    /// A proposal's outcome reaches its owner.
    pub(crate) fn replied(&mut self, stage: &mut Stage, owner: Owner, result: Result) {
        match owner {
            Owner::Orchestrator => self.orchestrated(stage, result),
            Owner::Scheduler => self.placed(stage, &result),
            Owner::Allocator => self.allocated(stage, result),
            Owner::Carrier => self.carried(stage, &result),
            Owner::Contact => self.testified(stage, &result),
            Owner::Membership => self.stepped(stage, &result),
            Owner::Admit(conn) => self.confirmed(stage, conn, &result),
            Owner::User(_) | Owner::Read(_) | Owner::Join | Owner::Seat(..) => {}
        }
    }

    /// Wakes whoever in this manager is concerned by what was applied; gives what was touched.
    pub(crate) fn wake(&mut self, stage: &mut Stage) -> Touched {
        let Some(daemon) = &mut self.daemon else { return Touched::default() };
        let touched = daemon.watch.take();
        if let Some(term) = daemon.term.as_mut().filter(|_| !touched.is_empty()) {
            for which in [Loop::Orchestrator, Loop::Scheduler, Loop::Allocator, Loop::Keeper] {
                term.arm_soon(stage, which);
            }
            if touched.all || !touched.nodes.is_empty() {
                term.arm_soon(stage, Loop::Membership);
            }
            term.arm_sessions(stage, &touched.assignments);
        }
        touched
    }

    /// The time by which this manager plans.
    pub(super) fn time(&mut self, stage: &Stage) -> Moment {
        let wall = self.wall(stage);
        self.daemon.as_mut().map_or(wall, |daemon| daemon.time.now(count(stage.now), wall))
    }

    /// The wall clock of this machine.
    pub(crate) fn wall(&self, stage: &Stage) -> Moment {
        self.clock.wall(stage.now)
    }
}

impl Daemon {
    /// The clock that never jumps, on which deadlines hang.
    pub(crate) fn steady(&self, now: Us) -> Moment {
        let (booted, wall) = self.started;
        wall + BootClock { booted, error: self.error }.uptime(now)
    }
}
