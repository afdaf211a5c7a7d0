//! A member's times, in ticks: its heartbeats, and how long it waits without one before it stands for election.
//!
//! Whoever stands is refused by all whose own election time has not passed, and two who stand together take each other's votes; either
//! costs a whole election time more. So a member waits a little longer than the election time, and each voter has a place of its own behind
//! it, by the order of ids: the first of those that are left has won before the next one's turn comes. A little chance within the place
//! parts two that see different groups.

use raft::Config;

/// Voters' places in an election time. At one second they are 80 ms apart, in which votes are cast and kept on a common disk; of seven
/// voters the last one's turn comes after one and a half.
const PLACES: usize = 12;

/// How a member behaves: ticks a heartbeat, and heartbeats after whose absence a follower stands.
pub(super) fn config(raft_id: u64, heartbeat_tick: usize, heartbeats: usize) -> Config {
    Config {
        id: raft_id,
        heartbeat_tick,
        election_tick: heartbeats * heartbeat_tick,
        check_quorum: true,
        pre_vote: true,
        // A message to a follower: a few hundred placements. More only delays what is behind it.
        max_size_per_msg: 256 << 10,
        max_inflight_msgs: 256,
        // Entries handed over at once to be applied, in bytes: as much again is then kept in memory.
        max_committed_size_per_ready: 16 << 20,
        ..Config::default()
    }
}

/// Ticks without a leader after which a member stands that has so many voters before it; `drawn` is any number.
pub(super) fn timeout(election: usize, before: usize, drawn: u128) -> usize {
    let apart = (election / PLACES).max(1);
    let within = u128::try_from((apart / 2).max(1)).unwrap_or(1);
    election + 1 + before * apart + usize::try_from(drawn % within).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stands_finds_the_others_time_passed_and_nobody_beside_it() {
        for election in [1, 2, 10, 50, 3_000] {
            let times: Vec<_> =
                (0..7).flat_map(|before| [0, u128::MAX].map(|any| timeout(election, before, any))).collect();
            assert!(times[0] > election, "{times:?}");
            assert!(
                times.chunks(2).zip(times[2..].chunks(2)).all(|(one, next)| one.iter().max() < next.iter().min()),
                "{times:?}"
            );
        }
        let last = timeout(50, 6, u128::MAX);
        assert!(last <= 50 + 50 / 2 + 2, "seven managers, {last}");
    }
}
