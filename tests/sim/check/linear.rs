//! Whether what callers saw can be explained by calls that took effect one after the other, each at one moment between its beginning and
//! its answer: the search of Wing and Gong, with the memory that Lowe gave it. Objects are looked at one by one, which is enough, because
//! a history is linearizable when that of each object is.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{NodeId, NodeSpec, ServiceId, ServiceSpec};

use super::super::asks::{Answer, Ask, Call, View};
use super::super::time::Us;
use super::{Verdict, broken};

/// Calls to one object that are looked at; looks beyond them are left out, which makes the check weaker and never wrong.
const CALLS_MAX: usize = 64 * WORDS;

/// Words of a set of calls.
const WORDS: usize = 16;

/// States of the search that are looked at: a history with so many calls that nobody answered is passed over. None was yet.
const STATES_MAX: usize = 200_000;

/// Which calls have taken effect.
type Taken = [u64; WORDS];

/// One object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Service(ServiceId),
    Node(NodeId),
}

/// What it is.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Service(Box<ServiceSpec>),
    Node(NodeSpec),
}

/// What a caller knows of a call.
#[derive(Clone, Debug)]
enum Known {
    Done,
    Refused,
    Saw(Option<Value>),
    /// It was done, or will be, or never.
    Nothing,
}

#[derive(Clone, Debug)]
struct Op<'a> {
    ask: &'a Ask,
    begun: Us,
    ended: Us,
    known: Known,
}

/// The control API behaves as if there were one copy of everything and one call at a time.
pub(crate) fn invariant_the_control_api_is_linearizable(calls: &BTreeMap<u64, Call>, first: &View) -> Verdict {
    let made = calls.values().filter_map(|call| match &call.ask {
        Ask::Create(id, _) => Some(Key::Service(*id)),
        Ask::AddNode(id) => Some(Key::Node(*id)),
        _ => None,
    });
    let there = first.nodes.keys().map(|id| Key::Node(*id));
    for key in made.chain(there) {
        let ops = ops(key, calls);
        if !is_linearizable(&ops, seen(key, first)) {
            let told: Vec<String> = ops.iter().map(|op| format!("{op:?}")).collect();
            return broken("the_control_api_is_linearizable", format!("{key:?}:\n{}", told.join("\n")));
        }
    }
    Ok(())
}

fn seen(key: Key, view: &View) -> Option<Value> {
    match key {
        Key::Service(id) => view.services.get(&id).cloned().map(|spec| Value::Service(Box::new(spec))),
        Key::Node(id) => view.nodes.get(&id).cloned().map(Value::Node),
    }
}

fn ops(key: Key, calls: &BTreeMap<u64, Call>) -> Vec<Op<'_>> {
    let concerned = calls.values().filter(|call| call.ask.object() == Some(key) || matches!(call.ask, Ask::Look));
    let mut ops: Vec<Op<'_>> = concerned.filter_map(|call| op(key, call)).collect();
    let looks = ops.iter().filter(|op| matches!(op.known, Known::Saw(_))).count();
    let mut spare = ops.len().saturating_sub(CALLS_MAX).min(looks);
    ops.retain(|op| {
        let goes = spare > 0 && matches!(op.known, Known::Saw(_));
        spare -= usize::from(goes);
        !goes
    });
    assert!(ops.len() <= CALLS_MAX, "nobody asks for so much of one object");
    ops
}

/// `None`: the call tells nothing of the object.
fn op(key: Key, call: &Call) -> Option<Op<'_>> {
    let (ended, known) = match &call.ended {
        None if matches!(call.ask, Ask::Look) => return None,
        None => (Us::MAX, Known::Nothing),
        Some((_, Answer::Failed)) => return None,
        Some((at, Answer::Done)) => (*at, Known::Done),
        Some((at, Answer::Refused)) => (*at, Known::Refused),
        Some((at, Answer::Saw(view))) => (*at, Known::Saw(seen(key, view))),
    };
    Some(Op { ask: &call.ask, begun: call.begun, ended, known })
}

