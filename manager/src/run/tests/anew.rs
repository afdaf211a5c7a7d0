//! One of three goes on alone; what becomes of the others when they are back.

use std::time::Duration;

use skep_proto::model::{Availability, Era, NodeDescription};

use super::group::{Seat, end, free, group_of_three, has, joined, leader, until, write};
use crate::run::NewSeat;
use crate::store::{Over, ProposeError, Rebuild};
use crate::{Manager, ManagerConfig, sys};

/// The state of the survivor's cluster that must not change.
fn kept(seat: &Seat) -> (String, String, String, u128) {
    let state = seat.manager().store().read();
    let cluster = state.cluster().unwrap();
    let (worker, manager) = (cluster.worker_token.clone(), cluster.manager_token.clone());
    (cluster.root_key.clone(), worker, manager, u128::from_be_bytes(cluster.id.to_bytes().try_into().unwrap()))
}

/// Two of three are lost, and the third goes on.
async fn survivor_of(seats: &mut [Seat], survivor: usize) {
    for lost in (0..3).filter(|&seat| seat != survivor) {
        seats[lost].stop().await;
    }
    seats[survivor].stop().await;
    Manager::make_alone(&seats[survivor].config).await.unwrap();
    seats[survivor].start().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_goes_on_with_everything_and_takes_managers_in_again() {
    let mut seats = group_of_three().await;
    let leads = leader(&seats).await;
    write(&seats[leads], "before").await.unwrap();
    let survivor = (leads + 1) % 3;
    until("the survivor to have it", || has(&seats[survivor], "before")).await;
    let before = kept(&seats[survivor]);
    let begun = sys::now();
    survivor_of(&mut seats, survivor).await;
    assert!(seats[survivor].manager().leads());
    assert!(has(&seats[survivor], "before"));
    assert_eq!(kept(&seats[survivor]), before);
    assert_eq!(seats[survivor].manager().counts().unwrap().managers, 1);
    assert!(seats[survivor].manager().store().era().unwrap().0 >= begun.0);
    write(&seats[survivor], "after").await.unwrap();
    let newcomer = joined(&seats[survivor]).await;
    until("the newcomer to have it", || has(&newcomer, "after")).await;
    until("two voters", || seats[survivor].manager().group().voters().count() == 2).await;
    seats.push(newcomer);
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_were_left_behind_hear_of_it_together_and_decide_nothing() {
    let mut seats = group_of_three().await;
    let survivor = (leader(&seats).await + 1) % 3;
    survivor_of(&mut seats, survivor).await;
    let ghosts: Vec<usize> = (0..3).filter(|&seat| seat != survivor).collect();
    for &ghost in &ghosts {
        seats[ghost].start().await;
    }
    until("both to hear of it", || {
        ghosts.iter().all(|&ghost| seats[ghost].manager().store().watch_over().borrow().is_some())
    })
    .await;
    for &ghost in &ghosts {
        let refused = write(&seats[ghost], "ghost").await;
        assert!(matches!(refused, Err(ProposeError::NotLeader | ProposeError::ReadOnly(_))), "{refused:?}");
        until("it to lead no more", || !seats[ghost].manager().leads()).await;
    }
    write(&seats[survivor], "alive").await.unwrap();
    assert!(!has(&seats[survivor], "ghost"));
    let back = ghosts[0];
    seats[back].stop().await;
    Manager::put_aside(&seats[back].config).await.unwrap();
    seats[back].config.managers = vec![seats[survivor].config.advertise.clone()];
    seats[back].manager = Some(Manager::join(seats[back].config.clone()).await.unwrap());
    until("it to have what it missed", || has(&seats[back], "alive")).await;
    until("two voters", || seats[survivor].manager().group().voters().count() == 2).await;
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_know_nobody_of_the_new_era_are_called_and_the_new_era_rules() {
    let mut seats = group_of_three().await;
    let survivor = (leader(&seats).await + 1) % 3;
    let ghosts: Vec<usize> = (0..3).filter(|&seat| seat != survivor).collect();
    for seat in &mut seats {
        seat.stop().await;
    }
    let place = free();
    (seats[survivor].config.listen, seats[survivor].config.advertise) = (place, place.to_string());
    Manager::make_alone(&seats[survivor].config).await.unwrap();
    for &ghost in &ghosts {
        seats[ghost].start().await;
    }
    let leads = leader(&seats).await;
    write(&seats[leads], "ghost").await.unwrap();
    seats[survivor].start().await;
    let managers = vec![place.to_string()];
    for &ghost in &ghosts {
        let over = seats[ghost].manager().store().watch_over();
        until(
            "both to be told where the new era is",
            || matches!(&*over.borrow(), Some(Over::Era { managers: told, .. }) if *told == managers),
        )
        .await;
        until("it to lead no more", || !seats[ghost].manager().leads()).await;
    }
    assert!(write(&seats[leads], "later").await.is_err());
    let former = |seats: &[Seat]| seats[survivor].manager().store().read().cluster().unwrap().former_managers.len();
    assert_eq!(former(&seats), 2, "they are called until they live in it");
    let back = ghosts[0];
    seats[back].stop().await;
    Manager::put_aside(&seats[back].config).await.unwrap();
    seats[back].config.managers = managers;
    seats[back].manager = Some(Manager::join(seats[back].config.clone()).await.unwrap());
    until("it to be called no more", || former(&seats) == 1).await;
    assert!(!has(&seats[survivor], "ghost"));
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_says_of_a_later_era_counts_only_if_a_manager_there_says_so() {
    let mut seats = group_of_three().await;
    let survivor = (leader(&seats).await + 1) % 3;
    let ghosts: Vec<usize> = (0..3).filter(|&seat| seat != survivor).collect();
    seats[survivor].stop().await;
    let leads = leader(&seats[..]).await;
    let store = seats[leads].manager().store().clone();
    let (nowhere, liar) = (free().to_string(), Era(u64::MAX));
    let others: Vec<String> = ghosts.iter().map(|&seat| seats[seat].config.advertise.clone()).collect();
    assert!(store.hear_rumor(liar, [vec![nowhere], others].concat()), "it would be later");
    write(&seats[leads], "still").await.unwrap();
    let place = free();
    (seats[survivor].config.listen, seats[survivor].config.advertise) = (place, place.to_string());
    Manager::make_alone(&seats[survivor].config).await.unwrap();
    // Nobody is called from there yet, and the rumor was one.
    assert_eq!(*store.watch_over().borrow(), None);
    seats[survivor].start().await;
    let era = seats[survivor].manager().store().era().unwrap();
    store.hear_rumor(era, vec![place.to_string()]);
    let over = store.watch_over();
    until("it to find out", || matches!(&*over.borrow(), Some(Over::Era { era: told, .. }) if *told == era)).await;
    assert!(!store.hear_rumor(Era(0), Vec::new()));
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_an_earlier_era_than_he_has_heard_of() {
    let seats = group_of_three().await;
    let leads = leader(&seats).await;
    let config = seats[(leads + 1) % 3].config.clone();
    let dir = tempfile::tempdir().unwrap();
    let (place, state_dir) = (free(), dir.path().join("raft"));
    let era = Era(sys::now().0 + 1_000_000);
    let managers = vec![seats[leads].config.advertise.clone()];
    let config = ManagerConfig { state_dir, listen: place, advertise: place.to_string(), managers, era, ..config };
    let over = seats[leads].manager().store().watch_over();
    let heard = || matches!(&*over.borrow(), Some(Over::Era { era: told, .. }) if *told == era);
    tokio::select! {
        joined = Manager::join(config) => panic!("{joined:?}"),
        () = until("the leader to hear of it", heard) => {}
    }
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_may_go_on_at_another_address() {
    let mut seats = group_of_three().await;
    for seat in &mut seats {
        seat.stop().await;
    }
    let place = free();
    (seats[2].config.listen, seats[2].config.advertise) = (place, place.to_string());
    Manager::make_alone(&seats[2].config).await.unwrap();
    seats[2].start().await;
    let node = seats[2].config.identity.node;
    let address = seats[2].manager().store().read().node(node).unwrap().manager.clone().unwrap().address;
    assert_eq!(address, place.to_string());
    let again = tokio::time::timeout(Duration::from_secs(20), Manager::make_alone(&seats[2].config)).await.unwrap();
    assert!(again.is_err(), "a directory in use is left alone");
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_taken_from_its_backup_by_a_machine_that_was_no_node_of_it() {
    let mut seats = group_of_three().await;
    let leads = leader(&seats).await;
    write(&seats[leads], "before").await.unwrap();
    let before = kept(&seats[leads]);
    let mut rebuild = Rebuild::default();
    let past = seats[leads].manager().store().hold();
    let index = past.index();
    past.for_each(|chunk| rebuild.add(chunk).unwrap());
    for seat in &mut seats {
        seat.stop().await;
    }
    let (dir, listen) = (tempfile::tempdir().unwrap(), free());
    let seat = NewSeat {
        state_dir: dir.path().join("raft"),
        listen,
        advertise: listen.to_string(),
        availability: Availability::Active,
        description: NodeDescription::default(),
        node_key: None,
    };
    let (manager, identity) = Manager::restore(seat, rebuild.finish(index)).await.unwrap();
    assert!(manager.leads());
    let state_dir = dir.path().join("raft");
    let (advertise, managers) = (listen.to_string(), Vec::new());
    let config =
        ManagerConfig { state_dir, identity, listen, advertise, managers, node_key: None, era: Era::default() };
    let seat = Seat::new(manager, config, dir);
    assert_eq!(kept(&seat), before);
    assert_eq!(seat.manager().store().read().nodes().count(), 4);
    write(&seat, "after").await.unwrap();
    let joiner = joined(&seat).await;
    until("the joiner to have it", || has(&joiner, "before") && has(&joiner, "after")).await;
    end(vec![seat, joiner]).await;
}

#[tokio::test]
async fn what_is_no_state_of_a_cluster_is_not_restored() {
    let (dir, listen) = (tempfile::tempdir().unwrap(), free());
    let seat = NewSeat {
        state_dir: dir.path().join("raft"),
        listen,
        advertise: listen.to_string(),
        availability: Availability::Active,
        description: NodeDescription::default(),
        node_key: None,
    };
    let refused = Manager::restore(seat, Rebuild::default().finish(9)).await.unwrap_err();
    assert!(refused.to_string().contains("holds no cluster"), "{refused}");
    assert!(!dir.path().join("raft").exists());
}
