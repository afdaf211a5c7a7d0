//! Managers that die, leave, are replaced, and start in whatever order.

use crate::support::swarm::{Swarm, change, join_as_manager, statuses, voters};
use crate::support::{Machine, SOON, can_run, wait_for};

fn pids(swarm: &Swarm) -> Vec<Vec<(String, String)>> {
    swarm.machines.iter().map(Machine::container_pids).collect()
}

/// Two of three managers are dead, and a new one is added to help. Elsewhere it is counted at once, and the cluster is lost for good.
/// Here it is told what is missing and stays out; it is welcome when there is a majority.
#[test]
fn two_of_three_managers_are_dead_and_a_new_one_is_to_help() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(3, 0);
    let late = swarm.world.machine();
    let token = swarm.machines[0].skep(&["swarm", "join-token", "-q", "manager"]).ok();
    swarm.machines[1].kill();
    swarm.machines[2].kill();
    wait_for("the survivor to know that it is alone", SOON, || {
        swarm.machines[0].skep(&["node", "ls"]).err.contains("2 of its 3 managers do not answer").then_some(())
    });
    let remote = format!("{}:2377", swarm.machines[0].address);
    let sentence = late.skep(&["swarm", "join", "--token", token.trim(), &remote]).refused(1);
    assert!(sentence.contains("2 of its 3 managers do not answer"), "{sentence}");
    assert_eq!(late.skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim(), "inactive");
    swarm.machines[1].start();
    swarm.until("two of the three to decide again", |lines| lines.len() == 3 && voters(lines) == 2);
    late.skep(&["swarm", "join", "--token", token.trim(), &remote]).ok();
    swarm.machines[0].skep(&["node", "demote", "m3"]).ok();
    swarm.until_line("m3 Down");
    swarm.machines[0].skep(&["node", "rm", "m3"]).ok();
    swarm.machines.push(late);
    swarm.until("three again", |lines| lines.len() == 3 && voters(lines) == 3);
}

/// The leader is demoted while another node is promoted. Elsewhere nobody leads afterwards.
#[test]
fn the_leader_is_demoted_while_others_are_promoted() {
    if !can_run() {
        return;
    }
    let swarm = Swarm::new(2, 2);
    for _ in 0..2 {
        let leader = swarm.leader();
        let lines = statuses(&swarm.machines[leader]);
        let workers: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_suffix(" Ready")).filter(|name| !name.contains(' ')).collect();
        let (promoted, demoted) = (workers[0].to_owned(), swarm.machines[leader].hostname.clone());
        // Asked at the other manager: the leader would refuse to answer what comes after its demotion.
        let other = lines.iter().find_map(|line| line.strip_suffix(" Ready Reachable")).unwrap();
        let at = swarm.machines.iter().find(|machine| machine.hostname == other).unwrap();
        std::thread::scope(|scope| {
            let promoting = scope.spawn(|| at.skep(&["node", "promote", "-d", &promoted]));
            let demoting = scope.spawn(|| at.skep(&["node", "demote", "-d", &demoted]));
            promoting.join().unwrap().ok();
            demoting.join().unwrap().ok();
        });
        swarm.until("two managers, the old leader none of them", |lines| {
            let voters: Vec<&String> =
                lines.iter().filter(|line| line.ends_with("Leader") || line.ends_with("Reachable")).collect();
            let is = |name: &str| voters.iter().any(|line| line.starts_with(&format!("{name} ")));
            voters.len() == 2 && is(&promoted) && !is(&demoted)
        });
        swarm.change(swarm.leader(), &format!("after-{demoted}"));
    }
}

/// Two of five managers leave by force, the leader among them, and a third one dies. Elsewhere those that left still count, and two of
/// five are no majority.
#[test]
fn managers_leave_by_force_and_one_more_dies() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(5, 0);
    for remaining in [4, 3] {
        let leader = swarm.leader();
        let leaving =
            if remaining == 4 { leader } else { (0..5).find(|i| *i != leader && in_swarm(&swarm, *i)).unwrap() };
        swarm.machines[leaving].skep(&["swarm", "leave", "--force"]).ok();
        swarm.until("its vote to be gone", |lines| voters(lines) == remaining);
    }
    let leader = swarm.leader();
    swarm.machines[leader].kill();
    let next = swarm.leader();
    swarm.change(next, "after");
    let last = (0..5).find(|i| *i != next && swarm.machines[*i].runs() && in_swarm(&swarm, *i)).unwrap();
    let hostname = swarm.machines[last].hostname.clone();
    let sentence = swarm.machines[next].skep(&["node", "demote", &hostname]).refused(1);
    let arithmetic = "2 of the managers remain, of which 2 must be reachable and only 1 is";
    assert!(sentence.contains(arithmetic), "{sentence}");
}

