//! All chance of a run, drawn from its seed.

use skep_proto::model::Seed;

use super::time::Us;

/// The source of everything that is not decided.
#[derive(Debug)]
pub(crate) struct Chance {
    seed: Seed,
}

impl Chance {
    /// Spreads small seeds, so that neighbours have nothing in common.
    pub(crate) fn new(seed: u64) -> Self {
        let mut first = Seed::new(u128::from(seed) ^ (u128::from(seed) << 64));
        Self { seed: Seed::new(first.draw()) }
    }

    pub(crate) fn bits(&mut self) -> u128 {
        self.seed.draw()
    }

    /// A seed for the product's own draws.
    pub(crate) fn seed(&mut self) -> Seed {
        Seed::new(self.seed.draw())
    }

    /// From zero, below `bound`; zero when that is zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.bits().checked_rem(u128::from(bound));
        drawn.and_then(|drawn| u64::try_from(drawn).ok()).unwrap_or(0)
    }

    /// At least `low`, at most `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub(crate) fn once_in(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1_000) < permille
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let place = usize::try_from(self.below(u64::try_from(of.len()).unwrap_or(0))).unwrap_or(0);
        of.get(place).copied()
    }

    /// A delay: mostly near `usual`, now and then up to `worst`, as on a machine with other things to do.
    pub(crate) fn delay(&mut self, usual: Us, worst: Us) -> Us {
        if self.once_in(20) { self.between(usual, worst) } else { self.between(usual / 4, usual) }
    }
}
