//! Disks that lost what was acknowledged: an older copy is put back in place of what there was.

use super::*;

impl Group {
    /// Puts an older copy of a member's disk back, kills the member and starts it with that.
    fn set_back(&mut self, id: u64, copy: MemoryDisk) {
        self.kill(id);
        self.disks.insert(id, copy);
        self.start(id);
    }

    /// What is on a member's disk now.
    fn copy(&mut self, id: u64) -> MemoryDisk {
        self.kill(id);
        let copy = self.disks[&id].clone();
        self.start(id);
        copy
    }

    fn others(&mut self) -> Vec<u64> {
        let leader = self.leader();
        [1, 2, 3].into_iter().filter(|id| *id != leader).collect()
    }
}

#[test]
fn a_member_that_was_set_back_gets_everything_again_under_the_same_leader() {
    for seed in 0..20 {
        let mut group = Group::of(3, 2_000 + seed);
        group.write(100);
        group.until_all_have(100);
        let victim = group.others()[0];
        let copy = group.copy(victim);
        for number in 101..110 {
            group.write(number);
        }
        group.until_all_have(109);
        let leader = group.leader();
        if leader == victim {
            continue;
        }
        group.set_back(victim, copy);
        group.until_all_have(109);
        assert_eq!(group.leader(), leader, "nobody else had to lead for that");
        group.write(200);
        group.until_all_have(200);
    }
}

#[test]
fn a_leader_that_was_set_back_follows_the_one_that_has_everything() {
    let mut group = Group::of(3, 11);
    let old = group.leader();
    let copy = group.copy(old);
    for number in 100..120 {
        group.write(number);
    }
    group.until_all_have(119);
    group.set_back(old, copy);
    group.until_all_have(119);
    group.write(200);
    group.until_all_have(200);
}

/// The one that never had it and the one that has it no more are a majority. It must not elect anybody.
#[test]
fn one_that_was_set_back_helps_nobody_to_lead_who_lacks_what_it_lost() {
    let mut group = Group::of(3, 12);
    group.write(100);
    group.until_all_have(100);
    let (leader, others) = (group.leader(), group.others());
    let (victim, behind) = (others[0], others[1]);
    let copy = group.copy(victim);
    assert_eq!(group.leader(), leader);
    group.kill(behind);
    group.write(101);
    group.until_all_have(101);
    // It hears of its loss, and its leader dies before it can send anything.
    group.set_back(victim, copy);
    let mut rounds = 0..PATIENCE;
    while !group.members.get_mut(&victim).unwrap().found_a_loss() {
        rounds.next().expect("its leader remembers");
        group.round_of(|parcel| !parcel.has_entries());
    }
    group.kill(leader);
    group.start(behind);
    for _ in 0..PATIENCE {
        group.round();
        assert!(group.members.values().all(|member| !member.group().leadership.is_leader), "101 would be lost");
    }
    group.start(leader);
    group.write(102);
    group.until_all_have(102);
    assert!(group.stores.values().all(|store| has(store, 101)));
}
