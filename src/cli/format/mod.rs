//! Values in, text out: everything the command line shows to a person or a script.
//!
//! *Owns* the words of Docker's output: tables, templates, progress, inspect, human units, and the reading of the small
//! languages that its flags take (`--format`, `--filter`, sizes, CPUs, durations).
//!
//! *In*: [`serde_json::Value`] objects whose fields carry Docker's names, ages and amounts as plain numbers, and the user's
//! words. *Out*: a `String` that the caller prints, or a [`FormatError`](error::FormatError). Nothing here knows the time, the terminal or the
//! cluster: a caller measures the age of a task and asks for its words.
//!
//! *Invariants*: nothing panics on any input; a row that reaches a table or a template carries every field it may ever
//! have (`null` when empty), so that a missing field is the user's mistake and the answer can list the right names; the
//! same values always give the same text.
//!
//! *Why our own template engine*: scripts written for Docker use Go's `text/template`. No crate speaks it with Go's
//! rules of printing, and the part that people use is small.
//!
//! *Where to read next*: [`table`] (`ls` and `ps`), [`template`] (the language), [`inspect`], [`progress`] (waiting
//! commands), [`words`] (state texts), [`units`], [`filter`].

pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod inspect;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod units;
pub(crate) mod words;
