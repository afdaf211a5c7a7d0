//! When managers of earlier eras are called, and what their answer means.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::{Era, Moment};

/// Wait after a call that came to nothing. It doubles, up to a bound at which a machine that is gone for good costs nothing, and one that
/// is started after years is told within a minute.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// When each is to be called again, and how long the wait before was.
#[derive(Debug, Default)]
pub struct Calls(BTreeMap<String, (Moment, Duration)>);

/// What the answer of whoever is at an address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It lives in our era: there is nothing to be told there any more.
    Ours,
    /// It lives in a later one: we are those who were left behind.
    Later(Era),
    /// It has heard of our era now, or has no state yet.
    Earlier,
}

impl Calls {
    /// Those who are to be called now.
    #[must_use]
    pub fn due(&self, former: &[String], now: Moment) -> Vec<String> {
        former.iter().filter(|address| self.at(address) <= now).cloned().collect()
    }

    /// When somebody is to be called next; `None`: there is nobody.
    #[must_use]
    pub fn wake_at(&self, former: &[String]) -> Option<Moment> {
        former.iter().map(|address| self.at(address)).min()
    }

    /// A call did not put an end to the matter.
    pub fn put_off(&mut self, address: &str, now: Moment) {
        let wait = self.0.get(address).map_or(AGAIN, |(_, wait)| (*wait * 2).min(AGAIN_MAX));
        self.0.insert(address.to_owned(), (now + wait, wait));
    }

    fn at(&self, address: &str) -> Moment {
        self.0.get(address).map_or(Moment(0), |(at, _)| *at)
    }
}

impl Answer {
    /// What it means to who lives in `ours`.
    #[must_use]
    pub fn of(theirs: Option<Era>, ours: Era) -> Self {
        match theirs {
            Some(theirs) if theirs == ours => Self::Ours,
            Some(theirs) if theirs > ours => Self::Later(theirs),
            _ => Self::Earlier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_called_less_and_less_often_and_never_given_up() {
        let former = ["a:1".to_owned(), "b:1".to_owned()];
        let (mut calls, mut now) = (Calls::default(), Moment(0));
        assert_eq!(calls.due(&former, now), former);
        let mut waits = Vec::new();
        for _ in 0..9 {
            calls.put_off("a:1", now);
            assert_eq!(calls.due(&former, now), ["b:1"], "the other one is not made to wait");
            let next = calls.wake_at(&former[..1]).unwrap();
            waits.push(next.since(now).as_secs());
            now = next;
            assert_eq!(calls.due(&former, now), former);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(calls.wake_at(&[]), None);
    }

    #[test]
    fn an_answer_is_told_by_its_era() {
        for (theirs, means) in [
            (None, Answer::Earlier),
            (Some(Era(4)), Answer::Earlier),
            (Some(Era(5)), Answer::Ours),
            (Some(Era(6)), Answer::Later(Era(6))),
        ] {
            assert_eq!(Answer::of(theirs, Era(5)), means);
        }
    }
}