impl Ask {
    fn object(&self) -> Option<Key> {
        match self {
            Self::Create(id, _) | Self::Scale(id, _) | Self::Edit(id, _) | Self::Remove(id) => Some(Key::Service(*id)),
            Self::Availability(id, _)
            | Self::Label(id, _)
            | Self::Role(id, _)
            | Self::AddNode(id)
            | Self::RemoveNode(id) => Some(Key::Node(*id)),
            Self::Look => None,
        }
    }
}

/// What the object is after the call took effect; `None` when it could not, or would have been told otherwise.
fn after(op: &Op<'_>, before: &Option<Value>) -> Option<Option<Value>> {
    match &op.known {
        Known::Saw(seen) => (seen == before).then(|| before.clone()),
        Known::Done | Known::Nothing => made(op.ask, before),
        Known::Refused => made(op.ask, before).is_none().then(|| before.clone()),
    }
}

fn made(ask: &Ask, before: &Option<Value>) -> Option<Option<Value>> {
    match (ask, before) {
        (Ask::Create(_, spec), None) => Some(Some(Value::Service(spec.clone()))),
        (Ask::AddNode(id), None) => Some(Some(Value::Node(super::super::asks::new_node(*id).spec))),
        (Ask::Remove(_) | Ask::RemoveNode(_), Some(_)) => Some(None),
        (ask, Some(Value::Service(spec))) => ask.edit_service(spec).map(|spec| Some(Value::Service(Box::new(spec)))),
        (ask, Some(Value::Node(spec))) => ask.edit_node(spec).map(|spec| Some(Value::Node(spec))),
        _ => None,
    }
}