fn in_swarm(swarm: &Swarm, place: usize) -> bool {
    swarm.machines[place].skep(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok().trim() == "active"
}

/// Machines are replaced all the time, as a cloud's groups do: a new manager comes, an old one dies and is removed. Elsewhere the dead
/// pile up until they are the majority.
#[test]
fn managers_are_replaced_one_after_the_other() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(3, 0);
    swarm.change(0, "first");
    for round in 0..2 {
        let new = swarm.world.machine();
        join_as_manager(&new, &swarm.machines[0]).ok();
        let mut old = swarm.machines.remove(0);
        swarm.machines.push(new);
        old.kill();
        let at = &swarm.machines[swarm.leader()];
        at.skep(&["node", "demote", &old.hostname]).ok();
        swarm.until_line(&format!("{} Down", old.hostname));
        at.skep(&["node", "rm", &old.hostname]).ok();
        swarm.until("three managers and nobody else", |lines| lines.len() == 3 && voters(lines) == 3);
        swarm.change(0, &format!("round-{round}"));
    }
    let names = swarm.machines[2].column(&["service", "ls"], "{{.Name}}");
    assert_eq!(names, ["first", "round-0", "round-1"]);
}

/// Everything was without power, or was stopped for the night, and comes back in any order.
#[test]
fn the_whole_swarm_starts_in_any_order() {
    if !can_run() {
        return;
    }
    let mut swarm = Swarm::new(3, 2);
    swarm.machines[0].skep(&["service", "create", "--name", "web", "--replicas", "10", "skep/hello"]).ok();
    // However long the starts take here, nobody is missed meanwhile.
    swarm.machines[0].skep(&["swarm", "update", "--dispatcher-heartbeat", "20s"]).ok();
    let before = pids(&swarm);
    assert_eq!(before.iter().flatten().count(), 10);
    let orders: [[usize; 5]; 4] = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3, 1, 4], [4, 1, 3, 0, 2]];
    for (round, order) in orders.iter().enumerate() {
        for machine in &mut swarm.machines {
            if round % 2 == 0 { machine.kill() } else { machine.stop() }
        }
        order.iter().for_each(|place| swarm.machines[*place].start());
        swarm.until("all to be ready", |lines| {
            lines.iter().filter(|line| line.contains(" Ready")).count() == 5 && voters(lines) == 3
        });
        wait_for("all ten to be seen running", SOON, || {
            let said = swarm.machines[0].skep(&["service", "ls", "--filter", "name=web", "--format", "{{.Replicas}}"]);
            (said.code == 0 && said.out.trim() == "10/10").then_some(())
        });
        assert_eq!(pids(&swarm), before, "no container noticed: order {order:?}");
        swarm.change(order[0].min(2), &format!("round-{round}"));
    }
}

/// Two managers feel like twice the safety and are half of it. Who makes them is told, and so is who looks.
#[test]
fn two_managers_are_no_safer_than_one() {
    if !can_run() {
        return;
    }
    let swarm = Swarm::new(1, 2);
    let warning = "two managers has no fault tolerance";
    let (manager, second, third) = (&swarm.machines[0], &swarm.machines[1], &swarm.machines[2]);
    assert!(!manager.skep(&["info"]).err.contains(warning));
    let said = manager.skep(&["node", "promote", "m2"]);
    assert!(said.err.contains(warning), "{said:?}");
    // It is a manager as soon as the others count it; what there is to know it may hear a moment later.
    wait_for("the new one to know", SOON, || second.skep(&["info"]).err.contains(warning).then_some(()));
    let said = manager.skep(&["node", "promote", "m3"]);
    assert!(!said.err.contains(warning), "{said:?}");
    let said = manager.skep(&["node", "demote", "m3"]);
    assert!(said.err.contains(warning), "{said:?}");
    // The others can do without its vote at once; it hears of that itself a moment later.
    wait_for("it to leave", SOON, || (third.skep(&["swarm", "leave"]).code == 0).then_some(()));
    let sentence = second.skep(&["swarm", "leave"]).refused(1);
    assert!(sentence.contains("1 of them remain, of which 1 must be reachable"), "{sentence}");
    second.skep(&["swarm", "leave", "--force"]).ok();
    wait_for("one manager", SOON, || (voters(&statuses(manager)) == 1).then_some(()));
    let said = join_as_manager(third, manager);
    assert!(said.code == 0 && said.err.contains(warning), "{said:?}");
    change(manager, "after").ok();
}
