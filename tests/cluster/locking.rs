//! Autolock: real daemons whose managers are locked when they start again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::swarm::join_as_manager;
use crate::support::{Machine, SOON, Said, World, can_run, wait_for};

/// What a private key's text begins with.
const CLEAR: &[u8] = b"-----BEGIN PRIVATE KEY-----";

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let entries = entries.flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Files of the machine that hold one of these. Images and containers are not its own: the image of this very program has the words of
/// a key's text in it.
fn holding(machine: &Machine, secrets: &[&[u8]]) -> Vec<PathBuf> {
    let all = ["agent", "certificates", "manager"].iter().flat_map(|dir| files(&machine.data_dir().join(dir)));
    let own =
        fs::read_dir(machine.data_dir()).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        secrets.iter().any(|secret| bytes.windows(secret.len()).any(|part| part == *secret))
    };
    all.chain(own).filter(holds).collect()
}

fn state(machine: &Machine) -> String {
    machine.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim().to_owned()
}

/// The unlock key that the machine's keys lie under.
fn lies_under(machine: &Machine) -> String {
    machine.skep(&["info", "--format", "{{.Swarm.UnlockKeyID}}"]).ok().trim().to_owned()
}

fn key(machine: &Machine) -> String {
    machine.skep(&["swarm", "unlock-key", "-q"]).ok().trim().to_owned()
}

pub(crate) fn unlock(machine: &Machine, key: &str) -> Said {
    machine.skep_with(&["swarm", "unlock"], key.as_bytes())
}

fn until_sealed(machine: &Machine, secrets: &[&[u8]]) {
    wait_for("no key to lie in clear", SOON, || holding(machine, secrets).is_empty().then_some(()));
}

fn until_clear(machine: &Machine) {
    wait_for("the keys to lie in clear", SOON, || {
        let lies = machine.data_dir().join("manager/key").metadata().is_ok_and(|meta| meta.len() == 32);
        (lies && !holding(machine, &[CLEAR]).is_empty() && lies_under(machine).is_empty()).then_some(())
    });
}

fn until_listed(machine: &Machine, wanted: &str) {
    wait_for(wanted, SOON, || {
        let said = machine.skep(&["node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}"]);
        said.out.lines().any(|line| line.trim() == wanted).then_some(())
    });
}

fn restart(machine: &mut Machine) {
    machine.kill();
    machine.start();
}

#[test]
fn a_locked_manager_does_nothing_but_say_so_and_its_containers_run_on() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (first, second, mut third) = (world.machine(), world.machine(), world.machine());
    first.init();
    join_as_manager(&second, &first).ok();
    join_as_manager(&third, &first).ok();
    until_listed(&first, "m3 Ready Reachable");
    first.skep(&["service", "create", "--name", "web", "--replicas", "3", "skep/hello"]).ok();
    let all = [&first, &second, &third];
    let data_keys = all.map(|machine| fs::read(machine.data_dir().join("manager/key")).unwrap());
    let pair = |machine: &Machine| fs::read_to_string(machine.data_dir().join("certificates/node.pem")).unwrap();
    let tls_key = pair(&third).lines().nth(1).unwrap().to_owned();
    let said = first.skep(&["swarm", "update", "--autolock"]).ok();
    let key = key(&second);
    assert!(said.contains(&key) && key.starts_with("SWMKEY-1-"), "{said}");
    for (machine, data_key) in all.iter().zip(&data_keys) {
        assert_eq!(data_key.len(), 32);
        let secrets: [&[u8]; 4] = [CLEAR, data_key, tls_key.as_bytes(), key.as_bytes()];
        assert_eq!(holding(machine, &secrets), Vec::<PathBuf>::new(), "the command returned when all had followed");
    }
    let before = third.container_pids();
    restart(&mut third);
    assert_eq!(state(&third), "locked");
    let id = lies_under(&third);
    let commands: [&[&str]; 9] = [
        &["node", "ls"],
        &["service", "ls"],
        &["service", "create", "skep/hello"],
        &["swarm", "ca"],
        &["swarm", "unlock-key"],
        &["swarm", "update", "--autolock=false"],
        &["swarm", "leave"],
        &["swarm", "init"],
        &["swarm", "join", "--token", "SWMTKN-1-x", "10.99.0.11:2377"],
    ];
    for command in commands {
        let sentence = third.skep(command).refused(1);
        assert!(sentence.contains("this manager is locked") && sentence.contains(&id), "{command:?}: {sentence}");
    }
    assert!(third.skep(&["info"]).ok().contains(" Swarm: locked\n"));
    let listening = third.run(&["ss", "-ltn"]).stdout;
    assert!(!String::from_utf8_lossy(&listening).contains(":2377"), "nobody serves the port");
    assert_eq!(third.container_pids(), before);
    let lying = |machine: &Machine| (pair(machine), fs::read(machine.data_dir().join("lock.json")).unwrap());
    let lay = lying(&third);
    let wrong = unlock(&third, "SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").refused(1);
    assert!(wrong.contains(&id) && wrong.contains("the one given is"), "{wrong}");
    let cut = unlock(&third, &key[..key.len() - 1]).refused(1);
    assert!(cut.contains("was it cut?") && !cut.contains(&key[9..20]), "{cut}");
    unlock(&third, "\n").refused(2);
    assert_eq!((state(&third), lying(&third)), ("locked".to_owned(), lay));
    unlock(&third, &format!("{key}\n")).ok();
    until_listed(&third, "m3 Ready Reachable");
    assert!(unlock(&third, &key).refused(1).contains("not locked"));
    first.skep(&["service", "scale", "web=4"]).ok();
    assert!(
        all_logs(&[&first, &second, &third]).iter().all(|log| !log.contains(&key[9..]) && !log.contains("PRIVATE"))
    );
}

