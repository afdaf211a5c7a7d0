//! Several members, their messages in any order or lost, their deaths at any write.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use skep_proto::model::{Moment, NodeId, Seed};
use tokio::sync::{mpsc, oneshot};

mod lost;

use super::*;
use crate::group::MemberChange;
use crate::store::fixture::{node, transaction};
use crate::store::{Change, Outcome, Proposal, ProposeError, Store};

/// Ticks after which anything that can come about has: some ten election times.
const PATIENCE: usize = 1_000;

struct Group {
    members: BTreeMap<u64, MemoryMember>,
    stores: BTreeMap<u64, Store>,
    disks: BTreeMap<u64, MemoryDisk>,
    /// On their way.
    parcels: Vec<Parcel>,
    /// Pairs that do not hear each other.
    cut: Vec<(u64, u64)>,
    seed: Seed,
    queues: Vec<mpsc::Receiver<Proposal>>,
    /// Highest index at which each term had a leader's entry: two leaders of a term would differ.
    leaders: BTreeMap<u64, u64>,
}

impl Group {
    fn new(seed: u128) -> Self {
        let mut group = Self {
            members: BTreeMap::new(),
            stores: BTreeMap::new(),
            disks: BTreeMap::new(),
            parcels: Vec::new(),
            cut: Vec::new(),
            seed: Seed::new(seed),
            queues: Vec::new(),
            leaders: BTreeMap::new(),
        };
        group.disks.insert(1, MemoryDisk::founded(1));
        group.start(1);
        group
    }

    /// A group of `count` voters.
    fn of(count: u64, seed: u128) -> Self {
        let mut group = Self::new(seed);
        for id in 2..=count {
            group.join(id);
        }
        group
    }

    fn start(&mut self, id: u64) {
        let (store, queue) = Store::new();
        self.queues.push(queue);
        let disk = self.disks.remove(&id).expect("it has a disk");
        self.members.insert(id, MemoryMember::start(disk, store.clone(), Seed::new(self.seed.draw())));
        self.stores.insert(id, store);
        self.drive(id, None);
    }

    fn kill(&mut self, id: u64) {
        let member = self.members.remove(&id).expect("it runs");
        self.disks.insert(id, member.into_disk());
        self.parcels.retain(|parcel| parcel.to != id);
    }

    fn join(&mut self, id: u64) {
        self.disks.insert(id, MemoryDisk::joined(id));
        self.start(id);
        self.change(MemberChange::AddLearner(id));
        self.change(MemberChange::Promote(id));
    }

    fn change(&mut self, change: MemberChange) {
        for _ in 0..PATIENCE {
            let leader = self.leader();
            let mut answer = self.members.get_mut(&leader).unwrap().change(change);
            self.drive(leader, None);
            for _ in 0..50 {
                self.round();
                if let Ok(Ok(())) = answer.try_recv() {
                    return;
                }
            }
        }
        panic!("{change:?} does not come about");
    }

    fn drive(&mut self, id: u64, crash: Option<CrashPoint>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (out, died) = member.drive(crash);
        self.parcels.extend(out);
        let leadership = member.group().leadership;
        if died {
            return self.kill(id);
        }
        if leadership.is_leader {
            let before = self.leaders.insert(leadership.term, id);
            assert!(before.is_none_or(|before| before == id), "two leaders in term {}", leadership.term);
        }
    }

    /// Delivers everything that is on its way, in an order of chance, and lets a tick pass.
    fn round(&mut self) {
        self.round_of(|_| true);
    }

