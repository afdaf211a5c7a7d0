//! What `ls` and `ps` print: a table, ids, JSON lines or a template per row.
//!
//! *Owns* the meaning of `--format` and `-q` for listings. [`listing`] renders, [`header`] finds the header of a
//! `table TEMPLATE`, [`tabs`] aligns the columns.
//!
//! *In*: a [`Listing`]: the default columns, and rows whose fields carry Docker's names. *Out*: the whole text, each line
//! with its line break.
//!
//! *Invariants*: the header needs no row, so an empty listing shows it too; a cell of the default table stays on its line.
//!
//! *Why the caller shortens*: `--no-trunc` also changes what `--format` shows, so the caller fills short or full values
//! into the rows, and nothing here knows which.
//!
//! *Where to read next*: [`listing`], then [`template`](super::template).

mod header;
mod listing;
mod tabs;

pub(crate) use listing::{Column, Format, Listing};
