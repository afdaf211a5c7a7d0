//! When the certificate is renewed, and with what result.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use skep_proto::model::{Autolock, Moment, NodeRole};
use skep_proto::pb;
use tonic::transport::Channel;

use super::clock::seed;
use crate::client::Connect;
use crate::identity::{Identity, IdentityError, client, disk, tls};
use crate::vault::Vault;

/// Delay after the first failure; it doubles. As long as managers are away there is time: at least a fifth of the life.
const RETRY_MIN: Duration = Duration::from_secs(5);

/// Longest delay between two tries. A certificate lives an hour at least, so one try falls into what is left of it.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// The same once it is over: the node is as good as away until it has the next one, and its tasks are moved as soon as the managers, which
/// were perhaps switched off as long as it was, have waited for it for some seconds.
const LAPSED_MIN: Duration = Duration::from_millis(100);
const LAPSED_MAX: Duration = Duration::from_secs(2);

/// The certificate's next renewal.
pub(crate) struct Renewal {
    vault: Vault,
    identity: Arc<Identity>,
    /// What the managers say the node is.
    role: Option<NodeRole>,
    /// What the managers are told of the identity.
    credentials: pb::Credentials,
    /// When the certificate's time is over.
    until: Option<Moment>,
    /// The roots that are to be trusted from now on, until they are.
    trust: Option<String>,
    due: Option<Moment>,
    failures: u32,
    under_way: Option<BoxFuture<'static, Result<Identity, IdentityError>>>,
}

impl Renewal {
    /// A node without a readable certificate renews nothing: it speaks through a connector that needs none.
    pub(crate) fn new(vault: Vault, identity: Arc<Identity>) -> Self {
        let (due, until) = (due(&identity), until(&identity));
        let credentials = tls::credentials(&identity);
        Self { vault, identity, role: None, credentials, until, trust: None, due, failures: 0, under_way: None }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn role(&self) -> Option<NodeRole> {
        self.role
    }

    /// What the managers are to know of the identity.
    pub(crate) fn credentials(&self) -> pb::Credentials {
        pb::Credentials { lock: self.vault.settled(), ..self.credentials.clone() }
    }

    /// The managers say what the node is. A certificate with another role is renewed at once; the managers write into the next
    /// one what the node is by then, whatever was said here. A role that this version does not know is left alone.
    pub(crate) fn told(&mut self, now: Moment, standing: pb::Standing) {
        let role = NodeRole::try_from(standing.role()).ok();
        self.role = role.or(self.role);
        if standing.renew || role.is_some_and(|role| role != self.identity.role) {
            self.hasten(now);
        }
        if !standing.trust.is_empty() && standing.trust != self.identity.root {
            self.trust = Some(standing.trust);
        }
    }

    /// Writes the roots down that are to be trusted from now on; they are in use when [`Renewal::next`] gives the identity with them.
    pub(crate) fn begin_to_trust(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let Some(root) = self.trust.take() else { return };
        if let Err(error) = tls::check_trust(&root) {
            tracing::error!(error = %skep_proto::chain::chain(&error), "the managers' roots cannot be used; the old ones stay");
            return;
        }
        let identity = Identity { root, ..Identity::clone(&self.identity) };
        let vault = self.vault.clone();
        self.under_way = Some(async move { keep(vault, identity, Autolock::default()).await }.boxed());
    }

    /// When [`Renewal::begin`] is wanted.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.due.filter(|_| self.under_way.is_none())
    }

    /// The owner wants a new certificate now, because the node's role changed.
    pub(crate) fn hasten(&mut self, now: Moment) {
        self.due = Some(now);
    }

