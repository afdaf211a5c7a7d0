//! What may become the cluster's root.

use rcgen::{DistinguishedName, DnType, DnValue, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::Moment;
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::CaError;

/// A root that is given must be good for so long yet, Docker's bound: one that is nearly over would be no gain.
const LIFE_SECONDS_MIN: i64 = 365 * 24 * 3600;

/// Longest PEM looked at. A root with a 4096-bit RSA key has 2,000 bytes.
const PEM_LEN_MAX: usize = 64 * 1024;

/// Checks a root that somebody brings: one certificate, of an authority, good for a year, of that key and not of the current one's.
///
/// # Errors
/// Which of these it is not.
pub fn check(certificate: &str, key: &str, current: &str, now: Moment) -> Result<(), CaError> {
    if certificate.len().max(key.len()) > PEM_LEN_MAX {
        return Err(CaError::NotARoot("it is far too long"));
    }
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let ders: Vec<CertificateDer<'_>> = ders.map_err(|_| CaError::NotARoot("it is not in PEM"))?;
    let [der] = ders.as_slice() else { return Err(CaError::NotARoot("it must be one certificate, without a chain")) };
    let (_, read) = X509Certificate::from_der(der).map_err(|_| CaError::NotARoot("it is no X.509 certificate"))?;
    let key = KeyPair::from_pem(key).map_err(CaError::NewRoot)?;
    let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    let validity = read.validity();
    let signs = read.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    let problems = [
        (!read.is_ca() || !signs, "it is not for signing certificates"),
        (validity.not_before.timestamp() > seconds, "its time has not come; is the clock right?"),
        (validity.not_after.timestamp() < seconds + LIFE_SECONDS_MIN, "it must be good for a year from now, at least"),
        (key.subject_public_key_info() != read.public_key().raw, "the key is not that of the certificate"),
        (spki(current).as_deref() == Some(read.public_key().raw), "it has the key of the root that it is to replace"),
    ];
    problems.into_iter().find(|(is_so, _)| *is_so).map_or(Ok(()), |(_, why)| Err(CaError::NotARoot(why)))
}

fn spki(pem: &str) -> Option<Vec<u8>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    X509Certificate::from_der(&der).ok().map(|(_, read)| read.public_key().raw.to_vec())
}

/// A certificate's own name; `None` when it has parts that cannot be written again as they are.
#[must_use]
pub fn name_of(pem: &str) -> Option<DistinguishedName> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, read) = X509Certificate::from_der(&der).ok()?;
    let mut name = DistinguishedName::new();
    for part in read.subject().iter_attributes() {
        let oid: Vec<u64> = part.attr_type().iter()?.collect();
        let text = part.as_str().ok()?;
        let value = match part.attr_value().tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into().ok()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().ok()?),
            _ => return None,
        };
        name.push(DnType::from_oid(&oid), value);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa};

    use super::super::certificate::{ROOT_LIFE, sign_root};
    use super::*;

    const NOW: Moment = Moment(1_700_000_000_000);

    fn refusal(certificate: &str, key: &str, current: &str, now: Moment) -> String {
        check(certificate, key, current, now).unwrap_err().to_string()
    }

    #[test]
    fn each_thing_that_is_no_root_is_told_what_it_lacks() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (root, current) = (sign_root(&key, NOW).unwrap(), sign_root(&other, NOW).unwrap());
        let pem = key.serialize_pem();
        check(&root, &pem, &current, NOW).unwrap();
        let late = NOW + (ROOT_LIFE - Duration::from_secs(30 * 24 * 3600));
        let leaf = CertificateParams::new(vec!["web".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let cases = [
            (refusal("text", &pem, &current, NOW), "one certificate"),
            (refusal(&format!("{root}{current}"), &pem, &current, NOW), "one certificate"),
            (refusal(&root, &other.serialize_pem(), &current, NOW), "not that of the certificate"),
            (refusal(&root, "text", &current, NOW), "key"),
            (refusal(&root, &pem, &root, NOW), "the root that it is to replace"),
            (refusal(&root, &pem, &current, late), "a year"),
            (refusal(&leaf, &pem, &current, NOW), "not for signing"),
        ];
        for (sentence, words) in cases {
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn a_name_is_written_again_as_it_is() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "Our root");
        let name = params.distinguished_name.clone();
        assert_eq!(name_of(&params.self_signed(&key).unwrap().pem()), Some(name));
        assert_eq!(name_of("text"), None);
    }
}
