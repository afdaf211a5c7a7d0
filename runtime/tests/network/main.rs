//! The node-local network against the real kernel: each test is a machine of its own (see `lab.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and drives a real machine"
)]

mod lab;

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use lab::{Container, Netns, ask, call, hear, machine, network, open, run, spread, tcp, udp, wait_for};
use skep_runtime::network::{Network, NetworkError};
use skep_runtime::{ContainerId, PublishedPort};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);

/// Two containers behind these ports.
fn pair(network: &Network, ports: &[PublishedPort]) -> (Container, Container) {
    let both = (Container::start(network, "a"), Container::start(network, "b"));
    network.publish(&both.0.id, both.0.lease, ports).unwrap();
    network.publish(&both.1.id, both.1.lease, ports).unwrap();
    both
}

#[test]
fn connections_spread_evenly_from_everywhere() {
    if !machine() {
        return;
    }
    let (network, outside) = (network(), Netns::outside());
    let _both = pair(&network, &[tcp(8080)]);
    assert_eq!(spread(LOCALHOST, 8080, 600), [300, 300]);
    assert_eq!(spread(HOST, 8080, 600), [300, 300]);
    assert_eq!(outside.inside(|| spread(HOST, 8080, 600)), [300, 300]);
    network.remove_all().unwrap();
}

#[test]
fn an_unpublished_container_gets_no_new_connection_but_keeps_old_ones() {
    if !machine() {
        return;
    }
    let network = network();
    let (a, _b) = pair(&network, &[tcp(8080)]);
    let (name, mut old) = (0..2).find_map(|_| open(LOCALHOST, 8080).filter(|(name, _)| name == "a")).unwrap();
    network.unpublish(&a.id).unwrap();
    assert_eq!(spread(LOCALHOST, 8080, 50), [0, 50]);
    std::io::Write::write_all(&mut old, b"?").unwrap();
    assert_eq!(hear(&mut old), Some(name));
    network.remove_all().unwrap();
}

#[test]
fn a_released_container_frees_port_and_interface() {
    if !machine() {
        return;
    }
    let network = network();
    let a = Container::start(&network, "a");
    network.publish(&a.id, a.lease, &[tcp(8080)]).unwrap();
    network.release(&a.id).unwrap();
    assert_eq!(call(LOCALHOST, 8080), None);
    wait_for("the veth pair is gone", || !run("ip -o link").contains("master sktest0"));
    assert_ne!(network.lease(&ContainerId::new("c").unwrap()).unwrap().address, a.lease.address);
    network.remove_all().unwrap();
}

#[test]
fn traffic_passes_a_firewall_that_drops_by_default() {
    for iptables in ["iptables", "iptables-legacy"] {
        if !machine() {
            return;
        }
        run("echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables");
        run(&format!("{iptables} -P FORWARD DROP"));
        let (network, outside) = (network(), Netns::outside());
        outside.inside(|| lab::serve("outside"));
        let (a, b) = pair(&network, &[tcp(8080)]);
        assert_eq!(outside.inside(|| spread(HOST, 8080, 10)), [5, 5], "{iptables}: outside to published port");
        assert_eq!(
            a.netns.inside(|| call(OUTSIDE, 80)).as_deref(),
            Some("outside"),
            "{iptables}: container to outside"
        );
        assert_eq!(a.netns.inside(|| call(b.lease.address, 80)).as_deref(), Some("b"), "{iptables}: on the bridge");
        assert_eq!(a.netns.inside(|| spread(HOST, 8080, 10)), [5, 5], "{iptables}: hairpin");
        assert!(run(&format!("{iptables} -S FORWARD")).contains("-i sktest0"), "{iptables} can still list its rules");
        network.remove_all().unwrap();
        assert_eq!(run(&format!("{iptables} -S FORWARD")), "-P FORWARD DROP\n");
    }
}

#[test]
fn our_rules_stand_behind_the_administrators_and_come_back_after_a_flush() {
    if !machine() {
        return;
    }
    run("iptables -N DOCKER-USER && iptables -A FORWARD -j DOCKER-USER && iptables -A FORWARD -j DROP");
    let network = network();
    let _a = Container::start(&network, "a");
    let rules = || run("iptables -S FORWARD | grep -v ^-P");
    let order =
        || rules().lines().map(|l| ["DOCKER-USER", "sktest0", "DROP"].map(|w| l.contains(w))).collect::<Vec<_>>();
    let ours = [false, true, false];
    assert_eq!(order(), [[true, false, false], ours, ours, [false, false, true]]);
    run("iptables -F FORWARD");
    network.reconcile().unwrap();
    assert_eq!(order(), [ours, ours]);
    network.remove_all().unwrap();
}

