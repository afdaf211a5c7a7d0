//! What everybody in the world shares: time, chance, what is to come, the network, and the record of what happened.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};

use super::chance::Chance;
use super::net::Net;
use super::queue::{Event, Queue};
use super::time::Us;

/// Lines of the record that are kept: enough to see how a violation came about.
const TAIL_MAX: usize = 400;

/// The record of a run. Its hash tells two runs apart; its text is written only when somebody will read it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) is_written: bool,
    pub(crate) is_printed: bool,
    pub(crate) hash: u64,
    pub(crate) tail: VecDeque<String>,
}

/// How kind the world is.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Nothing fails any more, and no program ends by itself.
    pub(crate) is_quiet: bool,
    /// So many steps in a thousand fail.
    pub(crate) step_failures: u64,
    /// So many writes of an agent's disk in a thousand fail.
    pub(crate) write_failures: u64,
    /// The longest delay of a message.
    pub(crate) latency_max: Us,
    /// The longest sync of a manager's log.
    pub(crate) sync_max: Us,
    /// So many messages between managers in a thousand are lost.
    pub(crate) losses: u64,
    /// So many come twice.
    pub(crate) doubles: u64,
}

/// What is shared.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) now: Us,
    pub(crate) chance: Chance,
    pub(crate) queue: Queue,
    pub(crate) net: Net,
    pub(crate) record: Record,
    pub(crate) rules: Rules,
}

impl Record {
    /// Mixes a number into the hash.
    pub(crate) fn mark(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}

impl Stage {
    /// Lets something happen after a delay.
    pub(crate) fn after(&mut self, delay: Us, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Lets something happen at a time.
    pub(crate) fn at(&mut self, at: Us, event: Event) {
        self.queue.push(at.max(self.now), &mut self.chance, event);
    }

    /// Writes down what happened.
    pub(crate) fn note(&mut self, line: Arguments<'_>) {
        if !self.record.is_written {
            return;
        }
        let (seconds, rest) = (self.now / 1_000_000, self.now % 1_000_000);
        let mut text = String::new();
        write!(text, "{seconds:4}.{rest:06} {line}").expect("a string takes everything");
        for byte in text.bytes() {
            self.record.mark(u64::from(byte));
        }
        if self.record.is_printed {
            println!("{text}");
        }
        if self.record.tail.len() == TAIL_MAX {
            self.record.tail.pop_front();
        }
        self.record.tail.push_back(text);
    }
}
