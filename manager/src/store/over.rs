//! Why a manager takes no part in its group any more, whatever that makes of it.

use skep_proto::model::Era;

/// What has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The cluster was made anew without it, and lives in a later era.
    Era {
        /// Which.
        era: Era,
        /// HOST:PORT of managers of that era, as far as somebody named them.
        managers: Vec<String>,
    },
    /// Its seat was taken away: it is no member under its id, and never will be again.
    Seat,
}

impl Over {
    /// What is so after more was heard; `None`: nothing new. A later era counts for more, since what was the group's is then worth keeping
    /// for a person to look at; and who is told where it is can join it.
    #[must_use]
    pub fn after(before: Option<&Self>, heard: Self) -> Option<Self> {
        let is_news = match (before, &heard) {
            (None, _) | (Some(Self::Seat), Self::Era { .. }) => true,
            (Some(Self::Era { managers: known, .. }), Self::Era { managers, .. }) => {
                known.is_empty() && !managers.is_empty()
            }
            (Some(_), Self::Seat) => false,
        };
        is_news.then_some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_more_takes_the_place_of_what_says_less() {
        let somewhere = || Over::Era { era: Era(7), managers: vec!["10.0.0.9:2377".to_owned()] };
        let era = || Over::Era { era: Era(7), managers: Vec::new() };
        let cases = [
            (None, era(), true),
            (None, Over::Seat, true),
            (Some(Over::Seat), era(), true),
            (Some(era()), somewhere(), true),
            (Some(era()), era(), false),
            (Some(somewhere()), era(), false),
            (Some(era()), Over::Seat, false),
            (Some(Over::Seat), Over::Seat, false),
        ];
        for (before, heard, is_news) in cases {
            let after = Over::after(before.as_ref(), heard.clone());
            assert_eq!(after, is_news.then_some(heard), "{before:?}");
        }
    }
}
