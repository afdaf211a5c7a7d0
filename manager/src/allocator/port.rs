//! Which published port a service gets.

use skep_proto::model::{PortConfig, Protocol, PublishMode};

/// The ports given to those who ask for none: Docker's range. It ends where Linux begins to take ports for outgoing
/// connections (`net.ipv4.ip_local_port_range`), so that a published port is not in use already.
pub const DYNAMIC: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// No number of the range is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give out a published port: all of {}-{} are taken for {protocol}", DYNAMIC.start(), DYNAMIC.end())]
pub struct Exhausted {
    /// The transport that has none left.
    pub protocol: Protocol,
}

/// Gives each port a number. One that names its number keeps it, and a host-mode port without one gets it from its node.
/// The others get the one they had before, if it is still free, or else the lowest that is.
///
/// # Errors
/// When no number is left; nothing is given out then, and it is to be tried again when a port comes free.
pub fn assign(
    wanted: &[PortConfig],
    previous: &[PortConfig],
    is_taken: impl Fn(Protocol, u16) -> bool,
) -> Result<Vec<PortConfig>, Exhausted> {
    let mut given: Vec<PortConfig> = wanted.iter().copied().filter(|port| !is_dynamic(port)).collect();
    let mut all = wanted.to_vec();
    for port in all.iter_mut().filter(|port| is_dynamic(port)) {
        let free = |number: u16| !is_taken(port.protocol, number) && !clashes(&given, port.protocol, number);
        let before = previous.iter().find(|before| is_same(before, port)).map(|before| before.published);
        let number = before
            .filter(|&number| number != 0 && free(number))
            .or_else(|| DYNAMIC.into_iter().find(|&number| free(number)));
        port.published = number.ok_or(Exhausted { protocol: port.protocol })?;
        given.push(*port);
    }
    Ok(all)
}

fn is_dynamic(port: &PortConfig) -> bool {
    port.published == 0 && port.mode == PublishMode::Ingress
}

fn is_same(before: &PortConfig, port: &PortConfig) -> bool {
    (before.protocol, before.target, before.mode) == (port.protocol, port.target, port.mode)
}

fn clashes(given: &[PortConfig], protocol: Protocol, number: u16) -> bool {
    given.iter().any(|port| (port.protocol, port.published, port.mode) == (protocol, number, PublishMode::Ingress))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(target: u16, published: u16, mode: PublishMode) -> PortConfig {
        PortConfig { protocol: Protocol::Tcp, target, published, mode }
    }

    fn ingress(target: u16, published: u16) -> PortConfig {
        port(target, published, PublishMode::Ingress)
    }

    #[test]
    fn numbers_that_are_named_are_kept() {
        let wanted = [ingress(80, 8080), port(81, 0, PublishMode::Host), port(82, 82, PublishMode::Host)];
        assert_eq!(assign(&wanted, &[], |_, _| true), Ok(wanted.to_vec()));
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let wanted = [ingress(80, 0), ingress(81, 30_001), ingress(82, 0)];
        let given = assign(&wanted, &[], |_, number| number == 30_000).unwrap();
        assert_eq!(given, [ingress(80, 30_002), ingress(81, 30_001), ingress(82, 30_003)]);
    }

    #[test]
    fn an_update_keeps_the_number_while_it_is_free() {
        let before = [ingress(80, 31_234)];
        assert_eq!(assign(&[ingress(80, 0)], &before, |_, _| false).unwrap(), before);
        let given = assign(&[ingress(80, 0)], &before, |_, number| number == 31_234).unwrap();
        assert_eq!(given, [ingress(80, 30_000)]);
    }

    #[test]
    fn transports_do_not_share_numbers() {
        let wanted = [ingress(53, 0), PortConfig { protocol: Protocol::Udp, ..ingress(53, 0) }];
        let given = assign(&wanted, &[], |_, _| false).unwrap();
        assert_eq!((given[0].published, given[1].published), (30_000, 30_000));
    }

    #[test]
    fn a_full_range_gives_nothing_out() {
        assert_eq!(assign(&[ingress(80, 0)], &[], |_, _| true), Err(Exhausted { protocol: Protocol::Tcp }));
    }
}