fn all_logs(machines: &[&Machine]) -> Vec<String> {
    machines.iter().map(|machine| machine.log()).collect()
}

#[test]
fn a_manager_that_was_away_opens_with_the_key_that_it_was_locked_with_and_follows() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (first, mut second, mut third) = (world.machine(), world.machine(), world.machine());
    let said = first.skep(&["swarm", "init", "--autolock", "--advertise-addr", &first.address]).ok();
    let old = key(&first);
    assert!(said.contains(&old), "{said}");
    assert_eq!(holding(&first, &[CLEAR]), Vec::<PathBuf>::new(), "it never lay there in clear");
    join_as_manager(&second, &first).ok();
    join_as_manager(&third, &first).ok();
    until_listed(&first, "m3 Ready Reachable");
    let old_id = lies_under(&third);
    third.kill();
    until_listed(&first, "m3 Down Unreachable");
    let said = second.skep(&["swarm", "unlock-key", "--rotate"]);
    let new = key(&first);
    assert!(said.err.contains("m3 does not answer"), "{said:?}");
    assert!(said.out.contains(&new) && new != old, "{said:?}");
    assert_ne!(lies_under(&second), old_id, "who answers has followed");
    third.start();
    let told = unlock(&third, &new).refused(1);
    assert!(told.contains(&old_id) && told.contains("unlock-key --id"), "it says which key it wants: {told}");
    let found = first.skep(&["swarm", "unlock-key", "-q", "--id", &old_id]).ok();
    assert_eq!(found.trim(), old);
    unlock(&third, &found).ok();
    wait_for("the third manager to follow", SOON, || (lies_under(&third) == lies_under(&first)).then_some(()));
    restart(&mut third);
    assert!(unlock(&third, &old).refused(1).contains(&old_id), "the old key opens nothing any more");
    unlock(&third, &new).ok();
    // All at once: without a key there is no leader, and with two of three there is.
    let mut first = first;
    for machine in [&mut first, &mut second, &mut third] {
        restart(machine);
    }
    unlock(&first, &new).ok();
    unlock(&second, &new).ok();
    wait_for("two of them to agree", SOON, || (second.skep(&["node", "ls"]).code == 0).then_some(()));
    second.skep(&["swarm", "update", "--autolock=false"]).ok();
    until_clear(&first);
    until_clear(&second);
    assert_eq!(state(&third), "locked", "it was away");
    unlock(&third, &new).ok();
    until_clear(&third);
    restart(&mut third);
    assert_eq!(state(&third), "active");
    assert!(first.skep(&["swarm", "unlock-key"]).refused(1).contains("autolock is off"));
}

/// The files that a machine's keys lie in, in the order in which they are sealed.
fn key_files(machine: &Machine) -> [PathBuf; 3] {
    ["lock.json", "certificates/node.pem", "manager/key"].map(|name| machine.data_dir().join(name))
}

