//! The functions of templates: Docker's own and those of Go, apart from `and` and `or`, which the evaluator runs.

use super::printf;
use super::value::{display, equal, kind, order, truth};
use crate::cli::format::error::ValueProblem;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// All functions, in the order of the alphabet for the error that lists them.
pub(super) const NAMES: [&str; 23] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad", "print",
    "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// The widest padding: wider than any terminal, and small enough that a mistyped width costs no memory. Beyond it the
/// template fails.
pub(crate) const MAX_WIDTH: usize = 10_000;

type Arguments<'a, 'v> = &'a [Cow<'v, Value>];
type Answer = Result<Value, ValueProblem>;

/// Calls a function of [`NAMES`].
///
/// # Errors
/// When the number or the kind of the arguments does not fit, or an index is out of range.
pub(super) fn call(name: &'static str, arguments: Arguments<'_, '_>) -> Answer {
    let call = Call { name, arguments };
    match name {
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => call.compare(),
        "not" => Ok(Value::Bool(!truth(call.only()?))),
        "len" => call.length(),
        "index" => call.index(),
        "slice" => call.slice(),
        "json" => Ok(Value::String(call.only()?.to_string())),
        "lower" => Ok(Value::String(call.text(0, 1)?.to_lowercase())),
        "upper" => Ok(Value::String(call.text(0, 1)?.to_uppercase())),
        "title" => Ok(Value::String(title(call.text(0, 1)?))),
        "split" => call.split(),
        "join" => call.join(),
        "pad" => call.pad(),
        "truncate" => call.truncate(),
        "print" => Ok(Value::String(printf::print(arguments))),
        "println" => Ok(Value::String(printf::println(arguments))),
        _ => call.printf(),
    }
}

/// Refuses a width that is no number or beyond [`MAX_WIDTH`].
///
/// # Errors
/// [`ValueProblem::TooWide`].
pub(super) fn check_width(text: &str) -> Result<usize, ValueProblem> {
    match text.parse::<usize>() {
        Ok(width) if width <= MAX_WIDTH => Ok(width),
        _ => Err(ValueProblem::TooWide(text.to_owned())),
    }
}

struct Call<'a, 'v> {
    name: &'static str,
    arguments: Arguments<'a, 'v>,
}

impl Call<'_, '_> {
    fn count(&self, wanted: &'static str) -> ValueProblem {
        ValueProblem::ArgumentCount { function: self.name, wanted, got: self.arguments.len() }
    }

    fn wrong(&self, wanted: &'static str, got: &Value) -> ValueProblem {
        ValueProblem::ArgumentKind { function: self.name, wanted, got: kind(got) }
    }

    fn only(&self) -> Result<&Value, ValueProblem> {
        match self.arguments {
            [only] => Ok(only),
            _ => Err(self.count("1")),
        }
    }

    /// The text at `position` of a function that takes `of` arguments.
    fn text(&self, position: usize, of: usize) -> Result<&str, ValueProblem> {
        let wanted = ["0", "1", "2", "3"];
        match self.arguments.get(position) {
            Some(value) if self.arguments.len() == of => value.as_str().ok_or_else(|| self.wrong("a text", value)),
            _ => Err(self.count(wanted.get(of).copied().unwrap_or("fewer"))),
        }
    }

    fn number(&self, position: usize, of: usize) -> Result<usize, ValueProblem> {
        match self.arguments.get(position) {
            Some(value) if self.arguments.len() == of => match value.as_i64() {
                Some(number) => check_width(&number.max(0).to_string()),
                None => Err(self.wrong("a whole number", value)),
            },
            _ => Err(self.count(if of == 2 { "2" } else { "3" })),
        }
    }

    fn compare(&self) -> Answer {
        let (first, others) = self.arguments.split_first().ok_or_else(|| self.count("2"))?;
        let second = others.first().ok_or_else(|| self.count("2"))?;
        if self.name != "eq" && others.len() > 1 {
            return Err(self.count("2"));
        }
        let holds = match self.name {
            "eq" => return equals_any(first, others),
            "ne" => !equal(first, second)?,
            "lt" => order(first, second)? == Ordering::Less,
            "le" => order(first, second)? != Ordering::Greater,
            "gt" => order(first, second)? == Ordering::Greater,
            _ => order(first, second)? != Ordering::Less,
        };
        Ok(Value::Bool(holds))
    }

    fn length(&self) -> Answer {
        match self.only()? {
            Value::String(text) => Ok(Value::from(text.len())),
            Value::Array(items) => Ok(Value::from(items.len())),
            Value::Object(fields) => Ok(Value::from(fields.len())),
            Value::Null => Ok(Value::from(0)),
            other => Err(self.wrong("a text, a list or an object", other)),
        }
    }

