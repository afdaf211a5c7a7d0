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

#[test]
fn a_lost_manager_is_followed_by_another() {
    let mut session = session(&["a:1", "b:1"]);
    session.step(NOW, Input::Tick);
    session.step(NOW, Input::Lost);
    let at = session.wake_at().unwrap();
    assert_eq!(session.step(at, Input::Tick), [connect("b:1")]);
}

#[test]
fn silence_instead_of_a_welcome_is_a_failure() {
    let mut session = session(&["a:1"]);
    session.step(NOW, Input::Tick);
    assert_eq!(session.step(NOW, Input::Tick), []);
    assert_eq!(session.step(NOW + GREETING_MAX, Input::Tick), [Effect::Disconnect]);
}

#[test]
fn a_hint_at_the_leader_is_followed_at_once_but_not_for_ever() {
    let mut session = session(&["a:1", "b:1"]);
    session.step(NOW, Input::Tick);
    for _ in 0..HINTS_MAX {
        assert_eq!(session.step(NOW, farewell("b:1")), [Effect::Disconnect, connect("b:1")]);
    }
    assert_eq!(session.step(NOW, farewell("b:1")), [Effect::Disconnect]);
    assert!(session.wake_at().unwrap() > NOW);
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
        }
    }
}
