use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const NOW: Moment = Moment(10_000);

fn session(managers: &[&str]) -> Session {
    Session::new(managers.iter().map(ToString::to_string).collect(), Seed::new(7), NOW)
}

fn welcome(managers: &[&str]) -> Input {
    let managers = managers.iter().map(ToString::to_string).collect();
    Input::Welcome { heartbeat: Duration::from_secs(1), managers }
}

fn farewell(leader: &str) -> Input {
    Input::Farewell { removed: false, leader: leader.to_owned() }
}

fn connect(address: &str) -> Effect {
    Effect::Connect(address.to_owned())
}

fn open(managers: &[&str]) -> Session {
    let mut session = session(managers);
    session.step(NOW, Input::Tick);
    session.step(NOW, welcome(managers));
    assert!(session.is_open());
    session
}

#[test]
fn the_first_manager_is_tried_at_once() {
    assert_eq!(session(&["a:1", "b:1"]).step(NOW, Input::Tick), [connect("a:1")]);
}

#[test]
fn delays_double_up_to_the_bound_and_a_welcome_resets_them() {
    let mut session = session(&["a:1"]);
    let (mut now, mut delays) = (NOW, Vec::new());
    for _ in 0..10 {
        assert_eq!(session.step(now, Input::Tick), [connect("a:1")]);
        assert_eq!(session.step(now, Input::Lost), [Effect::Disconnect]);
        let at = session.wake_at().unwrap();
        delays.push(at.since(now));
        now = at;
    }
    for (n, delay) in delays.iter().enumerate() {
        let ceiling = BACKOFF_MIN.saturating_mul(1 << n).min(BACKOFF_MAX);
        assert!((ceiling / 2..=ceiling).contains(delay), "{n}: {delay:?}");
    }
    session.step(now, Input::Tick);
    session.step(now, welcome(&["a:1"]));
    session.step(now, Input::Lost);
    assert!(session.wake_at().unwrap().since(now) <= BACKOFF_MIN);
}

/// Lets the delay pass and says which manager is tried then, with the delay.
fn next(session: &mut Session, now: &mut Moment) -> (String, Duration) {
    let at = session.wake_at().unwrap();
    let delay = at.since(*now);
    *now = at;
    let effects = session.step(at, Input::Tick);
    let [Effect::Connect(address)] = effects.as_slice() else { panic!("{effects:?}") };
    (address.clone(), delay)
}

#[test]
fn every_other_manager_is_tried_almost_at_once_before_any_is_tried_again() {
    for seed in 0..50 {
        let managers: Vec<String> = ["a:1", "b:1", "c:1", "d:1", "e:1"].map(str::to_owned).to_vec();
        let mut session = Session::new(managers.clone(), Seed::new(seed), NOW);
        let mut now = NOW;
        session.step(now, Input::Tick);
        session.step(now, Input::Welcome { heartbeat: Duration::from_secs(1), managers: managers.clone() });
        session.step(now, Input::Lost);
        let mut tried = BTreeSet::new();
        for _ in 1..5 {
            let (address, delay) = next(&mut session, &mut now);
            assert!(delay <= HASTE_MAX && address != "a:1" && tried.insert(address), "{tried:?}");
            session.step(now, Input::Lost);
        }
        let (_, delay) = next(&mut session, &mut now);
        assert!((BACKOFF_MIN / 2..=BACKOFF_MIN).contains(&delay), "{delay:?}");
    }
}

#[test]
fn the_address_it_was_begun_with_is_not_forgotten_when_all_managers_have_moved() {
    let mut session = session(&["given:1"]);
    let mut now = NOW;
    session.step(now, Input::Tick);
    session.step(now, welcome(&["a:1", "b:1"]));
    session.step(now, Input::Farewell { removed: false, leader: "b:1".to_owned() });
    assert_eq!(next(&mut session, &mut now).0, "b:1");
    session.step(now, welcome(&["a:1", "b:1"]));
    assert_eq!(session.managers(), ["b:1", "a:1"]);
    session.step(now, Input::Lost);
    let mut tried = Vec::new();
    for _ in 0..4 {
        tried.push(next(&mut session, &mut now).0);
        session.step(now, Input::Lost);
    }
    assert_eq!(tried[0], "a:1");
    assert!(tried.contains(&"given:1".to_owned()), "{tried:?}");
}