    /// The same; what does not pass is lost.
    fn round_of(&mut self, passes: impl Fn(&Parcel) -> bool) {
        self.deliver_all(passes);
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            self.members.get_mut(&id).unwrap().tick();
            self.drive(id, None);
        }
    }

    fn deliver_all(&mut self, passes: impl Fn(&Parcel) -> bool) {
        for _ in 0..3 {
            let mut parcels = std::mem::take(&mut self.parcels);
            while !parcels.is_empty() {
                let chosen = usize::try_from(self.seed.draw() % parcels.len() as u128).unwrap();
                let parcel = parcels.swap_remove(chosen);
                if passes(&parcel) {
                    self.deliver(parcel);
                }
            }
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let (from, to, has_snapshot) = (parcel.from, parcel.to, parcel.has_snapshot());
        let arrives = self.members.contains_key(&to) && !self.cut.contains(&(from, to));
        if arrives {
            let out = self.members.get_mut(&to).unwrap().step(parcel);
            self.parcels.extend(out);
            self.drive(to, None);
        }
        if has_snapshot && let Some(sender) = self.members.get_mut(&from) {
            sender.snapshot_sent(to, arrives);
            self.drive(from, None);
        }
    }

    fn leader(&mut self) -> u64 {
        for _ in 0..PATIENCE {
            let newest = self.members.values().filter(|m| m.group().leadership.is_leader);
            if let Some(leader) = newest.max_by_key(|m| m.group().leadership.term) {
                return leader.raft_id();
            }
            self.round();
        }
        panic!("nobody comes to lead");
    }

    fn submit(&mut self, id: u64, number: Option<u128>, term: Option<u64>) -> oneshot::Receiver<Answer> {
        let answer = self.hand_in(id, number, term);
        self.drive(id, None);
        answer
    }

    /// The member is not driven: what follows shares the write.
    fn hand_in(
        &mut self,
        id: u64,
        numbers: impl IntoIterator<Item = u128>,
        term: Option<u64>,
    ) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let put = |number| transaction(Moment(1).0, vec![Change::PutNode(Box::new(node(number)))]);
        let proposal = Proposal { transactions: numbers.into_iter().map(put).collect(), term, reply };
        self.members.get_mut(&id).unwrap().propose(proposal);
        answer
    }

    /// Proposes until it is acknowledged.
    fn write(&mut self, number: u128) {
        for _ in 0..PATIENCE {
            let leader = self.leader();
            let mut answer = self.submit(leader, Some(number), None);
            for _ in 0..100 {
                self.round();
                match answer.try_recv() {
                    Ok(Ok(_)) => return,
                    Ok(Err(_)) => break,
                    Err(_) => {}
                }
            }
        }
        panic!("{number} is not acknowledged");
    }

    fn until_all_have(&mut self, number: u128) {
        for _ in 0..PATIENCE {
            if self.stores.iter().all(|(id, s)| !self.members.contains_key(id) || has(s, number)) {
                return;
            }
            self.round();
        }
        panic!("not all have {number}");
    }
}

type Answer = Result<Vec<Outcome>, ProposeError>;

fn has(store: &Store, number: u128) -> bool {
    store.read().node(NodeId::new(number)).is_some()
}

#[test]
fn proposals_of_one_write_are_one_entry_and_each_gets_its_own_outcomes() {
    let mut group = Group::of(3, 5);
    let leader = group.leader();
    let term = group.members[&leader].group().leadership.term;
    let mut answers = [
        group.hand_in(leader, [100, 101], None),
        group.hand_in(leader, [102], Some(term - 1)),
        group.hand_in(leader, [100], Some(term)),
        group.hand_in(leader, [103], None),
    ];
    group.drive(leader, None);
    group.until_all_have(103);
    let [both, stale, twice, last] = answers.each_mut().map(|answer| answer.try_recv().unwrap());
    let (both, last) = (both.unwrap(), last.unwrap());
    assert!(both.len() == 2 && both.iter().all(|one| one == &last[0]), "one index: {both:?}, {last:?}");
    assert!(matches!(twice.unwrap()[..], [Err(_)]), "it is there already");
    assert_eq!(stale, Err(ProposeError::NotLeader), "planned in an earlier term");
    assert!(group.stores.values().all(|store| !has(store, 102)));
}

#[test]
fn joiners_get_everything_and_vote() {
    let mut group = Group::of(3, 1);
    group.write(100);
    group.until_all_have(100);
    let leader = group.leader();
    let seen = group.members[&leader].group();
    assert_eq!(seen.voters().count(), 3);
    group.kill(leader);
    group.write(101);
    group.until_all_have(101);
}

#[test]
fn a_leader_that_is_gone_is_replaced_and_what_was_acknowledged_stays() {
    let mut group = Group::of(3, 2);
    for number in 100..110 {
        group.write(number);
        let leader = group.leader();
        group.kill(leader);
        group.write(number + 1_000);
        group.start(leader);
    }
    for number in (100..110).flat_map(|number| [number, number + 1_000]) {
        group.until_all_have(number);
    }
}