/// Switches autolock on, and ends the daemon when it has got as far as where `stone` lies, which nothing can be written over. Gives the
/// unlock key.
pub(crate) fn end_on_the_way_in(machine: &mut Machine, stone: &Path) -> String {
    fs::create_dir(stone).unwrap();
    let key = std::thread::scope(|scope| {
        let switching = scope.spawn(|| machine.skep(&["swarm", "update", "--autolock"]));
        wait_for("it to get so far", SOON, || {
            let tries = machine.log().matches("do not lie as the swarm wants it").count();
            (tries > 0 && !lies_under(machine).is_empty()).then_some(())
        });
        let key = key(machine);
        machine.signal(nix::sys::signal::Signal::SIGKILL);
        switching.join().unwrap();
        key
    });
    machine.kill();
    fs::remove_dir(stone).unwrap();
    key
}

/// The machine's key has been replaced since it lay in clear.
pub(crate) fn until_replaced(machine: &Machine) {
    let pair = machine.data_dir().join("certificates/node.pem");
    wait_for("another TLS key", SOON, || (!fs::read_to_string(&pair).unwrap().contains("Lay-In-Clear")).then_some(()));
}

#[test]
fn a_crash_on_the_way_in_is_taken_up_where_it_was_and_no_key_that_lay_in_clear_stays_in_use() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut machine = world.machine();
    machine.init();
    // Nothing is sealed yet; the certificate's key is; the log's is, too, and the certificate is yet to be replaced.
    for (round, stone) in ["certificates/node.new", "manager/key.tmp"].into_iter().enumerate() {
        let stone = machine.data_dir().join(stone);
        let clear = key_files(&machine).map(|path| fs::read(path).unwrap_or_default());
        let tls_key = String::from_utf8_lossy(&clear[1]).lines().nth(1).unwrap().to_owned();
        let key = end_on_the_way_in(&mut machine, &stone);
        let pair = fs::read_to_string(&key_files(&machine)[1]).unwrap();
        assert_eq!((pair.contains("Lay-In-Clear"), pair.contains(&tls_key)), (round == 1, round == 0));
        machine.start();
        if round == 1 {
            assert_eq!(state(&machine), "locked");
            unlock(&machine, &key).ok();
        }
        until_sealed(&machine, &[CLEAR, &clear[2]]);
        until_replaced(&machine);
        wait_for("the log's old key to go", SOON, || {
            key_files(&machine)[2].metadata().is_ok_and(|meta| meta.len() == 68).then_some(())
        });
        assert_eq!(state(&machine), "active");
        restart(&mut machine);
        unlock(&machine, &key).ok();
        machine
            .skep(&["service", "create", "-d", "--replicas", "0", "--name", &format!("s{round}"), "skep/hello"])
            .ok();
        machine.skep(&["swarm", "update", "--autolock=false"]).ok();
        until_clear(&machine);
        assert!(fs::read(&key_files(&machine)[2]).unwrap() != clear[2], "the log has another key");
    }
}

#[test]
fn a_crash_on_the_way_out_is_taken_up_where_it_was() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut machine = world.machine();
    machine.init();
    let paths = key_files(&machine);
    machine.skep(&["swarm", "update", "--autolock"]).ok();
    until_sealed(&machine, &[CLEAR]);
    until_replaced(&machine);
    let key = key(&machine);
    wait_for("the log's old key to go", SOON, || paths[2].metadata().is_ok_and(|meta| meta.len() == 68).then_some(()));
    let sealed = paths.clone().map(|path| fs::read(path).ok());
    machine.skep(&["swarm", "update", "--autolock=false"]).ok();
    until_clear(&machine);
    let clear = paths.clone().map(|path| fs::read(path).ok());
    // On the way out, from behind.
    for written in [1, 2] {
        machine.kill();
        for (place, path) in paths.iter().enumerate().rev() {
            let content = if place + written >= paths.len() { &clear[place] } else { &sealed[place] };
            fs::write(path, content.as_ref().unwrap()).unwrap();
        }
        machine.start();
        if written == 1 {
            assert_eq!(state(&machine), "locked");
            unlock(&machine, &key).ok();
        }
        until_clear(&machine);
        restart(&mut machine);
        assert_eq!(state(&machine), "active");
    }
}

