//! Which ports of the cluster a service has.

use skep_proto::model::{PortConfig, Protocol, PublishMode, Service};

use super::index::host_ports;

/// Ports that the cluster gives out once: named by the user or chosen by the allocator. A service being removed has none.
pub(super) fn claims(service: &Service) -> Vec<(Protocol, u16)> {
    if service.removing {
        return Vec::new();
    }
    let ports = service.spec.ports.iter().chain(&service.ports);
    let mut claims: Vec<_> = ports
        .filter(|port| is_ingress(port) && port.published != 0)
        .map(|port| (port.protocol, port.published))
        .collect();
    claims.sort_unstable();
    claims.dedup();
    claims
}

/// Fixed numbers that its tasks take on their nodes. Any number of services may have one, but not beside a service that has it for
/// the whole cluster: there it would lead to tasks of both.
pub(super) fn host_claims(service: &Service) -> Vec<(Protocol, u16)> {
    if service.removing {
        return Vec::new();
    }
    host_ports(&service.spec.ports).collect()
}

/// The ports of a new spec as far as they are known: numbers that were chosen for the same ports before are kept. Empty while a
/// number is still to be chosen.
pub(super) fn settled(wanted: &[PortConfig], before: &[PortConfig]) -> Vec<PortConfig> {
    let named = |port: &PortConfig| wanted.iter().any(|w| (w.protocol, w.published) == (port.protocol, port.published));
    let mut left: Vec<PortConfig> = before.iter().filter(|port| !named(port)).copied().collect();
    let settled: Vec<PortConfig> = wanted.iter().map(|port| choose(port, &mut left)).collect();
    let open = settled.iter().any(|port| is_ingress(port) && port.published == 0);
    if open { Vec::new() } else { settled }
}

fn choose(wanted: &PortConfig, left: &mut Vec<PortConfig>) -> PortConfig {
    if !is_ingress(wanted) || wanted.published != 0 {
        return *wanted;
    }
    let same = |port: &PortConfig| PortConfig { published: 0, ..*port } == *wanted;
    left.iter().position(same).map_or(*wanted, |place| left.remove(place))
}

fn is_ingress(port: &PortConfig) -> bool {
    port.mode == PublishMode::Ingress
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(target: u16, published: u16, mode: PublishMode) -> PortConfig {
        PortConfig { protocol: Protocol::Tcp, target, published, mode }
    }

    #[test]
    fn ports_are_settled_once_every_ingress_port_has_a_number() {
        use PublishMode::{Host, Ingress};
        let chosen = [port(80, 30_000, Ingress), port(80, 30_001, Ingress)];
        let cases = [
            (vec![], vec![]),
            (vec![port(80, 8080, Ingress)], vec![port(80, 8080, Ingress)]),
            (vec![port(80, 0, Host)], vec![port(80, 0, Host)]),
            (vec![port(80, 0, Ingress)], vec![port(80, 30_000, Ingress)]),
            (vec![port(80, 0, Ingress); 2], chosen.to_vec()),
            (vec![port(80, 0, Ingress); 3], vec![]),
            (
                vec![port(90, 30_000, Ingress), port(80, 0, Ingress)],
                vec![port(90, 30_000, Ingress), port(80, 30_001, Ingress)],
            ),
            (vec![port(81, 0, Ingress), port(80, 0, Ingress)], vec![]),
        ];
        for (wanted, expected) in cases {
            assert_eq!(settled(&wanted, &chosen), expected, "{wanted:?}");
        }
    }
}
