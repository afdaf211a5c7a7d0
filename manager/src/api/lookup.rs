//! What a word of a user means: a full id, a name, or the beginning of one id, tried in that order.

use skep_proto::model::id::prefix_range;
use skep_proto::model::{Node, NodeId, Service, ServiceId, Task, TaskId};

use crate::store::State;

/// Candidates named in an error. More would not help to choose.
const NAMED_MAX: usize = 5;

/// Why a word means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No word.
    #[error("find a {kind}: its id or name is empty")]
    Empty {
        /// Kind of object.
        kind: &'static str,
    },
    /// Nothing has that id, name or prefix.
    #[error("find {kind} {word:?}: there is none with this id, name or id prefix")]
    None {
        /// Kind of object.
        kind: &'static str,
        /// What was asked for.
        word: String,
    },
    /// More than one has.
    #[error("find {kind} {word:?}: it is ambiguous ({candidates}); use a full id")]
    Ambiguous {
        /// Kind of object.
        kind: &'static str,
        /// What was asked for.
        word: String,
        /// Some of those that fit.
        candidates: String,
    },
}

/// What a lookup must know of a kind.
struct Kind<'a, T> {
    name: &'static str,
    by_id: &'a dyn Fn(u128) -> Option<T>,
    named: Vec<T>,
    all: &'a dyn Fn() -> Box<dyn Iterator<Item = (u128, T)> + 'a>,
}

/// The service that a word means.
///
/// # Errors
/// When it means none or more than one.
pub fn service<'a>(state: &'a State, word: &str) -> Result<&'a Service, LookupError> {
    let live = |service: &&Service| !service.removing;
    resolve(
        word,
        Kind {
            name: "service",
            by_id: &|bits| state.service(ServiceId::new(bits)).map(AsRef::as_ref).filter(live),
            named: state.service_by_name(word).map(AsRef::as_ref).into_iter().collect(),
            all: &|| Box::new(state.services().map(AsRef::as_ref).filter(live).map(|s| (s.id.bits(), s))),
        },
    )
}

/// The node that a word means; its name is its hostname, which need not be unique.
///
/// # Errors
/// When it means none or more than one.
pub fn node<'a>(state: &'a State, word: &str) -> Result<&'a Node, LookupError> {
    let named = |node: &&Node| node.description.hostname.eq_ignore_ascii_case(word);
    resolve(
        word,
        Kind {
            name: "node",
            by_id: &|bits| state.node(NodeId::new(bits)).map(AsRef::as_ref),
            named: state.nodes().map(AsRef::as_ref).filter(named).collect(),
            all: &|| Box::new(state.nodes().map(AsRef::as_ref).map(|n: &Node| (n.id.bits(), n))),
        },
    )
}

/// The task that a word means: an id or the beginning of one.
///
/// # Errors
/// When it means none or more than one.
pub fn task<'a>(state: &'a State, word: &str) -> Result<&'a Task, LookupError> {
    resolve(
        word,
        Kind {
            name: "task",
            by_id: &|bits| state.task(TaskId::new(bits)),
            named: Vec::new(),
            all: &|| Box::new(state.tasks().map(|task| (task.id.bits(), task))),
        },
    )
}

fn resolve<T: Copy>(word: &str, kind: Kind<'_, T>) -> Result<T, LookupError> {
    if word.is_empty() {
        return Err(LookupError::Empty { kind: kind.name });
    }
    let exact = prefix_range(word).filter(|(low, high)| low == high).and_then(|(bits, _)| (kind.by_id)(bits));
    if let Some(found) = exact {
        return Ok(found);
    }
    let named: Vec<T> = kind.named;
    let prefixed = || prefix_range(word).into_iter().flat_map(|range| within(range, (kind.all)())).collect();
    let found: Vec<T> = if named.is_empty() { prefixed() } else { named };
    match found.as_slice() {
        [] => Err(LookupError::None { kind: kind.name, word: word.to_owned() }),
        [one] => Ok(*one),
        many => {
            let candidates = format!("{} of them", many.len());
            Err(LookupError::Ambiguous { kind: kind.name, word: word.to_owned(), candidates })
        }
    }
}

/// Those whose id begins so; ids come in order.
fn within<'a, T: 'a>(
    (low, high): (u128, u128),
    all: Box<dyn Iterator<Item = (u128, T)> + 'a>,
) -> impl Iterator<Item = T> + 'a {
    all.skip_while(move |(id, _)| *id < low).take_while(move |(id, _)| *id <= high).map(|(_, item)| item)
}
