//! What a word of a user means: a full id, a name, or the beginning of one id, tried in that order.

use skep_proto::model::id::{prefix_range, to_text};
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

/// The service that a word means.
///
/// # Errors
/// When it means none or more than one.
pub fn service<'a>(state: &'a State, word: &str) -> Result<&'a Service, LookupError> {
    let live = |service: &&Service| !service.removing;
    let exact = word.parse::<ServiceId>().ok().and_then(|id| state.service(id)).map(AsRef::as_ref).filter(live);
    if let Some(found) = exact.or_else(|| state.service_by_name(word).map(AsRef::as_ref)) {
        return Ok(found);
    }
    let all = state.services().map(AsRef::as_ref).filter(live);
    one("service", word, beginning(word, all.map(|service| (service.id.bits(), service))))
}

/// The node that a word means; its name is its hostname, which need not be unique.
///
/// # Errors
/// When it means none or more than one.
pub fn node<'a>(state: &'a State, word: &str) -> Result<&'a Node, LookupError> {
    if let Some(found) = word.parse::<NodeId>().ok().and_then(|id| state.node(id)) {
        return Ok(found);
    }
    let all = || state.nodes().map(|node| (node.id.bits(), node.as_ref()));
    let named: Vec<_> =
        all().filter(|(_, n): &(u128, &Node)| n.description.hostname.eq_ignore_ascii_case(word)).collect();
    one("node", word, if named.is_empty() { beginning(word, all()) } else { named })
}

/// The task that a word means: an id or the beginning of one.
///
/// # Errors
/// When it means none or more than one.
pub fn task<'a>(state: &'a State, word: &str) -> Result<&'a Task, LookupError> {
    if let Some(found) = word.parse::<TaskId>().ok().and_then(|id| state.task(id)) {
        return Ok(found);
    }
    one("task", word, beginning(word, state.tasks().map(|task| (task.id.bits(), task))))
}

/// Those whose id begins so; ids come in order.
fn beginning<'a, T>(word: &str, all: impl Iterator<Item = (u128, &'a T)>) -> Vec<(u128, &'a T)> {
    let Some((low, high)) = prefix_range(word) else { return Vec::new() };
    all.skip_while(|(id, _)| *id < low).take_while(|(id, _)| *id <= high).collect()
}

/// The only one.
fn one<'a, T>(kind: &'static str, word: &str, found: Vec<(u128, &'a T)>) -> Result<&'a T, LookupError> {
    let word = word.to_owned();
    match found.as_slice() {
        _ if word.is_empty() => Err(LookupError::Empty { kind }),
        [] => Err(LookupError::None { kind, word }),
        [(_, found)] => Ok(found),
        many => {
            let named: Vec<String> = many.iter().take(NAMED_MAX).map(|(id, _)| to_text(*id)).collect();
            let more = if many.len() > NAMED_MAX { ", ..." } else { "" };
            Err(LookupError::Ambiguous { kind, word, candidates: format!("{}{more}", named.join(", ")) })
        }
    }
}

/// What was there a moment ago and is not now.
pub fn gone(kind: &'static str, id: &impl std::fmt::Display) -> LookupError {
    LookupError::None { kind, word: id.to_string() }
}

#[cfg(test)]
mod tests;
