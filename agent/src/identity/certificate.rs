//! What a node's certificate says, and when to ask for the next one.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{BACKDATE, ClusterId, Moment, NodeId, NodeRole, Seed};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::error::IdentityError;

/// OU of a manager's certificate, and the name under which managers are verified.
pub const MANAGER_OU: &str = "swarm-manager";

/// OU of a worker's certificate.
pub const WORKER_OU: &str = "swarm-worker";

/// A node's place in a cluster, and the proof of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node: CN.
    pub node: NodeId,
    /// The cluster: O.
    pub cluster: ClusterId,
    /// The role: OU.
    pub role: NodeRole,
    /// PEM chain.
    pub certificate: String,
    /// PEM of the key.
    pub key: String,
    /// PEM of the root that both sides trust.
    pub root: String,
}

impl std::fmt::Debug for Identity {
    /// Leaves the key out: it has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, cluster, role, .. } = self;
        let mut out = f.debug_struct("Identity");
        out.field("node", node).field("cluster", cluster).field("role", role).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads who the certificate names.
    ///
    /// # Errors
    /// When it is no certificate of a node.
    pub fn new(certificate: String, key: String, root: String) -> Result<Self, IdentityError> {
        let Subject { node, cluster, role, .. } = Subject::of(&first(&certificate)?)?;
        Ok(Self { node, cluster, role, certificate, key, root })
    }

    /// How long the certificate is good.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn life(&self) -> Result<Life, IdentityError> {
        let Subject { from, until, .. } = Subject::of(&first(&self.certificate)?)?;
        let at = |seconds: i64| Moment(u64::try_from(seconds).unwrap_or(0) * 1000);
        // One that was never as long as that was made by somebody else's rules.
        Ok(Life { from: (at(from) + BACKDATE).min(at(until)), until: at(until) })
    }
}

/// What a node's certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    pub(super) role: NodeRole,
    /// Unix seconds.
    pub(super) from: i64,
    /// Unix seconds.
    pub(super) until: i64,
}

impl Subject {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no certificate of a node.
    pub(super) fn of(der: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = parse(der)?;
        let subject = parsed.subject();
        let role = match one(subject.iter_organizational_unit())? {
            MANAGER_OU => NodeRole::Manager,
            WORKER_OU => NodeRole::Worker,
            _ => return Err(problem("its OU is no role")),
        };
        let node = common_name(subject)?.parse().map_err(|_| problem("its CN is no node's id"))?;
        let cluster = one(subject.iter_organization())?.parse().map_err(|_| problem("its O is no cluster's id"))?;
        let (from, until) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        Ok(Self { node, cluster, role, from, until })
    }
}

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was made; it is good for [`BACKDATE`] before, too.
    pub from: Moment,
    /// The last moment.
    pub until: Moment,
}

impl Life {
    /// A moment drawn between 50 and 80 % of it.
    ///
    /// # Panics
    /// Never: the share is below 301.
    #[must_use]
    pub fn renew_at(&self, mut seed: Seed) -> Moment {
        let whole = self.until.since(self.from);
        let share = u32::try_from(seed.draw() % 301).expect("a remainder of 301 fits");
        let wait = whole / 1000 * (500 + share);
        self.from + wait
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// The first certificate of a PEM text as DER.
///
/// # Errors
/// When there is none.
pub fn first(pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| problem("it is not in PEM"))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| problem("it is no X.509 certificate"))
}

fn common_name<'a>(name: &'a X509Name<'_>) -> Result<&'a str, IdentityError> {
    one(name.iter_common_name())
}

fn one<'a>(
    mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Result<&'a str, IdentityError> {
    let value = values.next().and_then(|value| value.as_str().ok());
    value.filter(|_| values.next().is_none()).ok_or(problem("its subject must have one CN, one OU and one O"))
}

fn problem(problem: &'static str) -> IdentityError {
    IdentityError::Certificate { problem }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn identity(ou: &str, cn: &str) -> Result<Identity, IdentityError> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, cn);
        params.distinguished_name.push(DnType::OrganizationalUnitName, ou);
        params.distinguished_name.push(DnType::OrganizationName, ClusterId::new(8).to_string());
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 11);
        let certificate = params.self_signed(&key).unwrap().pem();
        Identity::new(certificate.clone(), key.serialize_pem(), certificate)
    }

    #[test]
    fn a_certificate_says_who_the_node_is() {
        let read = identity(MANAGER_OU, &NodeId::new(7).to_string()).unwrap();
        assert_eq!((read.node, read.cluster, read.role), (NodeId::new(7), ClusterId::new(8), NodeRole::Manager));
        assert_eq!(read.life().unwrap().length(), Duration::from_secs(10 * 24 * 3600) - BACKDATE);
        assert!(!format!("{read:?}").contains("PRIVATE"));
    }

    #[test]
    fn another_certificate_is_refused() {
        assert!(identity("admin", &NodeId::new(7).to_string()).is_err());
        assert!(identity(WORKER_OU, "example.org").is_err());
        assert!(Identity::new("text".into(), String::new(), String::new()).is_err());
    }

    #[test]
    fn the_shortest_life_is_renewed_in_its_second_half_and_not_at_once() {
        let made = Moment(1_700_000_000_000);
        let hour = Duration::from_secs(3600);
        let life = Life { from: made, until: made + hour };
        for seed in 0..1_000 {
            let at = life.renew_at(Seed::new(seed));
            assert!((hour / 2..=hour * 4 / 5).contains(&at.since(made)), "{:?}", at.since(made));
        }
    }

    proptest! {
        #[test]
        fn renewal_falls_between_half_and_four_fifths_of_life(seed: u128, from in 0u64..1 << 41, life in 0u64..1 << 40) {
            let life = Life { from: Moment(from), until: Moment(from + life) };
            let at = life.renew_at(Seed::new(seed));
            let part = |percent: u32| life.from + life.length() / 100 * percent;
            prop_assert!(at + Duration::from_millis(1) >= part(50) && at <= part(80) + Duration::from_millis(1));
        }
    }
}