#[test]
fn managers_that_wait_for_a_leader_are_asked_again_soon_however_long_it_takes() {
    let mut session = open(&["a:1", "b:1", "c:1"]);
    let mut now = NOW;
    session.step(now, Input::Lost);
    for _ in 0..30 {
        let (_, delay) = next(&mut session, &mut now);
        assert!(delay <= BACKOFF_MIN, "{delay:?}");
        session.step(now, farewell(""));
    }
}

#[test]
fn managers_that_come_and_go_are_remembered_while_the_session_lives() {
    let mut session = open(&["a:1", "b:1"]);
    let managers = |all: &[&str]| Input::Managers(all.iter().map(ToString::to_string).collect());
    let list = ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec();
    assert_eq!(session.step(NOW, managers(&["c:1", "b:1", "a:1"])), [Effect::Remember(list)]);
    assert_eq!(session.step(NOW, managers(&["a:1", "b:1", "c:1"])), []);
    session.step(NOW, managers(&["a:1", "d:1"]));
    assert_eq!(session.managers(), ["a:1", "d:1"]);
    session.step(NOW, Input::Lost);
    assert_eq!(session.step(NOW, managers(&["e:1"])), [], "nobody says it any more");
}

#[test]
fn silence_instead_of_a_welcome_is_a_failure() {
    let mut session = session(&["a:1"]);
    session.step(NOW, Input::Tick);
    assert_eq!(session.step(NOW, Input::Tick), []);
    assert_eq!(session.step(NOW + GREETING_MAX, Input::Tick), [Effect::Disconnect]);
}

#[test]
fn a_hint_at_the_leader_is_followed_almost_at_once_but_not_for_ever() {
    let mut session = session(&["a:1", "b:1", "c:1"]);
    let mut now = NOW;
    session.step(now, Input::Tick);
    for _ in 0..HINTS_MAX {
        assert_eq!(session.step(now, farewell("z:1")), [Effect::Disconnect]);
        let (address, delay) = next(&mut session, &mut now);
        assert!(address == "z:1" && delay <= HASTE_MAX, "{address} {delay:?}");
    }
    assert_eq!(session.step(now, farewell("z:1")), [Effect::Disconnect]);
    assert_ne!(next(&mut session, &mut now).0, "z:1", "they take each other for the leader");
}

#[test]
fn an_open_session_follows_its_manager_to_the_next_leader() {
    let mut session = open(&["a:1", "b:1"]);
    let mut now = NOW;
    assert_eq!(session.step(now, farewell("b:1")), [Effect::Disconnect]);
    let (address, delay) = next(&mut session, &mut now);
    assert!(address == "b:1" && delay <= HASTE_MAX);
}

#[test]
fn a_removed_node_never_comes_back() {
    let mut session = open(&["a:1"]);
    let removed = Input::Farewell { removed: true, leader: String::new() };
    assert_eq!(session.step(NOW, removed), [Effect::Disconnect, Effect::Removed]);
    assert_eq!(session.step(NOW + BACKOFF_MAX, Input::Tick), []);
    assert_eq!(session.wake_at(), None);
}

#[test]
fn the_manager_that_serves_is_remembered_first() {
    let mut session = session(&["b:1"]);
    session.step(NOW, Input::Tick);
    let effects = session.step(NOW, welcome(&["c:1", "a:1", "b:1"]));
    let list = ["b:1", "a:1", "c:1"].map(str::to_owned).to_vec();
    assert_eq!(effects, [Effect::Began, Effect::Remember(list)]);
    assert_eq!(session.managers(), ["b:1", "a:1", "c:1"]);
}

