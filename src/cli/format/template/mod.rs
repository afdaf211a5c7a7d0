//! The part of Go's `text/template` that `--format` speaks, evaluated over JSON values.
//!
//! *Owns* the language from text to text: [`lexer`] cuts the source into words, [`parser`] builds the [`tree`], [`eval`]
//! walks it over one value, [`functions`] and [`printf`] compute, [`value`] says how Go prints, tests and compares a value.
//!
//! *In*: a template, parsed once per command, and one JSON object per row. *Out*: the row's text, or a
//! [`FormatError`](super::error::FormatError) that points at the words that failed.
//!
//! *Records and maps*: Go knows a struct (an unknown field is an error) from a map (an unknown key prints `<no value>`).
//! JSON does not, so we look at the keys: an object whose keys all begin with an upper-case letter is a record, every other
//! one, the empty one too, is a map; the row itself is always a record. Docker's fields are upper-case and labels hardly ever, so this tells them apart.
//!
//! *Invariants*: neither parsing nor evaluating panics; nesting, steps, widths and the length of the output are bounded,
//! each with an error that names the bound.
//!
//! *Left out*: `define`, `template` and `block`, which a one-line flag has no use for, and methods of Go types. In place of
//! methods a row may carry *lookups*: `{{.Label "k"}}` finds `k` in the lookup `Label`.
//!
//! *Where to read next*: [`Template`], then the files in the order above.

mod compiled;
mod eval;
mod functions;
mod lexer;
mod parser;
mod printf;
#[cfg(test)]
mod tests;
mod tree;
mod value;

pub(crate) use compiled::{Row, Template};
pub(crate) use functions::MAX_WIDTH;
pub(crate) use tree::{BranchKind, Node, OperandKind, Pipeline};
pub(crate) use value::display;
