//! Texts of the files that the runtime generates for a container.

use std::net::Ipv4Addr;

/// `/etc/hosts`: the loopback names, the container's own, and what was asked for.
#[must_use]
pub fn hosts(hostname: &str, address: Option<Ipv4Addr>, more: &[String]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for line in more {
        text.push_str(line.trim());
        text.push('\n');
    }
    let own = address.unwrap_or(Ipv4Addr::LOCALHOST);
    text.push_str(&format!("{own}\t{hostname}\n"));
    text
}

/// `/etc/resolv.conf`: the given servers, else the machine's file without servers that only the machine itself can reach.
#[must_use]
pub fn resolv_conf(servers: &[String], machine: &str) -> String {
    if !servers.is_empty() {
        return servers.iter().map(|s| format!("nameserver {s}\n")).collect();
    }
    let local = |line: &&str| {
        let server = line.strip_prefix("nameserver").map_or("", str::trim);
        server.starts_with("127.") || server == "::1"
    };
    machine.lines().filter(|line| !local(line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_name_leads_to_own_address() {
        let text = hosts("web", Some(Ipv4Addr::new(10, 0, 0, 2)), &["10.0.0.9 db".to_owned()]);
        assert!(text.ends_with("10.0.0.9 db\n10.0.0.2\tweb\n"));
    }

    #[test]
    fn loopback_servers_of_the_machine_are_left_out() {
        let machine = "search lan\nnameserver 127.0.0.53\nnameserver 10.1.1.1\n";
        assert_eq!(resolv_conf(&[], machine), "search lan\nnameserver 10.1.1.1\n");
        assert_eq!(resolv_conf(&["9.9.9.9".to_owned()], machine), "nameserver 9.9.9.9\n");
    }
}
