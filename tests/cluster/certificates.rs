//! Certificates whose time is over, and a root that is replaced, with real daemons.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::locking::{end_on_the_way_in, unlock, until_replaced};
use crate::managers::{managers, wait_for_status};
use crate::support::swarm::join_as_manager;
use crate::support::{Machine, SOON, World, can_run, wait_for};

fn root(machine: &Machine) -> String {
    machine.skep(&["swarm", "ca"]).ok()
}

fn until_ready(manager: &Machine, count: usize) {
    wait_for("the nodes to be ready", SOON, || {
        let states = manager.skep(&["node", "ls", "--format", "{{.Status}}"]);
        (states.code == 0 && states.out.lines().filter(|state| *state == "Ready").count() == count).then_some(())
    });
}

/// A root of our own, whose key we have.
fn own_root() -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "our own root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params, KeyPair::generate().unwrap())
}

/// Gives the machine's own key a certificate that was good until long ago.
fn age(machine: &Machine, ou: &str, issuer: &Issuer<'_, KeyPair>, (node, cluster): (&str, &str)) {
    let key = clear_key(machine);
    fs::write(pair(machine), format!("{key}{}", aged(&key, ou, issuer, (node, cluster)))).unwrap();
}

fn pair(machine: &Machine) -> PathBuf {
    machine.data_dir().join("certificates/node.pem")
}

/// The machine's own key, which lies in clear.
fn clear_key(machine: &Machine) -> String {
    let pair = fs::read_to_string(pair(machine)).unwrap();
    let end = "-----END PRIVATE KEY-----\n";
    pair[..pair.find(end).unwrap() + end.len()].to_owned()
}

/// A certificate for that key that was good until long ago.
fn aged(key: &str, ou: &str, issuer: &Issuer<'_, KeyPair>, (node, cluster): (&str, &str)) -> String {
    let mut params = CertificateParams::new(vec![node.to_owned(), ou.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cluster);
    params.distinguished_name.push(DnType::OrganizationalUnitName, ou);
    params.distinguished_name.push(DnType::CommonName, node);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 4, 1));
    params.signed_by(&KeyPair::from_pem(key).unwrap(), issuer).unwrap().pem()
}

/// Has the swarm trust a root whose key we have.
fn with_own_root(manager: &Machine) -> Issuer<'static, KeyPair> {
    let (params, key) = own_root();
    let certificate = params.self_signed(&key).unwrap().pem();
    let (cert_file, key_file) = (manager.scratch("ca.pem"), manager.scratch("ca.key"));
    fs::write(&cert_file, &certificate).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let (cert_file, key_file) = (cert_file.display().to_string(), key_file.display().to_string());
    let shown = manager.skep(&["swarm", "ca", "--rotate", "--ca-cert", &cert_file, "--ca-key", &key_file]).ok();
    assert_eq!((&shown, &root(manager)), (&certificate, &certificate));
    Issuer::new(params, key)
}

/// Ids of the machine's node and of its cluster.
fn ids(machine: &Machine) -> (String, String) {
    let ids = machine.skep(&["info", "--format", "{{.Swarm.NodeID}} {{.Swarm.Cluster.ID}}"]).ok();
    let (node, cluster) = ids.trim().split_once(' ').unwrap();
    (node.to_owned(), cluster.to_owned())
}

#[test]
fn a_locked_manager_that_was_off_for_longer_than_its_certificate_lives_wants_its_key_and_nothing_else() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (mut manager, worker) = (world.machine(), world.machine());
    manager.init();
    worker.join(&manager);
    until_ready(&manager, 2);
    let issuer = with_own_root(&manager);
    let ((node, cluster), key) = (ids(&manager), clear_key(&manager));
    // The certificate's key is the one that we have seen, and is sealed.
    let stone = manager.data_dir().join("manager/key.tmp");
    let unlock_key = end_on_the_way_in(&mut manager, &stone);
    let sealed = fs::read_to_string(pair(&manager)).unwrap();
    let (sealed, _) = sealed.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let old = aged(&key, "swarm-manager", &issuer, (&node, &cluster));
    fs::write(pair(&manager), format!("{sealed}{old}")).unwrap();
    manager.start();
    assert!(manager.skep(&["node", "ls"]).refused(1).contains("this manager is locked"));
    unlock(&manager, &unlock_key).ok();
    until_ready(&manager, 2);
    assert!(manager.log().contains("this manager renewed its certificate by itself"), "{}", manager.log());
    until_replaced(&manager);
    assert!(!fs::read_to_string(pair(&manager)).unwrap().contains("BEGIN PRIVATE KEY"));
    manager.skep(&["service", "create", "-d", "--replicas", "0", "--name", "there", "skep/hello"]).ok();
}