    fn index(&self) -> Answer {
        let (first, keys) = self.arguments.split_first().ok_or_else(|| self.count("at least 1"))?;
        let mut value: &Value = first;
        // Docker's maps hold texts, and the empty text is what Go finds at an unknown key or in a map that is not there.
        let absent = Value::String(String::new());
        for key in keys {
            value = match (value, &**key) {
                (Value::Object(fields), Value::String(name)) => fields.get(name).unwrap_or(&absent),
                (Value::Null, Value::String(_)) => &absent,
                (Value::Array(items), Value::Number(_)) => element(items, key)?,
                (Value::Array(_), other) => return Err(self.wrong("a number for a list", other)),
                (Value::Object(_), other) => return Err(self.wrong("a text for an object", other)),
                (other, _) => return Err(self.wrong("a list or an object", other)),
            };
        }
        Ok(value.clone())
    }

    fn slice(&self) -> Answer {
        let (first, bounds) = self.arguments.split_first().ok_or_else(|| self.count("1 to 3"))?;
        if bounds.len() > 2 {
            return Err(self.count("1 to 3"));
        }
        match &**first {
            Value::String(text) => {
                let (from, to) = self.bounds(bounds, text.len())?;
                Ok(Value::String(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()))
            }
            Value::Array(items) => {
                let (from, to) = self.bounds(bounds, items.len())?;
                Ok(Value::Array(items[from..to].to_vec()))
            }
            other => Err(self.wrong("a text or a list", other)),
        }
    }

    /// The bounds of a slice, checked: from <= to <= length.
    fn bounds(&self, bounds: Arguments<'_, '_>, length: usize) -> Result<(usize, usize), ValueProblem> {
        let bound = |position: usize, default: usize| match bounds.get(position) {
            None => Ok(default),
            Some(value) if value.is_number() => within(value, length),
            Some(value) => Err(self.wrong("whole numbers as bounds", value)),
        };
        let (from, to) = (bound(0, 0)?, bound(1, length)?);
        if from > to {
            return Err(ValueProblem::OutOfRange { index: format!("{from}:{to}"), length });
        }
        Ok((from, to))
    }

    fn split(&self) -> Answer {
        let (text, separator) = (self.text(0, 2)?, self.text(1, 2)?);
        if separator.is_empty() {
            return Ok(text.chars().map(|letter| letter.to_string()).collect());
        }
        Ok(text.split(separator).collect())
    }

    fn join(&self) -> Answer {
        let separator = self.text(1, 2)?;
        match &*self.arguments[0] {
            Value::Array(items) => Ok(items.iter().map(display).collect::<Vec<_>>().join(separator).into()),
            Value::Null => Ok(String::new().into()),
            other => Err(self.wrong("a list", other)),
        }
    }

    fn pad(&self) -> Answer {
        let (text, before, after) = (self.text(0, 3)?, self.number(1, 3)?, self.number(2, 3)?);
        if text.is_empty() {
            return Ok(String::new().into());
        }
        Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
    }

    fn truncate(&self) -> Answer {
        let (text, length) = (self.text(0, 2)?, self.number(1, 2)?);
        Ok(text.chars().take(length).collect::<String>().into())
    }

    fn printf(&self) -> Answer {
        match self.arguments.split_first() {
            Some((pattern, rest)) => match &**pattern {
                Value::String(pattern) => Ok(printf::printf(pattern, rest)?.into()),
                other => Err(self.wrong("a text first", other)),
            },
            None => Err(self.count("at least 1")),
        }
    }
}

fn equals_any(first: &Value, others: Arguments<'_, '_>) -> Answer {
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn element<'a>(items: &'a [Value], key: &Value) -> Result<&'a Value, ValueProblem> {
    let found = key.as_u64().and_then(|index| usize::try_from(index).ok()).and_then(|index| items.get(index));
    found.ok_or_else(|| ValueProblem::OutOfRange { index: key.to_string(), length: items.len() })
}

/// A bound of a slice, which may be the length itself.
fn within(value: &Value, length: usize) -> Result<usize, ValueProblem> {
    let bound = value.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index <= length);
    bound.ok_or_else(|| ValueProblem::OutOfRange { index: value.to_string(), length })
}

/// The first letter of each word in upper case; a word ends at anything but a letter, a digit and `_`, so that Go
/// and we write `It'S`.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if inside {
            out.push(letter)
        } else {
            out.extend(letter.to_uppercase())
        }
        inside = letter.is_alphanumeric() || letter == '_';
    }
    out
}