#[test]
fn a_member_far_behind_is_sent_the_state() {
    let mut group = Group::of(3, 3);
    let leader = group.leader();
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    group.kill(behind);
    for number in 100..200 {
        group.write(number);
    }
    let leader = group.leader();
    let member = group.members.get_mut(&leader).unwrap();
    member.snapshot();
    // As after a restart, when nothing from before the snapshot is in memory any more.
    group.kill(leader);
    group.start(leader);
    group.start(behind);
    group.until_all_have(199);
    assert_eq!(group.stores[&behind].read().nodes().count(), 100);
}

#[test]
fn a_cut_off_leader_acknowledges_nothing_and_comes_back_as_a_follower() {
    let mut group = Group::of(3, 4);
    let old = group.leader();
    for other in [1, 2, 3].into_iter().filter(|id| *id != old) {
        group.cut.extend([(old, other), (other, old)]);
    }
    let mut lost = group.submit(old, Some(500), None);
    let mut read = group.submit(old, None, None);
    for _ in 0..PATIENCE {
        group.round();
    }
    assert!(matches!(lost.try_recv(), Ok(Err(ProposeError::NotLeader))), "it finds out that it leads nobody");
    assert!(matches!(read.try_recv(), Ok(Err(ProposeError::NotLeader))), "nor does it answer reads");
    group.write(501);
    group.cut.clear();
    group.until_all_have(501);
    assert!(group.stores.values().all(|store| !has(store, 500)), "what nobody was told of may be gone");
    assert_ne!(group.leader(), old);
}

#[test]
fn a_read_waits_for_a_majority_and_a_plan_of_another_term_is_refused() {
    let mut group = Group::of(3, 5);
    let leader = group.leader();
    let mut read = group.submit(leader, None, None);
    assert!(read.try_recv().is_err(), "nobody has confirmed anything yet");
    let term = group.members[&leader].group().leadership.term;
    let mut stale = group.submit(leader, Some(700), Some(term - 1));
    assert_eq!(stale.try_recv(), Ok(Err(ProposeError::NotLeader)));
    let mut good = group.submit(leader, Some(701), Some(term));
    (0..20).for_each(|_| group.round());
    assert_eq!(read.try_recv(), Ok(Ok(Vec::new())));
    assert!(matches!(good.try_recv(), Ok(Ok(_))));
}

#[test]
fn only_a_leader_that_is_alone_reads_without_asking() {
    let mut group = Group::new(10);
    let at_once = |group: &Group, id: u64| group.stores[&id].barrier().now_or_never().is_some();
    assert!(at_once(&group, 1), "nobody else can have acknowledged anything");
    group.join(2);
    let leader = group.leader();
    assert!(!at_once(&group, 1) && !at_once(&group, 2), "the other one may lead by now");
    group.change(MemberChange::Remove(3 - leader));
    group.write(100);
    assert!(at_once(&group, leader) && !at_once(&group, 3 - leader));
}

#[test]
fn leadership_is_handed_over_within_a_few_messages() {
    let mut group = Group::of(3, 6);
    group.write(100);
    group.until_all_have(100);
    let before = group.leader();
    (0..20).for_each(|_| group.round());
    group.members.get_mut(&before).unwrap().transfer(None);
    group.drive(before, None);
    (0..5).for_each(|_| group.round());
    assert_ne!(group.leader(), before);
}

#[test]
fn a_broken_connection_to_the_leader_shortens_the_election_and_a_false_alarm_changes_nothing() {
    let mut group = Group::of(3, 7);
    (0..100).for_each(|_| group.round());
    let leader = group.leader();
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    group.members.get_mut(&others[0]).unwrap().lost(leader);
    (0..200).for_each(|_| group.round());
    assert_eq!(group.leader(), leader, "it still leads");
    group.kill(leader);
    others.iter().for_each(|id| group.members.get_mut(id).unwrap().lost(leader));
    let elected = |group: &Group| group.members.values().any(|member| member.group().leadership.is_leader);
    let rounds = (0..PATIENCE)
        .take_while(|_| {
            group.round();
            !elected(&group)
        })
        .count();
    assert!(rounds < 50, "an election time is 50 ticks, and it took {rounds}");
}

#[test]
fn the_last_member_leads_although_its_snapshot_knows_others() {
    let mut group = Group::of(2, 9);
    let last = group.leader();
    group.members.get_mut(&last).unwrap().snapshot();
    group.change(MemberChange::Remove(3 - last));
    group.write(100);
    group.kill(3 - last);
    group.kill(last);
    group.start(last);
    let member = &group.members[&last];
    assert!(member.leadership().is_leader && member.is_alone(), "without a tick, since one that is alone has none");
}

