//! Asks a manager for certificates: the first with a token, the others with the certificate before.

use rcgen::{CertificateParams, KeyPair};
use skep_proto::model::token::{JoinToken, RootDigest, TokenError};
use skep_proto::model::{Autolock, Availability, JoinAttempt, NodeDescription, NodeRole};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::certificate::{Identity, first};
use super::error::IdentityError;
use super::tls;
use crate::client::{ConnectError, connect_with};
use crate::vault::disk::random;

/// What a machine says of itself when it asks to be let in.
#[derive(Clone, Debug)]
pub struct JoinOrder {
    /// HOST:PORT of a manager.
    pub address: String,
    /// The digest of the root of the cluster that is meant.
    pub digest: RootDigest,
    /// The token. A machine that lost it with its power asks without one for what an earlier request of this attempt has made.
    pub token: Option<JoinToken>,
    /// The machine.
    pub description: NodeDescription,
    /// Whether tasks may run on it.
    pub availability: Availability,
    /// By what the managers know this join from any other.
    pub attempt: JoinAttempt,
}

impl JoinOrder {
    /// A new join of a machine that says nothing of itself, with the token as the user gave it.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(address: &str, token: &str) -> Result<Self, TokenError> {
        let token: JoinToken = token.parse()?;
        Ok(Self {
            address: address.to_owned(),
            digest: token.digest,
            token: Some(token),
            description: NodeDescription::default(),
            availability: Availability::Active,
            attempt: JoinAttempt::new(*random()),
        })
    }

    fn token(&self) -> String {
        self.token.map(|token| token.to_string()).unwrap_or_default()
    }
}

/// A certificate, and what comes with it.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Who the node is.
    pub identity: Identity,
    /// What a manager keeps its keys under, if managers lock themselves.
    pub lock: Autolock,
}

/// Becomes a node. The order is what makes it safe: the root is compared with the token's digest first, and only over a
/// connection verified with that root is the token sent.
///
/// # Errors
/// When nobody answers, somebody of another cluster does, or the manager refuses.
pub async fn join(order: &JoinOrder) -> Result<Granted, IdentityError> {
    let (mut client, root) = verified(order).await?;
    let (key, csr) = request()?;
    let message = pb::JoinRequest {
        token: order.token(),
        csr,
        description: Some((&order.description).into()),
        availability: pb::Availability::from(order.availability).into(),
        attempt: order.attempt.to_bytes(),
    };
    let reply = client.join(message).await.map_err(|status| not_admitted(&order.address, &status))?.into_inner();
    // The manager that says so was verified with the root that the token names.
    let trust = if reply.trust.is_empty() { root } else { reply.trust };
    granted(Identity::new(reply.certificate, key, trust)?, reply.lock)
}

/// Takes a join back that could not be finished: nothing of it stays among the nodes.
///
/// # Errors
/// When nobody answers, or the manager could not do it.
pub async fn withdraw(order: &JoinOrder) -> Result<(), IdentityError> {
    let (mut client, _) = verified(order).await?;
    let message = pb::WithdrawRequest { attempt: order.attempt.to_bytes(), token: order.token() };
    client.withdraw(message).await.map(drop).map_err(|status| refused(&order.address, &status))
}

/// A connection to a manager of the cluster that is meant, and the root that this was seen by.
async fn verified(order: &JoinOrder) -> Result<(CaClient<Channel>, String), IdentityError> {
    let root = fetch_root(&order.address).await?;
    check_root(&order.address, &root, order.digest)?;
    let channel = reach(&order.address, connect_with(&order.address, tls::joiner_config(&root)?).await)?;
    Ok((CaClient::new(channel), root))
}

/// Gets the next certificate for a new key over a connection that the current one opened. Its role is what the managers say
/// the node is by now.
///
/// # Errors
/// When the manager is away or refuses; the current identity stays good until it ends.
pub async fn renew(channel: Channel, address: &str, current: &Identity) -> Result<Granted, IdentityError> {
    let (key, csr) = request()?;
    let reply = CaClient::new(channel).renew(pb::RenewRequest { csr }).await;
    let reply = reply.map_err(|status| refused(address, &status))?.into_inner();
    let trust = if reply.trust.is_empty() { current.root.clone() } else { reply.trust };
    if trust != current.root {
        tls::check_trust(&trust)?;
    }
    let identity = Identity::new(reply.certificate, key, trust)?;
    if identity.node != current.node || identity.cluster != current.cluster {
        return Err(IdentityError::Certificate { problem: "the manager sent another node's" });
    }
    granted(identity, reply.lock)
}

/// A worker keeps nothing under a lock, whatever a manager says.
fn granted(identity: Identity, lock: Option<pb::Autolock>) -> Result<Granted, IdentityError> {
    let lock = lock.filter(|_| identity.role == NodeRole::Manager).unwrap_or_default();
    let lock =
        lock.try_into().map_err(|_| IdentityError::Certificate { problem: "the manager sent no good lock with it" })?;
    Ok(Granted { identity, lock })
}

/// Whether a token with that digest is of the swarm that this identity is of.
#[must_use]
pub fn is_of(digest: RootDigest, identity: &Identity) -> bool {
    first(&identity.root).is_ok_and(|root| RootDigest::of_der(&root) == digest)
}

async fn fetch_root(address: &str) -> Result<String, IdentityError> {
    let channel = reach(address, connect_with(address, tls::stranger_config()?).await)?;
    let reply = CaClient::new(channel).get_root(pb::GetRootRequest {}).await;
    Ok(reply.map_err(|status| refused(address, &status))?.into_inner().certificate)
}

fn check_root(address: &str, root: &str, digest: RootDigest) -> Result<(), IdentityError> {
    if RootDigest::of_der(&first(root)?) == digest {
        Ok(())
    } else {
        Err(IdentityError::WrongCluster { address: address.to_owned() })
    }
}

/// A fresh key and a request to sign it, both PEM. The subject is the manager's to write.
fn request() -> Result<(String, String), IdentityError> {
    let key = KeyPair::generate().map_err(IdentityError::Key)?;
    let params = CertificateParams::new(Vec::<String>::new()).map_err(IdentityError::Key)?;
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(IdentityError::Key)?;
    Ok((key.serialize_pem(), csr))
}

fn reach(address: &str, result: Result<Channel, ConnectError>) -> Result<Channel, IdentityError> {
    result.map_err(|source| IdentityError::Unreachable { address: address.to_owned(), source })
}

fn refused(address: &str, status: &Status) -> IdentityError {
    IdentityError::Refused { address: address.to_owned(), reason: status.message().to_owned() }
}

/// The manager says which token it is that it does not take, and what to do; its sentence begins as ours does.
fn not_admitted(address: &str, status: &Status) -> IdentityError {
    let said = status.message();
    let reason = said.strip_prefix("failed to join: ").unwrap_or(said).to_owned();
    IdentityError::NotAdmitted { address: address.to_owned(), reason, is_settled: is_settled(status.code()) }
}

/// It was decided, and would be decided so again. Otherwise nobody was there to decide, or what was decided is not known.
fn is_settled(code: Code) -> bool {
    matches!(code, Code::PermissionDenied | Code::InvalidArgument | Code::NotFound | Code::AlreadyExists)
}
