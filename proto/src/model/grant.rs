//! What limits a join token: how long and how often it admits, and that it was replaced. A token without a grant admits for ever.

use super::moment::Moment;
use super::node::NodeRole;
use super::token::{JoinToken, TokenSecret};
use std::time::Duration;

/// Grants kept. Those that admit nobody any more are only there to be told apart from a wrong token, and make room.
pub const GRANTS_MAX: usize = 64;

/// A token with limits, or one that is past them.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The whole token.
    pub token: String,
    /// What its bearer becomes.
    pub role: NodeRole,
    /// From when it admits nobody; `None`: never.
    pub expires_at: Option<Moment>,
    /// How many may join with it; `None`: any number.
    pub uses: Option<u32>,
    /// How many have.
    pub used: u32,
    /// Another token took its place.
    pub is_rotated: bool,
}

impl std::fmt::Debug for Grant {
    /// Leaves the token out: it has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { role, expires_at, uses, used, is_rotated, .. } = self;
        let mut out = f.debug_struct("Grant");
        out.field("role", role).field("expires_at", expires_at).field("uses", uses).field("used", used);
        out.field("is_rotated", is_rotated).finish_non_exhaustive()
    }
}

/// Why a token that was a good one once admits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Another token took its place.
    #[error("join: the token was replaced by another one; get that with `swarm join-token {}`", word(*.0))]
    Rotated(NodeRole),
    /// Its time is over.
    #[error("join: the token expired {} ago; get another one with `swarm join-token {}`", coarse(*since), word(*role))]
    Expired {
        /// What it made.
        role: NodeRole,
        /// How long ago.
        since: Duration,
    },
    /// All its uses are spent.
    #[error("join: the token was good for {} and is used up; get another one with `swarm join-token {}`", times(*uses), word(*role))]
    UsedUp {
        /// What it made.
        role: NodeRole,
        /// How many have joined with it.
        uses: u32,
    },
}

impl Grant {
    /// Whether it admits somebody now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, now: Moment) -> Result<(), GrantError> {
        let role = self.role;
        match (self.is_rotated, self.expires_at, self.uses) {
            (true, ..) => Err(GrantError::Rotated(role)),
            (_, Some(end), _) if end <= now => Err(GrantError::Expired { role, since: now.since(end) }),
            (_, _, Some(uses)) if self.used >= uses => Err(GrantError::UsedUp { role, uses }),
            _ => Ok(()),
        }
    }

    /// The token's secret; `None` when the text is no token.
    #[must_use]
    pub fn secret(&self) -> Option<TokenSecret> {
        self.token.parse::<JoinToken>().ok().map(|token| token.secret)
    }
}

/// Makes room for one more by letting go of the oldest that admit nobody. `false`: all admit, and there are too many.
#[must_use]
pub fn make_room(grants: &mut Vec<Grant>, now: Moment) -> bool {
    while grants.len() >= GRANTS_MAX {
        let Some(place) = grants.iter().position(|grant| grant.check(now).is_err()) else { return false };
        grants.remove(place);
    }
    true
}

fn word(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => "worker",
        NodeRole::Manager => "manager",
    }
}

fn times(uses: u32) -> String {
    if uses == 1 { "one join".to_owned() } else { format!("{uses} joins") }
}

/// The largest unit that fits: whoever reads it wants to know whether it was yesterday or last year.
fn coarse(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000_000);

    fn grant(expires_at: Option<Moment>, uses: Option<u32>) -> Grant {
        let role = NodeRole::Worker;
        Grant { token: "SWMTKN-1-a-b".into(), role, expires_at, uses, used: 0, is_rotated: false }
    }

    #[test]
    fn each_limit_ends_it_with_its_own_sentence() {
        let timed = grant(Some(NOW), None);
        assert_eq!(timed.check(Moment(NOW.0 - 1)), Ok(()));
        let late = timed.check(NOW + Duration::from_secs(7_300)).unwrap_err().to_string();
        assert_eq!(late, "join: the token expired 2 hours ago; get another one with `swarm join-token worker`");
        let twice = grant(None, Some(2));
        assert_eq!(Grant { used: 1, ..twice.clone() }.check(NOW), Ok(()));
        let spent = Grant { used: 2, ..twice.clone() }.check(NOW).unwrap_err().to_string();
        assert!(spent.contains("good for 2 joins and is used up"), "{spent}");
        let rotated = Grant { is_rotated: true, used: 2, ..twice };
        assert_eq!(rotated.check(NOW), Err(GrantError::Rotated(NodeRole::Worker)));
    }

    #[test]
    fn the_oldest_that_admit_nobody_make_room_and_the_others_stay() {
        let mut grants = vec![grant(None, Some(1)); GRANTS_MAX];
        assert!(!make_room(&mut grants, NOW));
        assert_eq!(grants.len(), GRANTS_MAX);
        grants[5].used = 1;
        grants[9].is_rotated = true;
        assert!(make_room(&mut grants, NOW));
        assert_eq!((grants.len(), grants[8].is_rotated), (GRANTS_MAX - 1, true));
    }

    #[test]
    fn debug_does_not_tell_the_token() {
        assert!(!format!("{:?}", grant(None, None)).contains("SWMTKN"));
    }
}