#[test]
fn a_leader_that_finds_itself_removed_steps_down() {
    let mut group = Group::of(3, 11);
    group.write(100);
    group.until_all_have(100);
    let before = group.leader();
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != before).collect();
    let (removed, left) = (others[0], others[1]);
    group.members.get_mut(&before).unwrap().change(MemberChange::Remove(removed));
    group.drive(before, None);
    // Both have it in their logs, and nobody knows that it is agreed on.
    group.round_of(|parcel| parcel.from == before);
    let term = group.members[&before].group().leadership.term;
    group.kill(before);
    others.iter().for_each(|id| group.members.get_mut(id).unwrap().lost(before));
    // It stands first and gets the other's vote.
    while group.members[&left].group().leadership.term == term {
        group.members.get_mut(&removed).unwrap().tick();
        group.drive(removed, None);
        group.deliver_all(|_| true);
    }
    (0..5).for_each(|_| group.round());
    group.start(before);
    group.write(101);
    assert!(has(&group.stores[&left], 101) && !group.members[&removed].leadership().is_leader);
}

#[test]
fn a_removed_member_disturbs_nobody() {
    let mut group = Group::of(3, 8);
    let leader = group.leader();
    let removed = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    group.change(MemberChange::Remove(removed));
    let term = group.members[&leader].group().leadership.term;
    (0..PATIENCE).for_each(|_| group.round());
    assert_eq!(group.members[&leader].group().leadership.term, term);
    assert_eq!(group.members[&leader].group().voters().count(), 2);
    group.write(100);
}

fn remnant(chance: u128) -> Remnant {
    let number = u64::try_from((chance >> 8) & u128::from(u64::MAX)).unwrap();
    match chance % 4 {
        0 => Remnant::Nothing,
        1 => Remnant::All,
        2 => Remnant::Pieces(number),
        _ => Remnant::Flipped(number % 4_096),
    }
}

/// Deaths at any write, torn writes, cuts that come and go: nothing acknowledged is lost, and it all ends well.
#[test]
fn whatever_happens_what_was_acknowledged_is_there_in_the_end() {
    for seed in 0..40 {
        let mut group = Group::of(3, 1_000 + seed);
        let mut acknowledged = Vec::new();
        let mut waiting: Vec<(u128, oneshot::Receiver<Answer>)> = Vec::new();
        for step in 0..400u128 {
            let chance = group.seed.draw();
            let id = u64::try_from(chance % 3).unwrap() + 1;
            match (chance >> 8) % 12 {
                0 if group.members.len() == 3 => {
                    let crash = CrashPoint { at_save: 0, remnant: remnant(chance >> 16) };
                    drop(group.members.contains_key(&id).then(|| group.submit(id, Some(90_000 + step), None)));
                    group.drive(id, Some(crash));
                }
                1 if group.members.len() == 3 => group.kill(id),
                2 => {
                    let other = u64::try_from((chance >> 24) % 3).unwrap() + 1;
                    group.cut.push((id, other));
                }
                3 => group.cut.clear(),
                4 | 5 => {
                    let dead: Vec<u64> = group.disks.keys().copied().collect();
                    dead.into_iter().for_each(|id| group.start(id));
                }
                6 if group.members.contains_key(&id) => group.members.get_mut(&id).unwrap().snapshot(),
                _ => {
                    let leads = group.members.values().find(|member| member.group().leadership.is_leader);
                    if let Some(leader) = leads.map(MemoryMember::raft_id) {
                        waiting.push((step + 1, group.submit(leader, Some(step + 1), None)));
                    }
                }
            }
            group.round();
            waiting.retain_mut(|(number, answer)| match answer.try_recv() {
                Ok(Ok(_)) => {
                    acknowledged.push(*number);
                    false
                }
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => false,
                Err(oneshot::error::TryRecvError::Empty) => true,
            });
        }
        group.cut.clear();
        let dead: Vec<u64> = group.disks.keys().copied().collect();
        dead.into_iter().for_each(|id| group.start(id));
        group.write(80_000);
        group.until_all_have(80_000);
        for number in &acknowledged {
            assert!(group.stores.values().all(|store| has(store, *number)), "seed {seed} lost {number}");
        }
        assert!(acknowledged.len() > 20, "seed {seed}: little was tried ({})", acknowledged.len());
    }
}
