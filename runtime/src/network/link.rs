//! A network interface as the kernel describes it, and the requests that name one.

use super::netlink::wire::{
    IFF_UP, IFLA_ADDRESS, IFLA_EXT_MASK, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER,
    IFLA_MTU, RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, RTM_NEWLINK,
};
use super::netlink::{Attributes, Message, attribute, attributes, number, text};

/// What we look at in an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number; a namespace never gives the same twice in a short time.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Driver, for example `bridge`.
    pub(crate) kind: String,
    /// Free text that goes with it.
    pub(crate) alias: String,
    /// Number of the bridge it is a port of, or 0.
    pub(crate) master: u32,
    /// Longest packet in bytes.
    pub(crate) mtu: u32,
    /// Hardware address.
    pub(crate) hardware: Vec<u8>,
    /// Whether it is switched on.
    pub(crate) up: bool,
}

/// Reads the body of a link message.
pub(crate) fn parse(body: &[u8]) -> Option<Link> {
    let (head, list) = body.split_at_checked(16)?;
    let up = number(&head[8..])? & IFF_UP != 0;
    let link = Link { index: number(&head[4..])?, up, ..Link::default() };
    Some(attributes(list).fold(link, with))
}

fn with(mut link: Link, (kind, payload): (u16, &[u8])) -> Link {
    match kind {
        IFLA_IFNAME => text(payload).clone_into(&mut link.name),
        IFLA_IFALIAS => text(payload).clone_into(&mut link.alias),
        IFLA_MASTER => link.master = number(payload).unwrap_or_default(),
        IFLA_MTU => link.mtu = number(payload).unwrap_or_default(),
        IFLA_ADDRESS => payload.clone_into(&mut link.hardware),
        IFLA_LINKINFO => text(attribute(payload, IFLA_INFO_KIND).unwrap_or_default()).clone_into(&mut link.kind),
        _ => {}
    }
    link
}

/// The fixed part of every link message (`struct ifinfomsg`). `index` 0 means: by name. `up` switches the link on.
pub(crate) fn head(index: u32, up: bool) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    let flags = if up { IFF_UP } else { 0 };
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    // The mask of flags to change: none but this one, so that other switches stay as they are.
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

/// Asks for one link by name.
pub(crate) fn get(name: &str) -> Message {
    Message::new(RTM_GETLINK, 0, &head(0, false), &Attributes::new().text(IFLA_IFNAME, name))
}

/// Asks for one link by number.
pub(crate) fn get_index(index: u32) -> Message {
    Message::new(RTM_GETLINK, 0, &head(index, false), &Attributes::new())
}

/// Asks for all links of the namespace, without counters.
pub(crate) fn list() -> Message {
    let attributes = Attributes::new().u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    Message::new(RTM_GETLINK, 0, &head(0, false), &attributes)
}

/// Switches a link on.
pub(crate) fn up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &head(index, true), &Attributes::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::netlink::replies;

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let info = Attributes::new().text(IFLA_INFO_KIND, "bridge");
        let list = Attributes::new().text(IFLA_IFNAME, "br0").u32(IFLA_MTU, 1400).nest(IFLA_LINKINFO, &info);
        let bytes = Message::new(RTM_NEWLINK, 0, &head(7, true), &list).to_bytes(1, 0);
        let link = parse(replies(&bytes).next().unwrap().body).unwrap();
        let want = Link { index: 7, name: "br0".into(), kind: "bridge".into(), mtu: 1400, up: true, ..Link::default() };
        assert_eq!(link, want);
    }
}