#[test]
fn who_becomes_a_manager_locks_itself_and_who_is_demoted_does_not_any_more() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (first, mut second) = (world.machine(), world.machine());
    first.skep(&["swarm", "init", "--autolock", "--advertise-addr", &first.address]).ok();
    second.join(&first);
    until_listed(&first, "m2 Ready");
    assert!(!holding(&second, &[CLEAR]).is_empty(), "a worker starts without help");
    first.skep(&["node", "promote", "m2"]).ok();
    until_listed(&first, "m2 Ready Reachable");
    until_sealed(&second, &[CLEAR]);
    let key = key(&first);
    restart(&mut second);
    unlock(&second, &key).ok();
    until_listed(&first, "m2 Ready Reachable");
    first.skep(&["node", "demote", "m2"]).ok();
    until_listed(&first, "m2 Ready");
    wait_for("the lock to go", SOON, || (!second.data_dir().join("lock.json").exists()).then_some(()));
    restart(&mut second);
    assert_eq!(state(&second), "active");
    until_listed(&first, "m2 Ready");
    first.skep(&["node", "promote", "m2"]).ok();
    until_listed(&first, "m2 Ready Reachable");
    restart(&mut second);
    second.skep(&["swarm", "leave"]).refused(1);
    second.skep(&["swarm", "leave", "--force"]).ok();
    assert_eq!(state(&second), "inactive");
    assert_eq!(files(&second.data_dir().join("certificates")), Vec::<PathBuf>::new());
    assert!(!second.data_dir().join("lock.json").exists() && !second.data_dir().join("manager").exists());
}

#[test]
fn a_survivor_that_goes_on_alone_stays_locked_and_who_comes_back_follows_it() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (mut first, mut second) = (world.machine(), world.machine());
    first.skep(&["swarm", "init", "--autolock", "--advertise-addr", &first.address]).ok();
    join_as_manager(&second, &first).ok();
    until_listed(&first, "m2 Ready Reachable");
    let old = key(&first);
    first.kill();
    restart(&mut second);
    let refused = second.skep(&["swarm", "init", "--force-new-cluster"]).refused(1);
    assert!(refused.contains("this manager is locked"), "{refused}");
    unlock(&second, &old).ok();
    second.skep(&["swarm", "init", "--force-new-cluster"]).ok();
    assert_eq!(holding(&second, &[CLEAR]), Vec::<PathBuf>::new());
    assert_eq!(key(&second), old);
    second.skep(&["swarm", "unlock-key", "--rotate"]).ok();
    let new = key(&second);
    wait_for("it to follow", SOON, || unlock_id(&second, &new).then_some(()));
    restart(&mut second);
    unlock(&second, &old).refused(1);
    unlock(&second, &new).ok();
    first.start();
    unlock(&first, &old).ok();
    until_listed(&second, "m1 Ready Reachable");
    wait_for("the one that came back to follow", SOON, || unlock_id(&first, &new).then_some(()));
    assert_eq!(holding(&first, &[CLEAR]), Vec::<PathBuf>::new());
    restart(&mut first);
    unlock(&first, &new).ok();
}

/// Whether the machine's keys lie under that unlock key.
fn unlock_id(machine: &Machine, key: &str) -> bool {
    let id = lies_under(machine);
    machine.skep(&["swarm", "unlock-key", "-q", "--id", &id]).out.trim() == key
}

#[test]
fn a_backup_of_locked_managers_is_restored_locked_and_with_the_same_key() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut first = world.machine();
    first.skep(&["swarm", "init", "--autolock", "--advertise-addr", &first.address]).ok();
    first.skep(&["service", "create", "-d", "--replicas", "0", "--name", "there", "skep/hello"]).ok();
    let (unlock_key, file) = (key(&first), first.scratch("backup").display().to_string());
    let recovery = first.scratch("recovery");
    fs::write(&recovery, first.skep(&["backup", "-q", &file]).ok()).unwrap();
    first.kill();
    let mut fresh = world.machine();
    let said = fresh.skep(&["restore", "--key-file", &recovery.display().to_string(), &file]).ok();
    assert!(!said.contains(&unlock_key[9..]), "{said}");
    assert_eq!(holding(&fresh, &[CLEAR, unlock_key.as_bytes()]), Vec::<PathBuf>::new(), "it never lay there in clear");
    restart(&mut fresh);
    assert_eq!(state(&fresh), "locked");
    unlock(&fresh, &unlock_key).ok();
    until_listed(&fresh, "m2 Ready Leader");
    assert_eq!(fresh.column(&["service", "ls"], "{{.Name}}"), ["there"]);
    // The old manager is told as soon as it can hear: it is locked until then.
    first.start();
    assert_eq!(state(&first), "locked");
    unlock(&first, &unlock_key).ok();
    until_listed(&fresh, "m1 Ready Reachable");
    assert_eq!(holding(&first, &[CLEAR]), Vec::<PathBuf>::new());
    wait_for("both to lie under the same key", SOON, || {
        (unlock_id(&first, &unlock_key) && unlock_id(&fresh, &unlock_key)).then_some(())
    });
}
