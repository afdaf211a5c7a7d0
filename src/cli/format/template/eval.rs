//! Walks the tree over one value.

use super::compiled::Row;
use super::functions;
use super::tree::{Branch, BranchKind, Command, Fault, Node, Operand, OperandKind, Pipeline, Span};
use super::value::{display, kind, truth};
use crate::cli::format::error::ValueProblem;
use serde_json::{Map, Value};
use std::borrow::Cow;

type Evaluated<T> = Result<T, Fault<ValueProblem>>;
type Shared<'v> = Cow<'v, Value>;

/// The longest text of one row. A whole inspected object is some kilobytes; beyond this the template loops over its own
/// product, and fails.
const MAX_OUTPUT: usize = 64 << 20;

/// The most nodes and elements that one row may visit: about a second of work. Beyond it the template fails.
const MAX_STEPS: usize = 5_000_000;

/// What a node asks of the loop around it.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Evaluates `nodes` over `row`.
pub(super) fn evaluate(nodes: &[Node], row: &Row) -> Evaluated<String> {
    let root = Cow::Borrowed(&row.fields);
    let mut walk = Walk { row, variables: vec![("$", root.clone())], out: String::new(), steps: 0 };
    walk.nodes(nodes, &root)?;
    Ok(walk.out)
}

struct Walk<'v> {
    row: &'v Row,
    variables: Vec<(&'v str, Shared<'v>)>,
    out: String,
    steps: usize,
}

