//! The parsed template: what the parser builds, the evaluator walks and the table header is read from.

use serde_json::Value;

/// A stretch of the source in bytes, to quote it in an error.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last.
    pub(crate) end: usize,
}

/// A problem and where it lies; the template turns it into a line, a column and a quote.
#[derive(Debug)]
pub(super) struct Fault<P> {
    /// Where.
    pub(super) span: Span,
    /// What.
    pub(super) problem: P,
}

/// One element of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Text that is printed as it stands.
    Text(String),
    /// `{{pipeline}}`: printed, unless it declares or assigns variables.
    Action(Pipeline),
    /// `{{if}}`, `{{with}}` or `{{range}}`.
    Branch(Box<Branch>),
    /// `{{break}}`.
    Break,
    /// `{{continue}}`.
    Continue,
}

/// Which control structure a [`Branch`] is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum BranchKind {
    /// Runs the body when the pipeline holds.
    If,
    /// The same, with dot set to the pipeline's value.
    With,
    /// Runs the body once per element, with dot set to it.
    Range,
}

/// A control structure; `else if` is a [`Branch`] inside of `otherwise`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Branch {
    /// Which one.
    pub(crate) kind: BranchKind,
    /// The condition, or what to walk through.
    pub(crate) pipeline: Pipeline,
    /// What runs when it holds or has elements.
    pub(crate) body: Vec<Node>,
    /// What runs else.
    pub(crate) otherwise: Vec<Node>,
}

/// Commands of which each hands its value to the next one as the last argument.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pipeline {
    /// The variables in front of `:=` or `=`: none, one, or in a range two.
    pub(crate) variables: Vec<String>,
    /// Whether the variables existed before (`=`).
    pub(crate) assigns: bool,
    /// At least one command.
    pub(crate) commands: Vec<Command>,
}

/// An operand, or a function or field with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    /// At least one operand; the first one is called with the others.
    pub(crate) operands: Vec<Operand>,
}

/// A value in a command, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    /// Its words in the source.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) kind: OperandKind,
}

/// What an operand is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OperandKind {
    /// Quoted text, a number, `true`, `false`, `nil`.
    Literal(Value),
    /// `.A.B`, or with no names `.` itself.
    Field(Vec<String>),
    /// `$name.A.B`; the name carries its `$`.
    Variable(String, Vec<String>),
    /// `(pipeline).A.B`.
    Nested(Box<Pipeline>, Vec<String>),
    /// The name of a function.
    Function(&'static str),
}
