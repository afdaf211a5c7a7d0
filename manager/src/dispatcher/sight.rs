//! How much of its nodes a leader has heard. Where processors are short, words of nodes lie unread in our sockets while their deadlines
//! come up, and a leader that judged then would take its own lateness for their silence.
//!
//! So it looks in two steps: first it reads what has come ([`super::run`]), and then it judges as of the moment at which it began to
//! read. However long the reading takes, nothing that came in time is overlooked. A leader that is in time does both in the same
//! millisecond.

use std::time::Duration;

use skep_proto::model::Moment;

/// A look that comes so late means that we were asleep (a stopped process, a moved virtual machine) or starved: not only may words lie
/// unread, agents may have given us up as well and be on their way back. Everybody gets another grace.
const STALL: Duration = Duration::from_millis(1_000);

/// What a look at the nodes can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Everything that had come by then was heard.
    pub as_of: Moment,
    /// How much later than wanted the look is.
    late: Duration,
}

impl Sight {
    /// Nothing is unread, and it is the moment that was wanted.
    #[must_use]
    pub fn clear(now: Moment) -> Self {
        Self { as_of: now, late: Duration::ZERO }
    }

    /// A look was wanted at `due`; what had come was being read from `began` on, and was read at `ended`.
    #[must_use]
    pub fn caught_up(due: Moment, began: Moment, ended: Moment) -> Self {
        Self { as_of: began, late: ended.since(due) }
    }

    /// We were away for so long that silence says nothing.
    #[must_use]
    pub fn is_dim(self) -> bool {
        self.late > STALL
    }

    /// How late it is.
    #[must_use]
    pub fn late(self) -> Duration {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_that_takes_its_time_moves_no_judgement_but_a_long_one_forbids_it() {
        let quick = Sight::caught_up(Moment(3_000), Moment(3_001), Moment(3_002));
        assert_eq!((quick.as_of, quick.is_dim()), (Moment(3_001), false));
        let busy = Sight::caught_up(Moment(3_000), Moment(3_100), Moment(4_000));
        assert_eq!((busy.as_of, busy.is_dim()), (Moment(3_100), false));
        let starved = Sight::caught_up(Moment(3_000), Moment(3_900), Moment(4_001));
        assert_eq!((starved.late(), starved.is_dim()), (Duration::from_millis(1_001), true));
        let asleep = Sight::caught_up(Moment(3_000), Moment(60_000), Moment(60_000));
        assert!(asleep.is_dim() && !Sight::clear(Moment(60_000)).is_dim());
    }
}