impl<'v> Walk<'v> {
    fn nodes<'t: 'v>(&mut self, nodes: &'t [Node], dot: &Shared<'v>) -> Evaluated<Flow> {
        for node in nodes {
            self.step()?;
            let flow = match node {
                Node::Text(text) => self.print(text)?,
                Node::Action(pipeline) => self.action(pipeline, dot)?,
                Node::Branch(branch) => self.branch(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn step(&mut self) -> Evaluated<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS { fault(Span::default(), ValueProblem::TooManySteps(MAX_STEPS)) } else { Ok(()) }
    }

    fn print(&mut self, text: &str) -> Evaluated<Flow> {
        if self.out.len() + text.len() > MAX_OUTPUT {
            return fault(Span::default(), ValueProblem::TooLong(MAX_OUTPUT));
        }
        self.out.push_str(text);
        Ok(Flow::Next)
    }

    fn action<'t: 'v>(&mut self, pipeline: &'t Pipeline, dot: &Shared<'v>) -> Evaluated<Flow> {
        let value = self.pipeline(pipeline, dot)?;
        if pipeline.variables.is_empty() { self.print(&display(&value)) } else { Ok(Flow::Next) }
    }

    /// Runs a control structure; what it declared is gone after it.
    fn branch<'t: 'v>(&mut self, branch: &'t Branch, dot: &Shared<'v>) -> Evaluated<Flow> {
        let known = self.variables.len();
        let value = if branch.kind == BranchKind::Range {
            self.commands(&branch.pipeline, dot)?
        } else {
            self.pipeline(&branch.pipeline, dot)?
        };
        let flow = match branch.kind {
            BranchKind::Range => self.range(branch, &value, dot)?,
            BranchKind::If if truth(&value) => self.nodes(&branch.body, dot)?,
            BranchKind::With if truth(&value) => self.nodes(&branch.body, &value)?,
            _ => self.nodes(&branch.otherwise, dot)?,
        };
        self.variables.truncate(known);
        Ok(flow)
    }

    fn range<'t: 'v>(&mut self, branch: &'t Branch, value: &Shared<'v>, dot: &Shared<'v>) -> Evaluated<Flow> {
        let Some(pairs) = elements(value) else {
            let span = branch.pipeline.commands.first().map(command_span).unwrap_or_default();
            return fault(span, ValueProblem::NotIterable(kind(value)));
        };
        if pairs.is_empty() {
            return self.nodes(&branch.otherwise, dot);
        }
        for (key, element) in pairs {
            self.step()?;
            let known = self.variables.len();
            self.bind_pair(&branch.pipeline, key, &element);
            let flow = self.nodes(&branch.body, &element)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// One variable takes the element, two take the key and the element.
    fn bind_pair<'t: 'v>(&mut self, pipeline: &'t Pipeline, key: Value, element: &Shared<'v>) {
        match pipeline.variables.as_slice() {
            [only] => self.bind(only, element.clone(), pipeline.assigns),
            [first, second] => {
                self.bind(first, Cow::Owned(key), pipeline.assigns);
                self.bind(second, element.clone(), pipeline.assigns);
            }
            _ => (),
        }
    }

    fn bind(&mut self, name: &'v str, value: Shared<'v>, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| assigns && *known == name) {
            Some(known) => known.1 = value,
            None => self.variables.push((name, value)),
        }
    }

    fn pipeline<'t: 'v>(&mut self, pipeline: &'t Pipeline, dot: &Shared<'v>) -> Evaluated<Shared<'v>> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.bind(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands<'t: 'v>(&mut self, pipeline: &'t Pipeline, dot: &Shared<'v>) -> Evaluated<Shared<'v>> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Cow::Owned(Value::Null)))
    }

    /// Calls the first operand with the others and, as the last argument, the value of the command before.
    fn command<'t: 'v>(
        &mut self,
        command: &'t Command,
        piped: Option<Shared<'v>>,
        dot: &Shared<'v>,
    ) -> Evaluated<Shared<'v>> {
        let Some((first, others)) = command.operands.split_first() else {
            return Ok(Cow::Owned(Value::Null));
        };
        if let OperandKind::Function(name @ ("and" | "or")) = first.kind {
            return self.junction(name == "or", command, piped, dot);
        }
        let mut arguments = Vec::with_capacity(others.len() + 1);
        for operand in others {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        let problem = |problem| Fault { span: command_span(command), problem };
        match &first.kind {
            OperandKind::Function(name) => functions::call(name, &arguments).map(Cow::Owned).map_err(problem),
            _ if arguments.is_empty() => self.operand(first, dot),
            _ => self.look_up(first, &arguments, dot),
        }
    }

    /// `and` and `or` give the operand that decides, and leave those after it alone.
    fn junction<'t: 'v>(
        &mut self,
        stop_at: bool,
        command: &'t Command,
        piped: Option<Shared<'v>>,
        dot: &Shared<'v>,
    ) -> Evaluated<Shared<'v>> {
        let mut last = None;
        for operand in &command.operands[1..] {
            let value = self.operand(operand, dot)?;
            if truth(&value) == stop_at {
                return Ok(value);
            }
            last = Some(value);
        }
        let function = if stop_at { "or" } else { "and" };
        let missing = ValueProblem::ArgumentCount { function, wanted: "at least 1", got: 0 };
        piped.or(last).ok_or(Fault { span: command_span(command), problem: missing })
    }

    /// `{{.Label "k"}}`: the text at the key, or the empty text.
    fn look_up<'t: 'v>(
        &mut self,
        first: &'t Operand,
        arguments: &[Shared<'v>],
        dot: &Shared<'v>,
    ) -> Evaluated<Shared<'v>> {
        let callable =
            matches!(&first.kind, OperandKind::Field(names) | OperandKind::Variable(_, names) if !names.is_empty());
        let target = self.operand(first, dot)?;
        match (&*target, arguments) {
            (Value::Object(fields), [key]) if callable && key.is_string() => {
                let found = key.as_str().and_then(|key| fields.get(key)).cloned();
                Ok(Cow::Owned(found.unwrap_or_else(|| Value::String(String::new()))))
            }
            (Value::Null, [key]) if callable && key.is_string() => Ok(Cow::Owned(Value::String(String::new()))),
            _ => fault(first.span, ValueProblem::NotCallable),
        }
    }

