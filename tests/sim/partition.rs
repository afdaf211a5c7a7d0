//! Managers that do not hear each other: which, in which direction, and whether it comes and goes.

use std::collections::BTreeSet;

use super::net::Cut;
use super::queue::Side;
use super::time::{MS, SECOND};
use super::world::World;

impl World {
    fn seats(&self) -> Vec<usize> {
        self.managers.iter().filter(|manager| !manager.is_retired).map(|manager| manager.place).collect()
    }

    /// A cut of some seconds, or one that comes and goes.
    fn any_cut(&mut self) -> Cut {
        let most = self.stage.chance.pick(&[2 * SECOND, 8 * SECOND, 20 * SECOND]).unwrap_or(SECOND);
        let most = if self.is_restless() { most / 10 } else { most };
        let until = self.stage.now + self.stage.chance.between(50 * MS, most);
        let flaps = self.stage.chance.once_in(250).then(|| self.stage.chance.between(20 * MS, 2 * SECOND));
        Cut { until, flaps }
    }

    /// One manager and another, or all others, do not hear each other, or only one of them does not.
    pub(crate) fn cut_managers(&mut self) {
        let (cut, one, other) = (self.any_cut(), self.any_manager(), self.any_manager());
        let chance = &mut self.stage.chance;
        let (out, into, alone) = (chance.once_in(700), chance.once_in(700), chance.once_in(500));
        for place in self.seats().into_iter().filter(|place| *place != one && (alone || *place == other)) {
            if out {
                self.stage.net.cut_between(one, place, cut);
            }
            if into {
                self.stage.net.cut_between(place, one, cut);
            }
        }
    }

    /// The network falls into two halves, managers and nodes. Sometimes one half hears the other.
    pub(crate) fn partition(&mut self) {
        let (cut, one_way) = (self.any_cut(), self.stage.chance.once_in(250));
        let seats = self.seats();
        let here: BTreeSet<usize> = seats.iter().copied().filter(|_| self.stage.chance.once_in(500)).collect();
        for (from, to) in pairs(&seats).filter(|(from, to)| here.contains(from) != here.contains(to)) {
            if !one_way || here.contains(&from) {
                self.stage.net.cut_between(from, to, cut);
            }
        }
        let span = cut.until - self.stage.now;
        for agent in 0..self.agents.len() {
            let own = self.seat_of(self.agents[agent].node);
            let is_here = own.map_or_else(|| self.stage.chance.once_in(500), |own| here.contains(&own));
            let side: &[Side] = if one_way && is_here { &[Side::Agent] } else { &[Side::Agent, Side::Manager] };
            for manager in seats.iter().filter(|manager| here.contains(*manager) != is_here) {
                self.cut_agent(agent, *manager, side, span);
            }
        }
    }

    /// Each manager hears its two neighbours in a ring and no other: of five, each hears a majority, and all another one.
    pub(crate) fn ring(&mut self) {
        let (cut, mut seats) = (self.any_cut(), self.seats());
        for place in (1..seats.len()).rev() {
            let other = self.stage.chance.below(u64::try_from(place).unwrap_or(0) + 1);
            seats.swap(place, usize::try_from(other).unwrap_or(0));
        }
        let count = seats.len();
        let far = |one: usize, other: usize| !matches!(one.abs_diff(other), 0 | 1) && one.abs_diff(other) != count - 1;
        for (one, other) in pairs(&(0..count).collect::<Vec<_>>()).filter(|(one, other)| far(*one, *other)) {
            self.stage.net.cut_between(seats[one], seats[other], cut);
        }
    }
}

/// Every two of them, both ways.
fn pairs(of: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    of.iter().flat_map(move |one| of.iter().map(move |other| (*one, *other))).filter(|(one, other)| one != other)
}