#[test]
fn nothing_is_written_when_the_managers_are_the_same() {
    let mut session = session(&["a:1", "b:1"]);
    session.step(NOW, Input::Tick);
    assert_eq!(session.step(NOW, welcome(&["b:1", "a:1"])), [Effect::Began]);
}

#[test]
fn without_managers_it_waits() {
    let mut session = session(&[]);
    assert_eq!(session.step(NOW, Input::Tick), []);
    assert_eq!(session.wake_at(), Some(NOW + BACKOFF_MAX));
}

#[test]
fn a_new_rhythm_is_kept() {
    let mut session = open(&["a:1"]);
    session.step(NOW, Input::Heartbeat(Duration::from_secs(20)));
    let wait = session.wake_at().unwrap().since(NOW);
    assert!((Duration::from_secs(16)..=Duration::from_secs(19)).contains(&wait), "{wait:?}");
}

proptest! {
    #[test]
    fn a_heartbeat_is_never_late_and_never_hasty(seed: u128, period_ms in 50u64..60_000) {
        let period = Duration::from_millis(period_ms);
        let mut session = Session::new(vec!["a:1".into()], Seed::new(seed), NOW);
        session.step(NOW, Input::Tick);
        session.step(NOW, Input::Welcome { heartbeat: period, managers: Vec::new() });
        let mut now = NOW;
        for _ in 0..20 {
            let at = session.wake_at().unwrap();
            prop_assert!(at.since(now) < period && at.since(now) >= period / 2);
            now = at;
            prop_assert_eq!(session.step(now, Input::Tick), vec![Effect::Heartbeat]);
            session.hear(now);
        }
    }

    #[test]
    fn a_manager_that_answers_nothing_is_given_up_in_its_grace_and_not_before_it_was_asked_thrice(
        seed: u128,
        period_ms in 50u64..60_000,
        asleep_ms in 0u64..600_000,
    ) {
        let period = Duration::from_millis(period_ms);
        let mut session = Session::new(vec!["a:1".into(), "b:1".into()], Seed::new(seed), NOW);
        session.step(NOW, Input::Tick);
        session.step(NOW, Input::Welcome { heartbeat: period, managers: Vec::new() });
        // However long the agent itself sleeps before the first of them.
        let first = session.wake_at().unwrap() + Duration::from_millis(asleep_ms);
        let (mut now, mut beats) = (first, 0);
        while session.step(now, Input::Tick) == [Effect::Heartbeat] {
            beats += 1;
            now = session.wake_at().unwrap();
        }
        prop_assert!(!session.is_open() && beats >= UNANSWERED_MAX);
        prop_assert!(now.since(first) <= (period * 2).max(SILENCE_MIN + period), "{:?}", now.since(first));
    }
}

#[test]
fn an_address_that_a_person_tells_is_tried_at_once_and_in_every_round_from_then_on() {
    let mut lost = session(&["a:1"]);
    lost.step(NOW, Input::Tick);
    lost.step(NOW, Input::Lost);
    assert_eq!(lost.step(NOW, Input::Told("n:1".to_owned())), [Effect::Disconnect]);
    assert_eq!(lost.step(NOW, Input::Tick), [connect("n:1")]);
    lost.step(NOW, Input::Lost);
    let mut now = NOW;
    let mut tried = BTreeSet::new();
    for _ in 0..8 {
        tried.insert(next(&mut lost, &mut now).0);
        lost.step(now, Input::Lost);
    }
    assert!(tried.contains("a:1") && tried.contains("n:1"), "{tried:?}");
    assert!(open(&["a:1"]).step(NOW, Input::Told("n:1".to_owned())).is_empty(), "who is served stays");
}

#[test]
fn a_manager_of_an_earlier_era_is_not_listened_to() {
    let mut session = session(&["a:1"]);
    assert!(session.meet(Era(5)) && session.meet(Era(7)) && session.meet(Era(7)));
    assert!(!session.meet(Era(5)) && !session.meet(Era(0)));
    assert_eq!(session.era(), Era(7));
}
