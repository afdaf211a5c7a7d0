//! Managers that answer and are not to be spoken with, told apart from those that are away: their root was replaced without this node, so that
//! neither takes the other's certificate. Trying again changes nothing; a person has to. Agents and managers connect each in their own way,
//! and have this question alike.

use std::error::Error;
use std::iter::successors;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, OtherError};

/// What is wrong with the certificate of whoever answers, besides what a certificate itself can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estranged {
    /// It says that it is a manager of our swarm, and no root that we know has signed it; or it has looked at ours and does not know the root
    /// that signed that.
    Root,
    /// It is a node of another swarm, or no manager.
    Swarm,
}

impl fmt::Display for Estranged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => {
                "a manager of this swarm answers, and one of the two does not know the root that certified the other"
            }
            Self::Swarm => "whoever answers is no manager of this swarm",
        })
    }
}

impl Error for Estranged {}

impl From<Estranged> for rustls::Error {
    fn from(why: Estranged) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(why))))
    }
}

/// Whether that is why a connection failed: [`Estranged::Root`].
#[must_use]
pub fn is_estranged(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let typed = error.downcast_ref().or(inner.and_then(|inner| inner.downcast_ref()));
        error.downcast_ref() == Some(&Estranged::Root)
            || typed.is_some_and(by_tls)
            || inner.is_some_and(|inner| by_words(&inner.to_string()))
    })
}

/// What a server says of our certificate, once it has proved itself with its own.
const ALERTS: [AlertDescription; 2] = [AlertDescription::UnknownCA, AlertDescription::DecryptError];

fn by_tls(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::AlertReceived(alert) => ALERTS.contains(alert),
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
            why.downcast_ref() == Some(&Estranged::Root)
        }
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
    fn who_does_not_know_the_others_root_is_told_from_who_is_away() {
        let outer = |error: rustls::Error| Outer(io::Error::new(io::ErrorKind::InvalidData, error));
        for alert in ALERTS.map(rustls::Error::AlertReceived) {
            let words = Outer(io::Error::new(io::ErrorKind::InvalidData, alert.to_string()));
            assert!(is_estranged(&words) && is_estranged(&outer(alert)), "{words:?}");
        }
        assert!(is_estranged(&outer(Estranged::Root.into())) && is_estranged(&Estranged::Root));
        assert!(!is_estranged(&outer(Estranged::Swarm.into())));
        assert!(!is_estranged(&outer(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure))));
        assert!(!is_estranged(&outer(CertificateError::Expired.into())));
        assert!(!is_estranged(&Outer(io::Error::from(io::ErrorKind::ConnectionRefused))));
    }
}
