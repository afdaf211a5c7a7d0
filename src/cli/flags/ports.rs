//! Published ports, in Docker's short and long spelling.

use std::ops::RangeInclusive;

use skep_proto::model::{PortConfig, Protocol, PublishMode};

use crate::cli::error::usage;

/// Reads `[PUBLISHED:]TARGET[/PROTOCOL]`, where both may be ranges of one length, or
/// `published=8080,target=80,protocol=tcp,mode=ingress`.
///
/// # Errors
/// For anything else.
pub(crate) fn ports(text: &str) -> anyhow::Result<Vec<PortConfig>> {
    let read = if text.contains('=') { long(text) } else { short(text) };
    read.map_err(|problem| usage(format!("failed to publish {text:?}: {problem}")))
}

/// Reads `TARGET[/PROTOCOL]`: which ports to publish no longer.
///
/// # Errors
/// For anything else.
pub(crate) fn target(text: &str) -> anyhow::Result<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let read = number(port).and_then(|port| Ok((port, protocol_of(protocol)?)));
    read.map_err(|problem| usage(format!("failed to stop publishing {text:?}: {problem}; give the port in the container")))
}

fn short(text: &str) -> Result<Vec<PortConfig>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol_of(protocol)?;
    let (published, targets) = match ports.rsplit_once(':') {
        Some((published, _)) if published.contains([':', '.']) => {
            return Err("ports of a service are open on every node, so no address may be given".to_owned());
        }
        Some((published, target)) => (Some(range(published)?), range(target)?),
        None => (None, range(ports)?),
    };
    paired(published, targets, protocol)
}

fn paired(
    published: Option<RangeInclusive<u16>>,
    targets: RangeInclusive<u16>,
    protocol: Protocol,
) -> Result<Vec<PortConfig>, String> {
    let port = |target, published| PortConfig { protocol, target, published, mode: PublishMode::Ingress };
    match published {
        None => Ok(targets.map(|target| port(target, 0)).collect()),
        Some(published) if published.len() == targets.len() => {
            Ok(targets.zip(published).map(|(target, published)| port(target, published)).collect())
        }
        Some(_) => Err("both ranges must have the same length".to_owned()),
    }
}

fn long(text: &str) -> Result<Vec<PortConfig>, String> {
    let mut port = PortConfig { protocol: Protocol::Tcp, target: 0, published: 0, mode: PublishMode::Ingress };
    for field in text.split(',') {
        match field.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("target", value)) => port.target = number(value)?,
            Some(("published", value)) => port.published = number(value)?,
            Some(("protocol", value)) => port.protocol = protocol_of(value)?,
            Some(("mode", value)) => port.mode = mode_of(value)?,
            _ => return Err(format!("{field:?} is none of published=, target=, protocol= and mode=")),
        }
    }
    if port.target == 0 { Err("target= is missing".to_owned()) } else { Ok(vec![port]) }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok(first..=last) } else { Err(format!("the range {text} runs backwards")) }
}

fn number(text: &str) -> Result<u16, String> {
    let read = text.parse::<u16>().ok().filter(|port| *port != 0);
    read.ok_or_else(|| format!("{text:?} is no port from 1 to 65535"))
}

fn protocol_of(word: &str) -> Result<Protocol, String> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(format!("{word:?} is none of the protocols tcp and udp")),
    }
}

fn mode_of(word: &str) -> Result<PublishMode, String> {
    match word {
        "ingress" => Ok(PublishMode::Ingress),
        "host" => Ok(PublishMode::Host),
        _ => Err(format!("{word:?} is none of the modes ingress and host")),
    }
}

/// The word of a protocol.
pub(crate) fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The word of a mode.
pub(crate) fn mode_word(mode: PublishMode) -> &'static str {
    match mode {
        PublishMode::Ingress => "ingress",
        PublishMode::Host => "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let one = |p: PortConfig| {
            format!("{}:{}/{}/{}", p.published, p.target, protocol_word(p.protocol), mode_word(p.mode))
        };
        ports(text).unwrap().into_iter().map(one).collect()
    }

    #[test]
    fn the_short_spelling_takes_ranges() {
        assert_eq!(told("80"), ["0:80/tcp/ingress"]);
        assert_eq!(told("8080:80/udp"), ["8080:80/udp/ingress"]);
        assert_eq!(told("8000-8001:80-81"), ["8000:80/tcp/ingress", "8001:81/tcp/ingress"]);
    }

    #[test]
    fn the_long_spelling_names_its_parts() {
        assert_eq!(told("published=8080,target=80"), ["8080:80/tcp/ingress"]);
        assert_eq!(told("target=53,protocol=udp,mode=host"), ["0:53/udp/host"]);
    }

    #[test]
    fn bad_ports_are_refused() {
        let bad = ["", "0", "65536", "80/sctp", "1.2.3.4:80:80", "8000-8001:80", "81-80", "published=80", "target=x", "a=b"];
        for text in bad {
            assert!(ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_is_taken_away_by_its_target() {
        assert_eq!(target("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(target("53/udp").unwrap(), (53, Protocol::Udp));
        assert!(target("8080:80").is_err());
    }
}