    fn operand<'t: 'v>(&mut self, operand: &'t Operand, dot: &Shared<'v>) -> Evaluated<Shared<'v>> {
        let (start, names): (Shared<'v>, &[String]) = match &operand.kind {
            OperandKind::Literal(value) => (Cow::Borrowed(value), &[]),
            OperandKind::Field(names) => (dot.clone(), names),
            OperandKind::Variable(name, names) => (self.variable(name), names),
            OperandKind::Nested(pipeline, names) => (self.pipeline(pipeline, dot)?, names),
            OperandKind::Function(name) => {
                let answer = functions::call(name, &[]).map_err(|problem| Fault { span: operand.span, problem })?;
                (Cow::Owned(answer), &[])
            }
        };
        names.iter().try_fold(start, |value, name| {
            self.field(value, name).map_err(|problem| Fault { span: operand.span, problem })
        })
    }

    /// The parser has checked that the variable exists.
    fn variable(&self, name: &str) -> Shared<'v> {
        let found = self.variables.iter().rev().find(|(known, _)| *known == name);
        found.map_or(Cow::Owned(Value::Null), |(_, value)| value.clone())
    }

    fn field(&self, value: Shared<'v>, name: &str) -> Result<Shared<'v>, ValueProblem> {
        let field = name.to_owned();
        let found = match &value {
            Cow::Borrowed(Value::Object(fields)) => fields.get(name).map(Cow::Borrowed),
            Cow::Owned(Value::Object(fields)) => fields.get(name).cloned().map(Cow::Owned),
            other => return Err(ValueProblem::NotAnObject { field, kind: kind(other) }),
        };
        if let Some(found) = found.or_else(|| self.lookup(&value, name)) {
            return Ok(found);
        }
        match value.as_object() {
            Some(fields) if self.is_row(&value) || is_record(fields) => {
                Err(ValueProblem::NoField { field, known: self.names(&value, fields) })
            }
            _ => Ok(Cow::Owned(Value::Null)),
        }
    }

    /// Lookups belong to the row itself, not to what lies in it.
    fn lookup(&self, value: &Shared<'v>, name: &str) -> Option<Shared<'v>> {
        if self.is_row(value) { self.row.lookups.get(name).map(Cow::Borrowed) } else { None }
    }

    fn is_row(&self, value: &Shared<'v>) -> bool {
        matches!(value, Cow::Borrowed(inner) if std::ptr::eq(*inner, &self.row.fields))
    }

    fn names(&self, value: &Shared<'v>, fields: &Map<String, Value>) -> String {
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        if self.is_row(value) {
            names.extend(self.row.lookups.keys());
        }
        names.sort_unstable();
        names.join(", ")
    }
}

/// See the theory of this folder: the keys tell a record from a map.
fn is_record(fields: &Map<String, Value>) -> bool {
    !fields.is_empty() && fields.keys().all(|key| key.starts_with(char::is_uppercase))
}

fn fault<T>(span: Span, problem: ValueProblem) -> Evaluated<T> {
    Err(Fault { span, problem })
}

fn command_span(command: &Command) -> Span {
    let start = command.operands.first().map_or(0, |first| first.span.start);
    let end = command.operands.last().map_or(0, |last| last.span.end);
    Span { start, end }
}

/// Keys and elements of a list, an object, or a count; null has none.
fn elements<'v>(value: &Shared<'v>) -> Option<Vec<(Value, Shared<'v>)>> {
    match value {
        Cow::Borrowed(Value::Array(items)) => Some(numbered(items.iter().map(Cow::Borrowed))),
        Cow::Owned(Value::Array(items)) => Some(numbered(items.iter().cloned().map(Cow::Owned))),
        Cow::Borrowed(Value::Object(fields)) => {
            Some(fields.iter().map(|(key, value)| (Value::from(key.as_str()), Cow::Borrowed(value))).collect())
        }
        Cow::Owned(Value::Object(fields)) => {
            Some(fields.iter().map(|(key, value)| (Value::from(key.as_str()), Cow::Owned(value.clone()))).collect())
        }
        Cow::Borrowed(Value::Null) | Cow::Owned(Value::Null) => Some(Vec::new()),
        _ => None,
    }
}

fn numbered<'v>(items: impl Iterator<Item = Shared<'v>>) -> Vec<(Value, Shared<'v>)> {
    items.enumerate().map(|(index, item)| (Value::from(index), item)).collect()
}