/// Looks for an order. A state of the search is which calls have taken effect, and what the object is then. A call that changes
/// nothing whenever it takes effect is taken as soon as it can be: from an order in which it comes later it can be moved here.
fn is_linearizable(ops: &[Op<'_>], first: Option<Value>) -> bool {
    let must: Vec<usize> = (0..ops.len()).filter(|place| ops[*place].ended != Us::MAX).collect();
    let mut values = vec![first];
    let (mut seen, mut stack) = (BTreeSet::new(), vec![([0; WORDS], 0usize)]);
    while let Some((mut taken, value)) = stack.pop() {
        take_what_changes_nothing(ops, &mut taken, &values[value]);
        if must.iter().all(|place| has(&taken, *place)) || seen.len() > STATES_MAX {
            return true;
        }
        if !seen.insert((taken, value)) {
            continue;
        }
        // Those that were answered are tried first: the last one that is pushed is the next that is looked at.
        let mut open = open(ops, &taken);
        open.sort_by_key(|place| std::cmp::Reverse(ops[*place].ended));
        for place in open {
            let Some(next) = after(&ops[place], &values[value]) else { continue };
            let known = values.iter().position(|there| *there == next);
            let next = known.unwrap_or_else(|| {
                values.push(next);
                values.len() - 1
            });
            stack.push((with(taken, place), next));
        }
    }
    false
}

/// Calls that may take effect next: those that began before any other that has not taken effect was answered.
fn open(ops: &[Op<'_>], taken: &Taken) -> Vec<usize> {
    let open = || (0..ops.len()).filter(|place| !has(taken, *place));
    let bound = open().map(|place| ops[place].ended).min().unwrap_or(Us::MAX);
    open().filter(|place| ops[*place].begun <= bound).collect()
}

fn take_what_changes_nothing(ops: &[Op<'_>], taken: &mut Taken, value: &Option<Value>) {
    loop {
        let open = open(ops, taken);
        let is_idle = |op: &Op<'_>| matches!(op.known, Known::Saw(_) | Known::Refused) && after(op, value).is_some();
        let Some(place) = open.iter().find(|place| is_idle(&ops[**place])) else { return };
        *taken = with(*taken, *place);
    }
}

fn has(taken: &Taken, place: usize) -> bool {
    (taken[place / 64] >> (place % 64)) & 1 == 1
}

fn with(mut taken: Taken, place: usize) -> Taken {
    taken[place / 64] |= 1 << (place % 64);
    taken
}

#[cfg(test)]
mod tests {
    use super::super::super::asks::new_node;
    use super::*;

    const NODE: NodeId = NodeId::new(7);

    fn label(begun: Us, ended: Option<Us>, zone: &str) -> Call {
        Call { ask: Ask::Label(NODE, zone.into()), begun, ended: ended.map(|at| (at, Answer::Done)) }
    }

    fn look(begun: Us, ended: Us, zone: &str) -> Call {
        let mut view = there();
        view.nodes.values_mut().for_each(|spec| drop(spec.labels.insert("zone".into(), zone.into())));
        Call { ask: Ask::Look, begun, ended: Some((ended, Answer::Saw(Box::new(view)))) }
    }

    fn there() -> View {
        View { nodes: BTreeMap::from([(NODE, new_node(NODE).spec)]), ..View::default() }
    }

    fn holds(calls: impl IntoIterator<Item = Call>) -> bool {
        let calls = (0..).zip(calls).collect();
        invariant_the_control_api_is_linearizable(&calls, &there()).is_ok()
    }

    #[test]
    fn what_was_answered_is_seen_by_whoever_looks_later() {
        assert!(holds([label(1, Some(2), "a"), look(3, 4, "a")]));
        assert!(!holds([label(1, Some(2), "a"), label(3, Some(4), "b"), look(5, 6, "a")]), "a stale look");
        assert!(holds([label(1, Some(2), "a"), label(3, Some(6), "b"), look(4, 5, "a"), look(4, 5, "b")]));
        assert!(
            !holds([label(1, Some(2), "a"), label(3, Some(9), "b"), look(4, 5, "b"), look(6, 7, "a")]),
            "time goes back"
        );
    }

    #[test]
    fn a_call_without_an_answer_may_be_done_at_any_time_or_never_and_once() {
        assert!(holds([label(1, Some(2), "a"), label(1, None, "b"), look(30, 31, "a"), look(40, 41, "b")]));
        assert!(holds([label(1, Some(2), "a"), label(1, None, "b"), look(30, 31, "a")]));
        let again = [label(1, None, "b"), look(2, 3, "b"), label(4, Some(5), "a"), look(6, 7, "a"), look(8, 9, "b")];
        assert!(!holds(again), "it was done before");
    }

    #[test]
    fn a_change_that_would_have_changed_nothing_at_first_may_come_later() {
        let there = [label(1, Some(2), "a"), look(3, 4, "a")];
        let crossing = [label(5, Some(9), "a"), label(5, Some(6), "b"), look(7, 8, "b"), look(10, 11, "a")];
        assert!(holds(there.into_iter().chain(crossing)));
    }

    #[test]
    fn many_looks_are_all_looked_at() {
        let looks = |zone| (0..400).map(move |at| look(10 + at, 11 + at, zone));
        assert!(holds([label(1, Some(2), "a")].into_iter().chain(looks("a"))));
        assert!(!holds([label(1, Some(2), "a")].into_iter().chain(looks("a")).chain([look(500, 501, "b")])));
    }

    #[test]
    fn a_refusal_tells_something_too() {
        let refused = |begun, ended| Call { ask: Ask::RemoveNode(NODE), begun, ended: Some((ended, Answer::Refused)) };
        let done = |begun, ended| Call { ask: Ask::RemoveNode(NODE), begun, ended: Some((ended, Answer::Done)) };
        assert!(!holds([refused(1, 2)]), "it is there");
        assert!(holds([done(1, 5), refused(2, 6)]));
        assert!(!holds([done(4, 5), refused(1, 3)]));
    }
}
