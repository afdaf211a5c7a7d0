//! A template that is ready to run, and the row it runs over.

use super::eval::evaluate;
use super::lexer::lex;
use super::parser::parse;
use super::tree::{Node, Span};
use crate::cli::format::error::FormatError;
use serde_json::Value;
use std::collections::BTreeMap;

/// One object of a listing: its fields, and what `{{.Name "key"}}` finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    /// An object with Docker's field names. Every row of a listing has the same ones; an empty field is `""` or `null`.
    pub(crate) fields: Value,
    /// By placeholder, such as `Label`, the object whose keys it looks up. Not part of `{{json .}}`.
    pub(crate) lookups: BTreeMap<&'static str, Value>,
}

impl Row {
    /// A row without lookups.
    pub(crate) fn new(fields: Value) -> Self {
        Self { fields, lookups: BTreeMap::new() }
    }

    /// Adds a placeholder that takes an argument: `{{.Label "k"}}` gives the text at `k` of `object`, or nothing.
    #[must_use]
    pub(crate) fn with_lookup(mut self, name: &'static str, object: Value) -> Self {
        self.lookups.insert(name, object);
        self
    }
}

/// A parsed template. Parse once, render once per row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    source: String,
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template as `inspect --format` has it: a backslash outside of `{{ }}` is a backslash.
    ///
    /// # Errors
    /// [`FormatError::ReadTemplate`] with the place of the fault.
    pub(crate) fn parse(source: &str) -> Result<Self, FormatError> {
        Self::compile(source, false)
    }

    /// Reads a template as `ls --format` has it: outside of `{{ }}`, `\t` is a tab and `\n` a line break.
    ///
    /// # Errors
    /// [`FormatError::ReadTemplate`] with the place of the fault.
    pub(crate) fn parse_with_escapes(source: &str) -> Result<Self, FormatError> {
        Self::compile(source, true)
    }

    fn compile(source: &str, expand: bool) -> Result<Self, FormatError> {
        let nodes = lex(source, expand).and_then(|lexemes| parse(&lexemes, source.len())).map_err(|fault| {
            let (line, column) = place(source, fault.span.start);
            FormatError::ReadTemplate { line, column, problem: fault.problem }
        })?;
        Ok(Self { source: source.to_owned(), nodes })
    }

    /// The text of one row, without a line break at its end.
    ///
    /// # Errors
    /// [`FormatError::Evaluate`] when the template asks for what the row does not have.
    pub(crate) fn render(&self, row: &Row) -> Result<String, FormatError> {
        evaluate(&self.nodes, row).map_err(|fault| {
            let (line, column) = place(&self.source, fault.span.start);
            FormatError::Evaluate { at: self.quote(fault.span), line, column, problem: fault.problem }
        })
    }

    /// The tree, for the header of a table.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn quote(&self, span: Span) -> String {
        self.source.get(span.start..span.end).unwrap_or_default().to_owned()
    }
}

/// Line and column of a byte, both counted from 1.
fn place(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