#[test]
fn a_swarm_that_was_off_for_longer_than_its_certificates_live_comes_back_by_itself() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (mut manager, mut worker) = (world.machine(), world.machine());
    manager.init();
    worker.join(&manager);
    until_ready(&manager, 2);
    manager.skep(&["service", "create", "--name", "web", "--replicas", "4", "skep/hello"]).ok();
    let issuer = with_own_root(&manager);
    let ((first, cluster), (second, _)) = (ids(&manager), ids(&worker));
    let before = (manager.container_pids(), worker.container_pids());
    manager.stop();
    worker.stop();
    age(&manager, "swarm-manager", &issuer, (&first, &cluster));
    age(&worker, "swarm-worker", &issuer, (&second, &cluster));
    worker.start();
    manager.start();
    until_ready(&manager, 2);
    assert!(manager.log().contains("this manager renewed its certificate by itself"), "{}", manager.log());
    assert!(worker.log().contains("asking the managers for the next one"), "{}", worker.log());
    assert_eq!((manager.container_pids(), worker.container_pids()), before, "no task noticed");
    manager.skep(&["service", "scale", "web=6"]).ok();
}

fn until_told(machine: &Machine, words: &str) {
    wait_for(words, SOON, || machine.skep(&["info"]).err.contains(words).then_some(()));
}

#[test]
fn a_manager_that_was_left_behind_is_told_so_and_does_not_make_the_swarm_a_second_time() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut all = managers(&world, 3);
    wait_for_status(&all[0], "m3 Ready Reachable");
    all[2].kill();
    wait_for_status(&all[0], "m3 Down Unreachable");
    all[0].skep(&["swarm", "ca", "--rotate", "-d"]).ok();
    wait_for("what to type", SOON, || {
        let shown = all[1].skep(&["swarm", "ca"]).err;
        shown.contains("skep node demote m3 && skep swarm ca --abandon m3").then_some(())
    });
    all[0].skep(&["node", "demote", "m3"]).ok();
    all[0].skep(&["swarm", "ca", "--abandon", "m3"]).ok();
    let behind = |machine: &Machine| {
        until_told(machine, "it was left behind when the swarm's root certificate was replaced");
        for command in [&["node", "ls"][..], &["swarm", "init", "--force-new-cluster"]] {
            let refused = machine.skep(command).refused(1);
            assert!(refused.contains("left behind") && refused.contains("`skep swarm leave --force`"), "{refused}");
        }
    };
    all[2].start();
    behind(&all[2]);
    // After another replacement no certificate leads back to the root that it knows.
    all[2].kill();
    all[0].skep(&["swarm", "ca", "--rotate"]).ok();
    all[2].start();
    behind(&all[2]);
    all[2].skep(&["swarm", "leave", "--force"]).ok();
    all[0].skep(&["node", "rm", "--force", "m3"]).ok();
    join_as_manager(&all[2], &all[0]).ok();
    wait_for_status(&all[0], "m3 Ready Reachable");
}

#[test]
fn a_root_is_replaced_although_a_node_is_down_and_that_one_joins_again() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (manager, worker, mut lost) = (world.machine(), world.machine(), world.machine());
    let late = world.machine();
    manager.init();
    worker.join(&manager);
    lost.join(&manager);
    until_ready(&manager, 3);
    manager
        .skep(&[
            "service",
            "create",
            "--name",
            "web",
            "--replicas",
            "2",
            "--constraint",
            "node.hostname==m2",
            "skep/hello",
        ])
        .ok();
    let (old, before) = (root(&manager), worker.container_pids());
    let token = manager.skep(&["swarm", "join-token", "-q", "worker"]).ok().trim().to_owned();
    lost.kill();
    manager.skep(&["swarm", "ca", "--rotate", "-d"]).ok();
    let refused = manager.skep(&["swarm", "ca", "--abandon", "m2"]).refused(1);
    assert!(refused.contains("it answers"), "{refused}");
    wait_for("the node to be down", SOON, || {
        let states = manager.column(&["node", "ls"], "{{.Hostname}} {{.Status}}");
        states.contains(&"m3 Down".to_owned()).then_some(())
    });
    assert_eq!(root(&manager), old, "it waits for the node that is down");
    let shown = manager.skep(&["swarm", "ca"]);
    assert!(shown.err.contains("is being replaced") && shown.err.contains("waiting for m3 (down)"), "{shown:?}");
    assert!(manager.skep(&["info"]).ok().contains("Root Rotation In Progress: true"));
    let said = manager.skep(&["swarm", "ca", "--abandon", "m3"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("root certificate replaced"), "{said:?}");
    assert_ne!(root(&manager), old);
    assert_eq!(worker.container_pids(), before, "no task noticed");
    let remote = format!("{}:2377", manager.address);
    let refused = late.skep(&["swarm", "join", "--token", &token, &remote]).refused(1);
    assert!(refused.contains("root was replaced"), "{refused}");
    late.join(&manager);
    lost.start();
    until_told(&lost, "it was left behind when the swarm's root certificate was replaced");
    let told = manager.skep(&["node", "inspect", "--format", "{{.Status.Message}}", "m3"]).ok();
    assert!(told.contains("left behind"), "{told}");
    lost.skep(&["swarm", "leave", "--force"]).ok();
    lost.join(&manager);
    until_ready(&manager, 4);
}
