//! Which address the other nodes reach this one at.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};

/// Docker's port for everything between nodes.
pub(crate) const PORT_DEFAULT: u16 = 2377;

/// An address of this machine, with the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// As in `eth0`.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

/// Where to listen: `HOST[:PORT]`, every address of the machine when empty.
///
/// # Errors
/// When it is no address.
pub(crate) fn listen(text: &str) -> anyhow::Result<SocketAddr> {
    if text.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], PORT_DEFAULT)));
    }
    let address = text.parse::<SocketAddr>().ok().or_else(|| {
        let host = text.trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT_DEFAULT))
    });
    address.with_context(|| format!("use {text:?} as the listen address: write IP or IP:PORT"))
}

/// What to tell the others: as asked (`IP|INTERFACE[:PORT]`), else the address listened on, else the machine's only one.
///
/// # Errors
/// When the text names nothing of this machine, or there are several to choose from.
pub(crate) fn advertise(asked: &str, listen: SocketAddr, candidates: &[Candidate]) -> anyhow::Result<SocketAddr> {
    if !asked.is_empty() {
        return named(asked, listen.port(), candidates).and_then(|address| reachable(asked, address));
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    let outward: Vec<&Candidate> = candidates.iter().filter(|c| reaches_others(c.address)).collect();
    match outward.as_slice() {
        // A machine without a network is still a swarm of its own.
        [] => Ok(SocketAddr::from(([127, 0, 0, 1], listen.port()))),
        [only] => Ok(SocketAddr::new(only.address, listen.port())),
        several => {
            let list: Vec<String> = several.iter().map(|c| format!("{} on {}", c.address, c.interface)).collect();
            bail!(
                "choose an address for the other nodes to reach this one at: it has several ({}); give one with --advertise-addr",
                list.join(", ")
            )
        }
    }
}

fn named(asked: &str, port: u16, candidates: &[Candidate]) -> anyhow::Result<SocketAddr> {
    if let Ok(address) = asked.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = asked.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let (interface, port) = match asked.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().with_context(|| format!("use {port:?} as a port"))?),
        None => (asked, port),
    };
    let of_interface = |c: &&Candidate| c.interface == interface && c.address.is_ipv4();
    let found = candidates.iter().find(of_interface);
    let found = found.with_context(|| {
        format!("advertise {asked:?}: it is neither an IP address nor an interface of this machine that has one")
    })?;
    Ok(SocketAddr::new(found.address, port))
}

/// An address that stands for no machine, or for many, leads nobody here.
fn reachable(asked: &str, address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let broadcast = address.ip() == IpAddr::from([255, 255, 255, 255]);
    if address.ip().is_unspecified() || address.ip().is_multicast() || broadcast {
        bail!("advertise {asked:?}: the other nodes need the address of one machine; give one that this machine has");
    }
    if address.port() == 0 {
        bail!("advertise {asked:?}: the other nodes cannot connect to port 0; give the port that is listened on");
    }
    Ok(address)
}

/// Where a manager's own agent reaches it: on the machine itself, whatever stands between the machine and the others.
pub(crate) fn own(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, listen.port())),
        _ => listen,
    }
}

/// A manager to join, HOST[:PORT], Docker's port filled in.
///
/// # Errors
/// When it names no host, or the port is none.
pub(crate) fn remote(text: &str) -> anyhow::Result<String> {
    let refuse = |why| Err(anyhow::anyhow!("join the manager {text:?}: {why}; write HOST:PORT, as in 10.0.0.1:2377"));
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT_DEFAULT).to_string());
    }
    let bracketed = text.ends_with(']');
    let (host, port) = match text.rsplit_once(':').filter(|_| !bracketed) {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port != 0)),
        None => (text, Some(PORT_DEFAULT)),
    };
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_ip = name.parse::<IpAddr>().is_ok();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    match port {
        None => refuse("its port is no number from 1 to 65535"),
        Some(_) if !is_ip && !is_name => refuse("it names no host"),
        Some(port) => Ok(format!("{host}:{port}")),
    }
}

/// Not loopback, not link-local, and IPv4: what a neighbour can use without being told more.
fn reaches_others(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(interface: &str, address: &str) -> Candidate {
        Candidate { interface: interface.into(), address: address.parse().unwrap() }
    }

    fn any() -> SocketAddr {
        listen("").unwrap()
    }

    #[test]
    fn the_only_address_is_advertised() {
        let one = [candidate("lo", "127.0.0.1"), candidate("eth0", "10.0.0.5"), candidate("eth0", "fe80::1")];
        assert_eq!(advertise("", any(), &one).unwrap().to_string(), "10.0.0.5:2377");
    }

    #[test]
    fn several_addresses_are_listed_and_not_guessed_at() {
        let two = [candidate("eth0", "10.0.0.5"), candidate("eth1", "10.0.1.5")];
        let error = advertise("", any(), &two).unwrap_err().to_string();
        assert!(error.contains("10.0.0.5 on eth0") && error.contains("--advertise-addr"), "{error}");
    }

    #[test]
    fn an_interface_or_address_may_carry_a_port() {
        let one = [candidate("eth0", "10.0.0.5")];
        assert_eq!(advertise("eth0", any(), &one).unwrap().to_string(), "10.0.0.5:2377");
        assert_eq!(advertise("eth0:2400", any(), &one).unwrap().to_string(), "10.0.0.5:2400");
        assert_eq!(advertise("10.9.9.9:1", any(), &one).unwrap().to_string(), "10.9.9.9:1");
        assert!(advertise("eth7", any(), &one).is_err());
        assert!(advertise("eth0:x", any(), &one).is_err());
    }

    #[test]
    fn what_leads_nobody_here_is_not_advertised() {
        for bad in ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "10.0.0.5:0", "eth0:0"] {
            assert!(advertise(bad, any(), &[candidate("eth0", "10.0.0.5")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_managers_own_agent_stays_on_the_machine() {
        assert_eq!(own(any()).to_string(), "127.0.0.1:2377");
        assert_eq!(own(listen("[::]:99").unwrap()).to_string(), "[::1]:99");
        assert_eq!(own(listen("10.0.0.5").unwrap()).to_string(), "10.0.0.5:2377");
    }

    #[test]
    fn a_manager_to_join_is_a_host_and_perhaps_a_port() {
        let cases = [
            ("10.0.0.1", "10.0.0.1:2377"),
            ("10.0.0.1:99", "10.0.0.1:99"),
            ("manager-1.example:2377", "manager-1.example:2377"),
            ("fe80::1", "[fe80::1]:2377"),
            ("[fe80::1]", "[fe80::1]:2377"),
            ("[fe80::1]:99", "[fe80::1]:99"),
        ];
        for (text, address) in cases {
            assert_eq!(remote(text).unwrap(), address, "{text}");
        }
        for bad in ["", ":2377", "10.0.0.1:0", "10.0.0.1:99999", "a b:1", "http://10.0.0.1:2377", "x:"] {
            let error = remote(bad).unwrap_err().to_string();
            assert!(error.contains("write HOST:PORT"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_machine_without_a_network_is_its_own_swarm() {
        assert_eq!(advertise("", any(), &[candidate("lo", "127.0.0.1")]).unwrap().to_string(), "127.0.0.1:2377");
    }

    #[test]
    fn listening_takes_an_address_with_or_without_a_port() {
        assert_eq!(listen("10.0.0.1").unwrap().to_string(), "10.0.0.1:2377");
        assert_eq!(listen("[::]:99").unwrap().to_string(), "[::]:99");
        assert!(listen("nonsense").is_err());
    }
}
