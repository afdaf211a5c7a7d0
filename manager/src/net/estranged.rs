//! Managers that answer and are not to be spoken with, told apart from those that are gone: the root was replaced while this one was away, so
//! that neither takes the other's certificate. The agent has the same question, and its own way to connect.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, OtherError};

/// Whoever answers says that it is a manager of our cluster, and no root that we know has signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is a manager of this swarm by its certificate, and of a root that this one does not know")]
pub struct Estranged;

impl From<Estranged> for rustls::Error {
    fn from(why: Estranged) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
    }
}

/// Whether a connection failed for that, or because the manager at the other end, which has proved to be one, does not know the root of our
/// certificate.
#[must_use]
pub fn is_estranged(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let typed = error.downcast_ref().or(inner.and_then(|inner| inner.downcast_ref()));
        typed.is_some_and(by_tls) || inner.is_some_and(|inner| by_words(&inner.to_string()))
    })
}

/// What a server says of our certificate, once it has proved itself with its own.
const ALERTS: [AlertDescription; 2] = [AlertDescription::UnknownCA, AlertDescription::DecryptError];

fn by_tls(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::AlertReceived(alert) => ALERTS.contains(alert),
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.is::<Estranged>(),
        _ => false,
    }
}

/// In TLS 1.3 the server speaks of it when HTTP/2 has begun, which keeps no more of an error than its words.
fn by_words(words: &str) -> bool {
    ALERTS.iter().any(|alert| rustls::Error::AlertReceived(*alert).to_string() == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reach a manager")]
    struct Outer(#[source] io::Error);

    #[test]
    fn who_does_not_know_the_others_root_is_told_from_who_is_gone() {
        let outer = |error: rustls::Error| Outer(io::Error::new(io::ErrorKind::InvalidData, error));
        for alert in ALERTS.map(rustls::Error::AlertReceived) {
            let words = Outer(io::Error::new(io::ErrorKind::InvalidData, alert.to_string()));
            assert!(is_estranged(&words) && is_estranged(&outer(alert)), "{words:?}");
        }
        assert!(is_estranged(&outer(Estranged.into())));
        for other in [CertificateError::UnknownIssuer, CertificateError::Expired] {
            assert!(!is_estranged(&outer(other.into())), "another swarm's manager, or one of ours");
        }
        assert!(!is_estranged(&outer(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure))));
        assert!(!is_estranged(&Outer(io::Error::from(io::ErrorKind::ConnectionRefused))));
    }
}
