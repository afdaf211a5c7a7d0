//! A replicated service: so many slots, numbered from 1.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{Mode, NodeId, Slot, TaskState};

use super::plan::Draft;
use super::slot::{self, Phase};
use super::view::{Tasks, View};
use super::{courtesy, enforcer, reaper, update};
use crate::store::Change;

/// Plans a replicated service; `None` when it is none.
pub(super) fn plan(view: &View<'_>, draft: &mut Draft) -> Option<()> {
    let Mode::Replicated { replicas } = view.service.spec.mode else { return None };
    let slots: Vec<Tasks<'_>> = view.state.slots(view.service.id).map(|(slot, all)| Tasks { slot, all }).collect();
    let phases: Vec<Phase> = slots.iter().map(|tasks| slot::phase(view, tasks)).collect();
    let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
    let ended = shrink(&slots, &phases, replicas, draft);
    let staying = slots.iter().enumerate().filter(|(index, _)| !ended.contains(index));
    draft.allow(courtesy::spare(view, staying.map(|(_, tasks)| tasks)));
    let mut rollout = update::Rollout::default();
    for (index, tasks) in slots.iter().enumerate().filter(|(index, _)| !ended.contains(index)) {
        tend(view, tasks, phases[index], &mut rollout, draft);
    }
    if view.may_create() {
        grow(view, &slots, &phases, replicas, draft);
        rollout.advance(view, draft);
    }
    Some(())
}

/// One slot that stays, or one that has gone and left something to forget.
fn tend<'a>(view: &View<'_>, tasks: &'a Tasks<'a>, phase: Phase, rollout: &mut update::Rollout<'a>, draft: &mut Draft) {
    if enforcer::enforce(view, tasks, draft) || (view.may_create() && settle(phase, tasks, view, draft)) {
        return rollout.add_changing();
    }
    reaper::reap(view, tasks, draft);
    rollout.add(view, tasks, phase);
}

/// The common slot has one task that serves, and nothing to settle.
fn settle(phase: Phase, tasks: &Tasks<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let at_rest = tasks.all.len() == 1 && matches!(phase, Phase::Settled { .. });
    !at_rest && slot::settle(view, tasks, draft)
}

/// Gives up slots that are too many, and says which (by index). Of free ones those go that will not be filled again: their
/// history would stay as long as the service.
fn shrink(slots: &[Tasks<'_>], phases: &[Phase], replicas: usize, draft: &mut Draft) -> BTreeSet<usize> {
    let occupied: Vec<usize> = (0..slots.len()).filter(|&index| phases[index] != Phase::Vacant).collect();
    let mut ended = BTreeSet::new();
    if occupied.len() < slots.len() {
        ended.extend(spare(slots, phases, replicas.saturating_sub(occupied.len())));
    }
    if occupied.len() > replicas {
        ended.extend(by_worth(slots, occupied).split_off(replicas));
    }
    for &index in &ended {
        slot::end(&slots[index], draft);
    }
    ended
}

/// Free slots that are not among the lowest free numbers, so many of which are to be filled.
fn spare(slots: &[Tasks<'_>], phases: &[Phase], missing: usize) -> Vec<usize> {
    let (mut free, mut last, mut spare) = (0, 0, Vec::new());
    for (index, tasks) in slots.iter().enumerate() {
        let Slot::Replica(number) = tasks.slot else { continue };
        free += usize::try_from(number - last - 1).unwrap_or(usize::MAX);
        last = number;
        if phases[index] == Phase::Vacant {
            free += 1;
            spare.extend((free > missing).then_some(index));
        }
    }
    spare
}

/// Orders slots, those worth keeping first: running before not running, then so that the nodes with the most tasks of the
/// service lose them first. Of the k slots on a node one is its first, one its second and so on; the lower that number, the
/// more the slot is worth. Slots without a node, or between two, are worth least: nothing is lost with them.
fn by_worth(slots: &[Tasks<'_>], mut indexes: Vec<usize>) -> Vec<usize> {
    indexes.sort_by_key(|&index| !runs(&slots[index]));
    let mut copies: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut ranked: Vec<(u32, bool, usize)> = Vec::with_capacity(indexes.len());
    for index in indexes {
        let rank = only_node(&slots[index]).map_or(u32::MAX, |node| {
            let count = copies.entry(node).or_default();
            *count += 1;
            *count
        });
        ranked.push((rank, !runs(&slots[index]), index));
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, index)| index).collect()
}

fn runs(tasks: &Tasks<'_>) -> bool {
    tasks.wanted().any(|task| task.status.state == TaskState::Running)
}

fn only_node(tasks: &Tasks<'_>) -> Option<NodeId> {
    let mut wanted = tasks.wanted();
    let node = wanted.next().and_then(|task| task.node);
    if wanted.next().is_some() { None } else { node }
}

/// Fills the lowest free numbers. What a slot left behind while it was being given up is waited for.
fn grow(view: &View<'_>, slots: &[Tasks<'_>], phases: &[Phase], replicas: usize, draft: &mut Draft) {
    let occupied = phases.iter().filter(|phase| **phase != Phase::Vacant).count();
    let missing = replicas.saturating_sub(occupied);
    if missing > draft.room() {
        draft.wake(view.now);
    }
    let count = missing.min(draft.room());
    let mut changes: Vec<Change> = Vec::with_capacity(count);
    let mut known = slots.iter().zip(phases).peekable();
    for number in (1..=u32::MAX).map(Slot::Replica) {
        if changes.len() == count {
            break;
        }
        // Slots come in the order of their numbers.
        let here = known.next_if(|(tasks, _)| tasks.slot == number);
        if here.is_none_or(|(_, phase)| *phase == Phase::Vacant) {
            changes.push(slot::fill(view, number, here.map(|(tasks, _)| tasks), draft));
        }
    }
    draft.apart(changes, || format!("{missing} slots are to be filled"));
}
