//! One run, many runs, and what is said of one that fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::chance::Chance;
use super::check::{Verdict, Violation};
use super::stage::Record;
use super::time::SECOND;
use super::world::{PACE, PACE_RESTLESS, Size, World};

/// Lines that are shown of a failing run.
const SHOWN: usize = 120;

/// So many worlds in a thousand have a hundred nodes.
const LARGE: u64 = 10;

/// So many are restless: their managers fail several times a second, so that elections cross each other, as hardly ever in the others.
const RESTLESS: u64 = 200;

/// The size of a seed's world: mostly small ones, which are as good at finding what is wrong and take less time.
fn size(seed: u64) -> Size {
    let mut chance = Chance::new(seed ^ 0x5151);
    let (trouble, pace) = (chance.between(10, 60) * SECOND, PACE);
    if chance.once_in(LARGE) {
        return Size { managers: chance.pick(&[3, 5]).unwrap_or(5), agents: 100, trouble, pace };
    }
    if chance.once_in(RESTLESS) {
        let managers = chance.pick(&[3, 3, 5]).unwrap_or(3);
        return Size { managers, agents: 5, trouble: chance.between(5, 20) * SECOND, pace: PACE_RESTLESS };
    }
    let managers = chance.pick(&[1, 3, 3, 5]).unwrap_or(1);
    let agents = usize::try_from(chance.between(5, 10)).unwrap_or(5);
    Size { managers, agents, trouble, pace }
}

/// What a run came to.
struct Outcome {
    verdict: Verdict,
    record: Record,
    counts: BTreeMap<&'static str, u64>,
}

fn run(seed: u64, record: Record) -> Outcome {
    let mut world = World::new(seed, size(seed), record);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let verdict = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { name: "nothing_panics", what: text.unwrap_or_default() })
    });
    let counts = world.counts();
    Outcome { verdict, record: world.stage.record, counts }
}

fn written(is_printed: bool) -> Record {
    Record { is_written: true, is_printed, ..Record::default() }
}

/// Says what was broken, and what came before it.
fn tell(seed: u64, violation: &Violation) -> String {
    let Outcome { record, .. } = run(seed, written(false));
    let skipped = record.tail.len().saturating_sub(SHOWN);
    let tail: Vec<&str> = record.tail.iter().skip(skipped).map(String::as_str).collect();
    let Violation { name, what } = violation;
    format!(
        "seed {seed} breaks {name}: {what}\n{}\nseed {seed} breaks {name}: {what}\nreplay: SKEP_SIM_SEED={seed} cargo test --test sim replay -- --nocapture",
        tail.join("\n")
    )
}

/// What many runs came to.
#[derive(Default)]
struct Tally {
    totals: BTreeMap<&'static str, u64>,
    broken: Vec<(u64, Violation)>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        outcome.counts.into_iter().for_each(|(name, count)| *self.totals.entry(name).or_default() += count);
        self.broken.extend(outcome.verdict.err().map(|violation| (seed, violation)));
    }
}

/// Runs the seeds on as many threads as there are processors. Worlds share nothing.
fn spread(seeds: Range<u64>) -> Tally {
    let (next, tally) = (AtomicU64::new(seeds.start), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(seed, Record::default());
            tally.lock().expect("no thread panics with it").add(seed, outcome);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    tally.into_inner().expect("no thread panicked with it")
}

/// Runs that many seeds. All of them, so that one failure does not hide the others; the first is told in full.
pub(super) fn seeds(first: u64, count: u64) {
    let Tally { totals, mut broken } = spread(first..first + count);
    broken.sort_by_key(|(seed, _)| *seed);
    println!("{count} seeds: {totals:?}");
    if let Some((seed, violation)) = broken.first() {
        let others: Vec<String> = broken.iter().map(|(seed, v)| format!("{seed} {}: {}", v.name, v.what)).collect();
        panic!("{}\n{} of {count} seeds:\n{}", tell(*seed, violation), broken.len(), others.join("\n"));
    }
}

/// Runs one seed, with every event printed when asked for.
pub(super) fn replay(seed: u64, is_printed: bool) {
    let Outcome { verdict, counts, record } = run(seed, written(is_printed));
    println!("seed {seed}: {:?}, {counts:?}, hash {:016x}", size(seed), record.hash);
    if let Err(violation) = verdict {
        panic!("{}", tell(seed, &violation));
    }
}

/// Each seed runs twice and must come to the same record, line by line.
pub(super) fn twice(seeds: Range<u64>) {
    for seed in seeds {
        let (one, other) = (run(seed, written(false)), run(seed, written(false)));
        assert_eq!((one.record.hash, one.counts), (other.record.hash, other.counts), "seed {seed}");
        assert_ne!(one.record.hash, 0, "something happens in seed {seed}");
    }
}
