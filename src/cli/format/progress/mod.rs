//! What a command shows while it waits for a service to converge.
//!
//! *Owns* the texts ([`mod@lines`]: a snapshot to lines) and the drawing ([`screen`]: lines to what must be written so that
//! they appear in place of those before).
//!
//! *In*: a [`Snapshot`] per change, made by the caller from the service and its tasks. *Out*: text to write as it stands.
//!
//! *Invariants*: a line never wraps on the terminal it was drawn for, since the way back up is counted in lines; on
//! anything but a terminal no line is written twice in a row, and states between the first and the last stay out of it.
//!
//! *Where to read next*: [`Snapshot`], then [`Screen`].

mod lines;
mod screen;

pub(crate) use lines::{Overall, Phase, Slot, SlotState, Snapshot, lines, node_label, slot_label};
pub(crate) use screen::{Screen, Target};
