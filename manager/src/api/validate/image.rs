//! The grammar of image references.

use super::invalid::Invalid;

/// Longest image reference; registries stop at 255 characters of name, a digest takes 71.
const IMAGE_LEN_MAX: usize = 512;

/// The grammar of references: `[host[:port]/]path[:tag][@algorithm:hex]`, the path in lower case.
///
/// *Source*: the OCI distribution specification, "Pulling manifests".
pub(super) fn image(image: &str) -> Result<(), Invalid> {
    let refuse = |rule| Err(Invalid::Image { image: image.to_owned(), rule });
    if image.is_empty() || image.len() > IMAGE_LEN_MAX {
        return refuse("an image reference has 1 to 512 characters");
    }
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return refuse("what follows '@' must be a digest such as sha256:<64 hexadecimal digits>");
    }
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[last..].rfind(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return refuse("a tag has 1 to 128 letters, digits, '_', '.' or '-' and begins with a letter, digit or '_'");
    }
    if is_path(path) {
        Ok(())
    } else {
        refuse("a name is in lower case: letters, digits, and single '.', '_', '-' within")
    }
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let hexadecimal = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    matches!((algorithm, hex.len()), ("sha256", 64) | ("sha512", 128)) && hexadecimal
}

fn is_tag(text: &str) -> bool {
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let inner = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    head && inner && text.len() <= 128
}

fn is_path(path: &str) -> bool {
    let (host, rest) = match path.split_once('/') {
        Some((first, rest)) if is_host(first) => (Some(first), rest),
        _ => (None, path),
    };
    let host = host.is_none_or(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)));
    host && rest.split('/').all(is_component)
}

/// The first part is a registry when it has a dot or a port, or is `localhost`.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_component(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    edge(text.bytes().next()) && edge(text.bytes().last()) && text.bytes().all(inner) && !text.contains("..")
}
