//! Names of images: `[registry/][path/]name[:tag][@digest]`, read and shown as Docker does.

use std::fmt;

use super::digest::Digest;
use super::error::ImageError;

/// The registry meant when none is named; it is not shown.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The path of a name without one on the default registry; it is not shown.
const DEFAULT_PATH: &str = "library/";
/// The tag meant when none is named.
const DEFAULT_TAG: &str = "latest";
/// Longest registry and path together, in bytes, as registries hold.
const NAME_BYTES_MAX: usize = 255;
/// Longest tag, in bytes, as registries hold.
const TAG_BYTES_MAX: usize = 128;

/// A checked name. Two spellings of one name (`web`, `docker.io/library/web:latest`) are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    registry: String,
    path: String,
    tag: String,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Result<Self, ImageError> {
        parse(text).map_err(|why| ImageError::BadReference { reference: text.chars().take(300).collect(), why })
    }

    /// The digest that the name insists on.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Name and tag as people write them; the key under which the store keeps the image.
    pub(crate) fn familiar(&self) -> String {
        format!("{}:{}", self.repository(), self.tag)
    }

    /// The name without its tag, as people write it.
    pub(crate) fn repository(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.path);
        }
        let bare = self.path.strip_prefix(DEFAULT_PATH);
        // `library/a/b` is not `a/b`: only a path of one part may lose its `library/`.
        bare.filter(|name| !name.contains('/')).unwrap_or(&self.path).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.familiar())?;
        self.digest.iter().try_for_each(|digest| write!(out, "@{digest}"))
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    let (rest, digest) = split_digest(text)?;
    let (name, tag) = split_tag(rest);
    let (registry, path) = split_registry(name);
    check_registry(registry)?;
    check_path(path)?;
    check_tag(tag)?;
    let alone = registry == DEFAULT_REGISTRY && !path.contains('/');
    let path = if alone { format!("{DEFAULT_PATH}{path}") } else { path.to_owned() };
    if registry.len() + 1 + path.len() > NAME_BYTES_MAX {
        return Err("it is longer than 255 bytes");
    }
    Ok(Reference { registry: registry.to_owned(), path, tag: tag.to_owned(), digest })
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>), &'static str> {
    match text.split_once('@') {
        None => Ok((text, None)),
        Some((name, digest)) => {
            let digest = Digest::parse(digest).map_err(|_| "what follows @ is not sha256: and 64 hex digits")?;
            Ok((name, Some(digest)))
        }
    }
}

/// A colon after the last slash starts a tag; one before it belongs to a registry's port.
fn split_tag(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (text, DEFAULT_TAG),
    }
}

/// The first part is a registry if it could be a host: it has a dot, a port or capitals, or is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (first.strip_prefix("index.").filter(is_hub).unwrap_or(first), rest),
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_hub(host: &&str) -> bool {
    *host == DEFAULT_REGISTRY
}

fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = split_port(registry);
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let ipv6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match ipv6 {
        Some(inner) => !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => host.split('.').all(is_host_label),
    };
    if port_ok && host_ok { Ok(()) } else { Err("its registry is not a host name with an optional port") }
}

fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

fn is_host_label(label: &str) -> bool {
    let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() == 64 && super::digest::is_hex(path) {
        return Err("64 hex digits are an id, not a name");
    }
    if path.split('/').all(is_path_part) {
        return Ok(());
    }
    Err(
        "each part of its path must be lowercase letters and digits, separated by one dot, one or two underscores, or dashes",
    )
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_path_part(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = part.split(|letter: char| letter.is_ascii() && word(letter as u8)).filter(|run| !run.is_empty());
    let known = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    let framed = part.bytes().next().is_some_and(word) && part.bytes().last().is_some_and(word);
    framed && { separators }.all(known)
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().is_some_and(letter);
    let rest = tag.bytes().all(|byte| letter(byte) || byte == b'.' || byte == b'-');
    if first && rest && tag.len() <= TAG_BYTES_MAX {
        return Ok(());
    }
    Err("its tag must be up to 128 letters, digits, underscores, dots and dashes, and not start with a dot or dash")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_shown_as_people_write_them() {
        let table = [
            ("web", "web:latest"),
            ("docker.io/library/web:latest", "web:latest"),
            ("index.docker.io/library/web", "web:latest"),
            ("library/web", "web:latest"),
            ("library/a/b", "library/a/b:latest"),
            ("skep/hello", "skep/hello:latest"),
            ("web:1.2-alpine_3", "web:1.2-alpine_3"),
            ("localhost/web", "localhost/web:latest"),
            ("localhost:5000/team/web:v1", "localhost:5000/team/web:v1"),
            ("[::1]:5000/web", "[::1]:5000/web:latest"),
            ("[::1]/web", "[::1]/web:latest"),
            ("Registry/web", "Registry/web:latest"),
            ("quay.io/a__b/c--d.e_f", "quay.io/a__b/c--d.e_f:latest"),
        ];
        for (text, shown) in table {
            assert_eq!(Reference::parse(text).unwrap().familiar(), shown, "{text}");
        }
    }

    #[test]
    fn digest_is_kept_beside_the_tag() {
        let reference = Reference::parse(&format!("web:1@{DIGEST}")).unwrap();
        assert_eq!(reference.digest().unwrap().to_string(), DIGEST);
        assert_eq!(reference.to_string(), format!("web:1@{DIGEST}"));
    }

    #[test]
    fn malformed_names_are_refused() {
        let long = "a".repeat(256);
        let tag = format!("web:{}", "a".repeat(129));
        let table = [
            "",
            ":",
            "web:",
            "Web",
            "web:-1",
            "web:.1",
            "a/",
            "/a",
            "a//b",
            "a..b/c",
            "a___b/c",
            "-a",
            "a-",
            "web@",
            "web@sha256:12",
            "web:a:b",
            "ho_st.x/web",
            "host:port/web",
            "host:99999999/web",
            "..",
            "../x",
            "é",
            "web tag",
            &long,
            &tag,
            &DIGEST[7..],
            "localhost:/web",
            "-h.x/web",
        ];
        for text in table {
            assert!(matches!(Reference::parse(text), Err(ImageError::BadReference { .. })), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_the_same_again(text in "\\PC{0,80}|[a-z0-9./:@_\\[\\]-]{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }

        #[test]
        fn well_formed_names_are_read(host in "(([a-z]{1,8}\\.[a-z]{1,8}|localhost)(:[1-9][0-9]{0,3})?/)?",
                                      path in "[a-z0-9]{1,9}((__|[._]|-{1,3})[a-z0-9]{1,9}){0,3}(/[a-z0-9]{1,9}){0,3}",
                                      tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}") {
            let text = format!("{host}{path}:{tag}");
            prop_assume!(!host.is_empty() || !is_host(path.split('/').next().unwrap()) || !path.contains('/'));
            prop_assert!(Reference::parse(&text).is_ok(), "{}", text);
        }
    }
}