#[test]
fn a_container_reaches_its_own_published_port() {
    for bridged in [0, 1] {
        if !machine() {
            return;
        }
        run(&format!("echo {bridged} > /proc/sys/net/bridge/bridge-nf-call-iptables"));
        let network = network();
        let a = Container::start(&network, "a");
        network.publish(&a.id, a.lease, &[tcp(8080), udp(8080)]).unwrap();
        assert_eq!(a.netns.inside(|| call(GATEWAY, 8080)).as_deref(), Some("a"), "bridge-nf-call-iptables {bridged}");
        network.remove_all().unwrap();
    }
}

#[test]
fn udp_spreads_and_follows_a_change_although_the_client_keeps_its_port() {
    if !machine() {
        return;
    }
    let network = network();
    let client = UdpSocket::bind("0.0.0.0:0").unwrap();
    let (a, b) = (Container::start(&network, "a"), Container::start(&network, "b"));
    // The client speaks before anybody serves the port.
    assert_eq!(ask(&client, GATEWAY, 5300), None);
    network.publish(&a.id, a.lease, &[udp(5300)]).unwrap();
    assert_eq!(ask(&client, GATEWAY, 5300).as_deref(), Some("a"));
    network.publish(&b.id, b.lease, &[udp(5300)]).unwrap();
    assert_eq!(ask(&client, GATEWAY, 5300).as_deref(), Some("a"));
    network.unpublish(&a.id).unwrap();
    assert_eq!(ask(&client, GATEWAY, 5300).as_deref(), Some("b"));
    let fresh = || ask(&UdpSocket::bind("0.0.0.0:0").unwrap(), LOCALHOST, 5300);
    network.publish(&a.id, a.lease, &[udp(5300)]).unwrap();
    let answers: Vec<_> = (0..10).filter_map(|_| fresh()).collect();
    assert_eq!(answers.iter().filter(|n| *n == "a").count(), 5, "{answers:?}");
    network.remove_all().unwrap();
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    if !machine() {
        return;
    }
    let network = network();
    let a = Container::start(&network, "a");
    let other = TcpListener::bind("127.0.0.1:8081").unwrap();
    let error = network.publish(&a.id, a.lease, &[tcp(8080), tcp(8081)]).unwrap_err();
    assert!(matches!(error, NetworkError::PortInUse { port: 8081, .. }));
    assert!(error.to_string().starts_with("publish port 8081/tcp: a process of this machine already uses it"));
    network.check_port_free(tcp(8081)).unwrap_err();
    network.check_port_free(tcp(8080)).unwrap();
    drop(other);
    network.publish(&a.id, a.lease, &[tcp(8080), tcp(8081)]).unwrap();
    network.check_port_free(tcp(8080)).unwrap();
    assert_eq!(TcpListener::bind("0.0.0.0:8080").unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    network.remove_all().unwrap();
    TcpListener::bind("0.0.0.0:8080").unwrap();
}

#[test]
fn whatever_is_broken_by_hand_is_mended() {
    if !machine() {
        return;
    }
    let network = network();
    let _both = pair(&network, &[tcp(8080)]);
    for damage in [
        "nft flush table ip sktest",
        "nft flush ruleset",
        "nft flush chain ip sktest postrouting",
        "nft delete element ip sktest ports '{ tcp . 8080 }'",
        "ip link del sktest0",
        "ip link set sktest0 down",
        "ip addr flush dev sktest0",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "echo 0 > /proc/sys/net/ipv4/conf/sktest0/route_localnet",
    ] {
        run(damage);
        network.reconcile().unwrap();
        // The kernel forgets the masqueraded connections of a lost address in the background, so the first new one may suffer.
        wait_for(damage, || spread(LOCALHOST, 8080, 10) == [5, 5]);
        assert_eq!(run("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    }
    network.remove_all().unwrap();
}

#[test]
fn a_change_by_hand_does_not_hinder_the_next_publish() {
    if !machine() {
        return;
    }
    let network = network();
    let (a, b) = pair(&network, &[tcp(8080)]);
    run("nft flush ruleset");
    network.publish(&a.id, a.lease, &[tcp(8080), tcp(8081)]).unwrap();
    assert_eq!(call(LOCALHOST, 8081).as_deref(), Some("a"));
    run("ip link del sktest0");
    let c = Netns::new();
    let id = ContainerId::new("c").unwrap();
    let lease = network.lease(&id).unwrap();
    network.attach(&id, c.0.as_fd(), lease).unwrap();
    assert_eq!(c.inside(|| call(b.lease.address, 80)).as_deref(), Some("b"));
    network.remove_all().unwrap();
}

#[test]
fn a_new_daemon_takes_over_without_a_gap() {
    if !machine() {
        return;
    }
    let old = network();
    let (a, b) = pair(&old, &[tcp(8080)]);
    let rules = || run("nft -a list ruleset");
    let before = rules();
    drop(old);
    let new = network();
    new.restore(&a.id, a.lease);
    new.restore(&b.id, b.lease);
    for container in [&a, &b] {
        new.publish(&container.id, container.lease, &[tcp(8080)]).unwrap();
        assert_eq!(rules(), before, "nothing is touched while the picture is not complete");
    }
    new.reconcile().unwrap();
    assert_eq!(rules(), before, "the kernel had it right");
    new.release(&a.id).unwrap();
    new.release(&b.id).unwrap();
    wait_for("both pairs are gone", || !run("ip -o link").contains("master sktest0"));
    new.remove_all().unwrap();
}

#[test]
fn a_neighbour_reaches_published_ports_only_and_containers_do_not_reach_the_loopback() {
    if !machine() {
        return;
    }
    let (network, outside) = (network(), Netns::outside());
    let a = Container::start(&network, "a");
    lab::serve("host");
    outside.inside(|| {
        run("ip route add 10.99.0.0/24 via 192.168.77.1");
        assert_eq!(call(a.lease.address, 80), None);
    });
    a.netns.inside(|| {
        run("ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 10.99.0.1; echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet");
        assert_eq!(call(GATEWAY, 80).as_deref(), Some("host"));
        assert_eq!(call(LOCALHOST, 80), None);
    });
    network.remove_all().unwrap();
}

#[test]
fn remove_all_leaves_no_trace() {
    if !machine() {
        return;
    }
    let look = || run("ip -o link; nft list ruleset; ls /proc/sys/net/ipv4/conf");
    let (network, before) = (network(), look());
    let (a, _b) = pair(&network, &[tcp(8080), udp(8080)]);
    network.release(&a.id).unwrap();
    network.remove_all().unwrap();
    assert_eq!(look(), before);
    network.reconcile().unwrap();
    network.remove_all().unwrap();
    assert_eq!(look(), before);
}

/// No claim, only figures, and so not part of the usual run: `cargo test -p skep-runtime --test network -- --ignored --nocapture`.
#[test]
#[ignore = "prints how long each step takes"]
fn timings() {
    if !machine() {
        return;
    }
    let network = network();
    let ids: Vec<_> = (0..100).map(|n| ContainerId::new(format!("c{n}")).unwrap()).collect();
    let spaces: Vec<_> = ids.iter().map(|_| Netns::new()).collect();
    let leases: Vec<_> = ids.iter().map(|id| network.lease(id).unwrap()).collect();
    let each = |what: &str, step: &dyn Fn(usize)| {
        let mut times: Vec<_> = (0..100)
            .map(|n| {
                let t = std::time::Instant::now();
                step(n);
                t.elapsed()
            })
            .collect();
        times.sort();
        println!("{what}: median {:?}, 90th {:?}, last {:?}", times[50], times[90], times[99]);
    };
    each("attach", &|n| network.attach(&ids[n], spaces[n].0.as_fd(), leases[n]).unwrap());
    each("publish on one port", &|n| network.publish(&ids[n], leases[n], &[tcp(8080)]).unwrap());
    each("unpublish", &|n| network.unpublish(&ids[n]).unwrap());
    each("publish a port of its own", &|n| {
        network.publish(&ids[n], leases[n], &[tcp(9000 + u16::try_from(n).unwrap())]).unwrap();
    });
    each("reconcile", &|_| network.reconcile().unwrap());
    each("release", &|n| network.release(&ids[n]).unwrap());
    let start = std::time::Instant::now();
    network.remove_all().unwrap();
    println!("remove_all: {:?}", start.elapsed());
}
