//! Following logs past a lost leader: what is asked for again, and which of what comes was shown already. Pure.

use std::collections::BTreeMap;

use skep_proto::pb;

/// How far back the lines are asked for again. Agents send theirs at once; this is what clocks of nodes may differ by, and a slow moment.
const OVERLAP_MS: u64 = 10_000;

/// A task and one of its streams: within it, lines come in order.
type Source = (Vec<u8>, bool);

/// How far a source was shown.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Time of the newest line.
    at: u64,
    /// Lines of that time.
    count: u32,
    /// Lines of that time that came again since the stream was taken up.
    again: u32,
}

/// What was shown.
#[derive(Debug)]
pub(super) struct Shown {
    options: pb::LogOptions,
    /// When the command began: of tasks that have said nothing by then, what is older was not asked for.
    begun: u64,
    newest: u64,
    places: BTreeMap<Source, Place>,
}

impl Shown {
    /// Nothing yet, of what these options ask for.
    pub(super) fn new(options: pb::LogOptions, begun: u64) -> Self {
        Self { options, begun, newest: 0, places: BTreeMap::new() }
    }

    /// What to ask for after the stream broke off.
    pub(super) fn resume(&mut self) -> pb::LogOptions {
        if self.newest == 0 {
            return self.options;
        }
        self.places.values_mut().for_each(|place| place.again = 0);
        let since = self.newest.saturating_sub(OVERLAP_MS).max(self.options.since);
        pb::LogOptions { tail: -1, since, ..self.options }
    }

    /// Takes a line in, before the stream broke off for the first time.
    pub(super) fn note(&mut self, line: &pb::LogLine) {
        self.newest = self.newest.max(line.at);
        let place = self.places.entry((line.task.clone(), line.stderr)).or_default();
        let count = if place.at == line.at { place.count + 1 } else { 1 };
        *place = Place { at: line.at, count, again: count };
    }

    /// Takes a line of a resumed stream in; whether it is one that was not shown.
    pub(super) fn is_new(&mut self, line: &pb::LogLine) -> bool {
        let shown = match self.places.get_mut(&(line.task.clone(), line.stderr)) {
            None => self.options.tail >= 0 && line.at < self.begun,
            Some(place) if line.at < place.at => place.again < place.count,
            Some(place) if line.at == place.at && place.again < place.count => {
                place.again += 1;
                true
            }
            Some(_) => false,
        };
        if !shown {
            self.note(line);
        }
        !shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(task: u8, at: u64) -> pb::LogLine {
        pb::LogLine { task: vec![task], at, ..Default::default() }
    }

    fn shown(tail: i64, lines: &[pb::LogLine]) -> Shown {
        let mut shown = Shown::new(pb::LogOptions { follow: true, tail, ..Default::default() }, 50_000);
        lines.iter().for_each(|line| shown.note(line));
        shown
    }

    fn new(shown: &mut Shown, lines: &[pb::LogLine]) -> Vec<bool> {
        lines.iter().map(|line| shown.is_new(line)).collect()
    }

    #[test]
    fn what_comes_again_is_not_shown_again_even_within_one_millisecond() {
        let mut shown = shown(-1, &[line(1, 60_000), line(1, 60_001), line(1, 60_001), line(2, 60_000)]);
        assert_eq!(shown.resume().since, 50_001);
        let again =
            [line(1, 60_000), line(1, 60_001), line(2, 60_000), line(1, 60_001), line(1, 60_001), line(2, 60_000)];
        assert_eq!(new(&mut shown, &again), [false, false, false, false, true, true]);
        shown.resume();
        let again = [line(1, 60_001), line(1, 60_001), line(1, 60_001), line(1, 60_002)];
        assert_eq!(new(&mut shown, &again), [false, false, false, true]);
    }

    #[test]
    fn a_task_that_had_said_nothing_shows_what_it_says_from_then_on() {
        let lines = [line(1, 60_000)];
        let older = [line(2, 49_000), line(2, 55_000)];
        assert_eq!(new(&mut shown(3, &lines), &older), [false, true]);
        assert_eq!(new(&mut shown(-1, &lines), &older), [true, true], "all was asked for");
    }

    #[test]
    fn before_the_first_line_everything_is_asked_for_again() {
        let mut shown = shown(3, &[]);
        assert_eq!(shown.resume(), shown.options);
    }

    #[test]
    fn a_clock_that_was_set_back_hides_nothing() {
        let mut shown = shown(-1, &[line(1, 60_000)]);
        shown.resume();
        assert_eq!(new(&mut shown, &[line(1, 60_000), line(1, 30_000)]), [false, true]);
    }
}