    /// The certificate's time is over: no manager opens a session for it.
    pub(crate) fn has_lapsed(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Asks one manager after the other for the next certificate, over connections that are good for nothing else.
    pub(crate) fn begin_again(&mut self, now: Moment, managers: Vec<String>, connector: Arc<dyn Connect>) {
        if self.under_way.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        tracing::warn!(
            "this node's certificate has expired; asking the managers for the next one with the key that they know"
        );
        let (current, vault) = (Arc::clone(&self.identity), self.vault.clone());
        self.under_way = Some(fetch_from_any(managers, connector, current, vault).boxed());
    }

    /// Takes a certificate that came by another way.
    pub(crate) fn adopt(&mut self, now: Moment, identity: Identity, connector: &dyn Connect) {
        self.under_way = None;
        self.end(now, Ok(identity), connector);
    }

    /// Asks for the certificate if it is time.
    pub(crate) fn begin(&mut self, now: Moment, channel: Channel, manager: &str) {
        if self.under_way.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        let (current, vault, manager) = (Arc::clone(&self.identity), self.vault.clone(), manager.to_owned());
        self.under_way = Some(fetch(channel, manager, current, vault).boxed());
    }

    pub(crate) async fn next(&mut self) -> Result<Identity, IdentityError> {
        match &mut self.under_way {
            Some(attempt) => attempt.await,
            None => std::future::pending().await,
        }
    }

    /// Takes what [`Renewal::next`] gave. `true`: there is a new identity.
    pub(crate) fn end(
        &mut self,
        now: Moment,
        result: Result<Identity, IdentityError>,
        connector: &dyn Connect,
    ) -> bool {
        self.under_way = None;
        let result = result.and_then(|identity| connector.renew(&identity).map(|()| identity));
        match result {
            Ok(identity) => {
                let renewed = identity.certificate != self.identity.certificate;
                let what = if renewed { "certificate renewed" } else { "other roots are trusted" };
                tracing::info!(node.id = %identity.node, role = ?identity.role, "{what}");
                (self.credentials, self.until) = (tls::credentials(&identity), until(&identity));
                self.identity = Arc::new(identity);
                if !renewed {
                    return true;
                }
                // Where this machine's clock is far ahead every certificate seems to be over; that is no reason to ask all the time.
                (self.due, self.failures) = (due(&self.identity).map(|due| due.max(now + RETRY_MAX)), 0);
                // The role changed again while the certificate was on its way.
                if self.role.is_some_and(|role| role != self.identity.role) {
                    self.due = Some(now + RETRY_MIN);
                }
                true
            }
            Err(error) => {
                tracing::warn!(error = %skep_proto::chain::chain(&error), "renewing the certificate failed; will try again");
                self.due = Some(now + retry_after(self.failures, self.has_lapsed(now)));
                self.failures += 1;
                false
            }
        }
    }
}

fn retry_after(failures: u32, has_lapsed: bool) -> Duration {
    let (min, max) = if has_lapsed { (LAPSED_MIN, LAPSED_MAX) } else { (RETRY_MIN, RETRY_MAX) };
    min.saturating_mul(1 << failures.min(10)).min(max)
}

fn due(identity: &Identity) -> Option<Moment> {
    identity.life().ok().map(|life| life.renew_at(seed()))
}

/// The new pair is on disk before it is used: otherwise a crash would leave a key that the managers do not know.
async fn fetch(
    channel: Channel,
    manager: String,
    current: Arc<Identity>,
    vault: Vault,
) -> Result<Identity, IdentityError> {
    let client::Granted { identity, lock } = client::renew(channel, &manager, &current).await?;
    keep(vault, identity, lock).await
}

/// The lock comes first: a manager's new key is never on the disk in clear while managers lock themselves.
async fn keep(vault: Vault, identity: Identity, lock: Autolock) -> Result<Identity, IdentityError> {
    let copy = identity.clone();
    let storing = move || {
        vault.engage(&lock)?;
        disk::store(&vault, &copy)
    };
    let stored = tokio::task::spawn_blocking(storing).await;
    stored.expect("writing files does not panic").map(|()| identity)
}

fn until(identity: &Identity) -> Option<Moment> {
    identity.life().ok().map(|life| life.until)
}

/// Any manager will do: one that does not lead passes the call on.
async fn fetch_from_any(
    managers: Vec<String>,
    connector: Arc<dyn Connect>,
    current: Arc<Identity>,
    vault: Vault,
) -> Result<Identity, IdentityError> {
    let mut last = IdentityError::NoManagers;
    for address in managers {
        let fetched = match connector.connect_to_renew(&address).await {
            Ok(channel) => fetch(channel, address, Arc::clone(&current), vault.clone()).await,
            Err(source) => Err(IdentityError::Unreachable { address, source }),
        };
        match fetched {
            Ok(identity) => return Ok(identity),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_do_nothing_without_its_next_certificate_asks_sooner_than_a_manager_takes_it_for_dead() {
        let waits = |has_lapsed| (0..40).map(|failures| retry_after(failures, has_lapsed)).collect::<Vec<_>>();
        let (spare, lapsed) = (waits(false), waits(true));
        assert_eq!((spare[0], spare[39]), (RETRY_MIN, RETRY_MAX));
        assert_eq!((lapsed[0], lapsed[39]), (LAPSED_MIN, LAPSED_MAX));
        assert!(LAPSED_MAX < Duration::from_secs(3) && spare.is_sorted() && lapsed.is_sorted());
    }
}
