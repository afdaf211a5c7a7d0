//! What can go wrong between the user's words and our text.

/// A flag's text could not be understood, or a template does not fit the values it was given.
///
/// All of these are wrong usage: the caller prints the chain and exits with the code for that.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum FormatError {
    /// The template does not follow the grammar.
    #[error("read the template at {line}:{column}")]
    ReadTemplate {
        /// Line of the fault, counted from 1.
        line: usize,
        /// Column of the fault in characters, counted from 1.
        column: usize,
        /// What is wrong there.
        #[source]
        problem: SyntaxProblem,
    },
    /// The template is well formed but does not fit the value.
    #[error("evaluate <{at}> of the template at {line}:{column}")]
    Evaluate {
        /// The words of the template that failed.
        at: String,
        /// Line of the fault, counted from 1.
        line: usize,
        /// Column of the fault in characters, counted from 1.
        column: usize,
        /// Why they failed.
        #[source]
        problem: ValueProblem,
    },
    /// A size is not a number with a known unit, or does not fit 63 bits.
    #[error(
        "read the size {text:?}: give a number with an optional unit of b, k, m, g, t or p, such as 512m or 1.5GiB, less than 8192p"
    )]
    ReadSize {
        /// What the user wrote.
        text: String,
    },
    /// A number of CPUs is not a plain decimal, or is finer than a billionth.
    #[error("read the number of cpus {text:?}: give a decimal with at most 9 digits after the point, such as 0.5")]
    ReadCpus {
        /// What the user wrote.
        text: String,
    },
    /// A duration has no number, an unknown unit, a minus sign, or does not fit 63 bits of nanoseconds.
    #[error(
        "read the duration {text:?}: give numbers with units of ms, s, m or h, such as 1m30s, none of them negative, and less than \
         292 years in all"
    )]
    ReadDuration {
        /// What the user wrote.
        text: String,
    },
    /// A duration of less than a millisecond that is not zero.
    #[error("read the duration {text:?}: the shortest one is 1ms")]
    TooFine {
        /// What the user wrote.
        text: String,
    },
    /// A filter has no `=`.
    #[error("read the filter {text:?}: write it as name=value")]
    ReadFilter {
        /// What the user wrote.
        text: String,
    },
    /// This command has no such filter.
    #[error("filter by {name:?}: this command knows the filters {known}")]
    UnknownFilter {
        /// The name that the user wrote.
        name: String,
        /// The names that the command knows, for the user to choose from.
        known: String,
    },
    /// A filter that takes one of a few words got another one.
    #[error("filter by {name}={value:?}: it takes {known}")]
    FilterValue {
        /// The filter.
        name: String,
        /// What the user wrote after the `=`.
        value: String,
        /// The words it takes.
        known: String,
    },
}

/// Why a template is not well formed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum SyntaxProblem {
    /// `{{` has no `}}`.
    #[error("the action is not closed with }}}}")]
    OpenAction,
    /// `{{/*` has no `*/}}`.
    #[error("the comment is not closed with */}}}}")]
    OpenComment,
    /// A quote has no partner.
    #[error("the quoted text is not closed")]
    OpenQuote,
    /// A backslash in quoted text is followed by something unknown.
    #[error("unknown escape in the quoted text")]
    BadEscape,
    /// Digits that form no number.
    #[error("{0:?} is not a number")]
    BadNumber(String),
    /// A word or sign that cannot stand here.
    #[error("unexpected {found}, expected {wanted}")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A function that does not exist.
    #[error("function {name:?} is not defined; the functions are {known}")]
    UnknownFunction {
        /// The word in the template.
        name: String,
        /// All functions.
        known: String,
    },
    /// A variable that was not declared before, or not in this block.
    #[error("variable {0} is not defined")]
    UnknownVariable(String),
    /// A control structure has no `{{end}}`.
    #[error("{{{{{0}}}}} has no {{{{end}}}}")]
    NoEnd(&'static str),
    /// `break` or `continue` outside of a loop.
    #[error("{{{{{0}}}}} stands outside of {{{{range}}}}")]
    OutsideRange(&'static str),
    /// A part of the language that we leave out.
    #[error("{{{{{0}}}}} is not supported here: write the text out in place")]
    Unsupported(String),
    /// Blocks and parentheses stand in each other too often.
    #[error("blocks and parentheses are nested more than {0} deep")]
    TooDeep(usize),
}

/// Why a well-formed template does not fit a value.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum ValueProblem {
    /// The object has no such field.
    #[error("can't evaluate field {field}; the fields here are {known}")]
    NoField {
        /// The field in the template.
        field: String,
        /// The fields that exist.
        known: String,
    },
    /// The value is no object, so it has no fields.
    #[error("can't evaluate field {field} of {kind}")]
    NotAnObject {
        /// The field in the template.
        field: String,
        /// What the value is.
        kind: &'static str,
    },
    /// An argument follows something that takes none.
    #[error("it takes no argument")]
    NotCallable,
    /// A function got too few or too many arguments.
    #[error("{function} takes {wanted} arguments, not {got}")]
    ArgumentCount {
        /// The function.
        function: &'static str,
        /// How many it takes, in words.
        wanted: &'static str,
        /// How many it got.
        got: usize,
    },
    /// A function got an argument of the wrong kind.
    #[error("{function} takes {wanted}, not {got}")]
    ArgumentKind {
        /// The function.
        function: &'static str,
        /// What it takes.
        wanted: &'static str,
        /// What it got.
        got: &'static str,
    },
    /// An index lies outside of a list or text.
    #[error("index {index} is out of range for {length} elements")]
    OutOfRange {
        /// The index in the template.
        index: String,
        /// How many elements there are.
        length: usize,
    },
    /// The values have no common order or equality.
    #[error("can't compare {left} with {right}")]
    Incomparable {
        /// The kind on the left.
        left: &'static str,
        /// The kind on the right.
        right: &'static str,
    },
    /// `range` over something that has no elements.
    #[error("range can't walk through {0}")]
    NotIterable(&'static str),
    /// A width or length that only a mistake asks for.
    #[error("{0} is more than the widest column of {max} characters", max = super::template::MAX_WIDTH)]
    TooWide(String),
    /// Loops in loops print without end.
    #[error("the text grows beyond {0} bytes")]
    TooLong(usize),
    /// Loops in loops run without end.
    #[error("the template takes more than {0} steps")]
    TooManySteps(usize),
}
