//! The headers that managers write for each other: who called, and that a manager does not lead.

use http::{HeaderMap, HeaderName, HeaderValue};
use skep_proto::model::NodeRole;

use super::error::ForwardError;
use crate::caller::{Caller, CallerError, Identity, MANAGER_OU, Peer, Via, WORKER_OU};
use crate::store::State;

/// On a request that was passed on: its caller. Nobody but a manager may set it.
pub const CALLER: HeaderName = HeaderName::from_static("skep-caller");
/// On an answer: this manager does not lead, the call did not run. The value is the Raft id of who does, or 0.
pub const NOT_LEADING: HeaderName = HeaderName::from_static("skep-not-leading");

/// Someone without a certificate.
const ANONYMOUS: &str = "anonymous";
/// Someone at the socket of the manager that passed it on.
const LOCAL: &str = "local";
/// Before a node whose certificate has lapsed.
const LAPSED: &str = "lapsed";
/// No address.
const NOWHERE: &str = "-";

/// Whose call it is and how it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who wants it.
    pub caller: Caller,
    /// Where they are.
    pub peer: Option<Peer>,
    /// The manager that passed it on.
    pub via: Option<Identity>,
}

impl Arrival {
    /// Takes the header off, and believes it when a manager's certificate came with it. Whether the state knows that manager is for
    /// [`Arrival::admit`]. Anybody else's header is nothing: the call is that of the one who sent it.
    ///
    /// # Errors
    /// When a manager wrote what this version does not understand. To take the call for that manager's own would give its caller the
    /// manager's rights.
    pub fn of(caller: Caller, peer: Option<Peer>, headers: &mut HeaderMap) -> Result<Self, ForwardError> {
        let written = headers.remove(&CALLER);
        match (caller, written) {
            (Caller::Node(via), Some(written)) if via.role == NodeRole::Manager => {
                let (caller, peer) = parse(&written).ok_or(ForwardError::Envelope { by: via.node })?;
                Ok(Self { caller, peer, via: Some(via) })
            }
            _ => Ok(Self { caller, peer, via: None }),
        }
    }

    /// Whether another manager sent it here.
    #[must_use]
    pub fn is_passed_on(&self) -> bool {
        self.via.is_some()
    }

    /// Checks that who passed it on may do so, now.
    ///
    /// # Errors
    /// When it is no manager of this cluster as this state knows it.
    pub fn admit(&self, state: &State) -> Result<(), CallerError> {
        self.via.map_or(Ok(()), |via| Caller::Node(via).require_manager(state))
    }

    /// The header for the next manager.
    ///
    /// # Panics
    /// Never: ids, roles and addresses are plain ASCII.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let who = match self.caller {
            Caller::Local => LOCAL.to_owned(),
            Caller::Anonymous => ANONYMOUS.to_owned(),
            Caller::Node(identity) => identity_words(identity),
            Caller::Lapsed(identity) => format!("{LAPSED} {}", identity_words(identity)),
        };
        let place = self.peer.map_or_else(|| NOWHERE.to_owned(), |peer| peer.0.to_string());
        HeaderValue::try_from(format!("{place} {who}")).expect("ids, roles and addresses are plain ASCII")
    }

    /// Tells the services who calls.
    pub fn mark(&self, extensions: &mut http::Extensions) {
        extensions.insert(self.caller);
        extensions.remove::<Peer>();
        self.peer.map(|peer| extensions.insert(peer));
        self.via.map(|via| extensions.insert(Via(via.node)));
    }
}

fn identity_words(Identity { node, role, cluster, key }: Identity) -> String {
    format!("{node} {} {cluster} {key}", role_word(role))
}

fn role_word(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Manager => MANAGER_OU,
        NodeRole::Worker => WORKER_OU,
    }
}

fn parse(written: &HeaderValue) -> Option<(Caller, Option<Peer>)> {
    let words: Vec<&str> = written.to_str().ok()?.split(' ').collect();
    let (place, who) = words.split_first()?;
    let peer = if *place == NOWHERE { None } else { Some(Peer(place.parse().ok()?)) };
    let caller = match *who {
        [LOCAL] => Caller::Local,
        [ANONYMOUS] => Caller::Anonymous,
        [LAPSED, ref identity @ ..] => Caller::Lapsed(parse_identity(identity)?),
        ref identity => Caller::Node(parse_identity(identity)?),
    };
    Some((caller, peer))
}

fn parse_identity(words: &[&str]) -> Option<Identity> {
    let [node, role, cluster, key] = words else { return None };
    let role = [NodeRole::Manager, NodeRole::Worker].into_iter().find(|known| role_word(*known) == *role)?;
    Some(Identity { node: node.parse().ok()?, role, cluster: cluster.parse().ok()?, key: key.parse().ok()? })
}

/// What the answer of a manager that does not lead says: who does, 0 for nobody. `None`: it is a real answer.
#[must_use]
pub fn declined(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(&NOT_LEADING)?;
    Some(value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{ClusterId, KeyPrint, NodeId};

    use super::*;

    fn node(role: NodeRole) -> Caller {
        Caller::Node(identity(role))
    }

    fn identity(role: NodeRole) -> Identity {
        Identity { node: NodeId::new(7), role, cluster: ClusterId::new(9), key: KeyPrint::of_spki(b"key") }
    }

    fn arrive(by: Caller, written: Option<HeaderValue>) -> Result<(Arrival, HeaderMap), ForwardError> {
        let mut headers = HeaderMap::new();
        written.map(|value| headers.insert(CALLER, value));
        Arrival::of(by, None, &mut headers).map(|arrival| (arrival, headers))
    }

    #[test]
    fn every_caller_survives_the_way() {
        let place = Some(Peer("10.0.0.9:4711".parse().unwrap()));
        let lapsed = Caller::Lapsed(identity(NodeRole::Manager));
        for caller in [Caller::Local, Caller::Anonymous, lapsed, node(NodeRole::Worker), node(NodeRole::Manager)] {
            for peer in [None, place] {
                let sent = Arrival { caller, peer, via: None };
                let (came, headers) = arrive(node(NodeRole::Manager), Some(sent.header())).unwrap();
                assert_eq!((came.caller, came.peer), (caller, peer));
                assert!(came.is_passed_on() && headers.is_empty());
            }
        }
    }

    #[test]
    fn a_header_of_anybody_but_a_manager_is_taken_off_and_means_nothing() {
        let forged = Arrival { caller: Caller::Local, peer: None, via: None }.header();
        for by in [Caller::Anonymous, Caller::Local, node(NodeRole::Worker)] {
            let (came, headers) = arrive(by, Some(forged.clone())).unwrap();
            assert_eq!(came, Arrival { caller: by, peer: None, via: None });
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn what_a_manager_writes_and_nobody_understands_is_no_call_of_that_manager() {
        for text in ["", "-", "local", "- root", "x local", "- 1 swarm-manager", "- x swarm-worker y", "- local x"] {
            let written = HeaderValue::from_str(text).unwrap();
            let refused = arrive(node(NodeRole::Manager), Some(written));
            assert!(matches!(refused, Err(ForwardError::Envelope { .. })), "{text:?}");
        }
    }
}
