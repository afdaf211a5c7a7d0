//! How Go prints, tests and compares a value.

use crate::cli::format::error::ValueProblem;
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// The text of a value as `{{.}}` prints it: `map[a:1]`, `[a b]`, and `<no value>` for null.
pub(crate) fn display(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        _ => verbose(value),
    }
}

/// The text of a value inside of another one or under `%v`, where null is `<nil>`.
pub(super) fn verbose(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(verbose).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let pairs: Vec<_> = fields.iter().map(|(key, value)| format!("{key}:{}", verbose(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// Go prints a float in the shortest form that reads back, with an exponent below 1e-4 and from 1e6 on.
fn number_text(number: &Number) -> String {
    let float = number.as_f64().unwrap_or_default();
    let plain = !number.is_f64() || float == 0.0 || (1e-4..1e6).contains(&float.abs());
    match (number.is_f64(), plain) {
        (false, _) => number.to_string(),
        (true, true) => float.to_string(),
        (true, false) => exponent_text(float),
    }
}

/// Go writes the exponent with a sign and at least two digits.
fn exponent_text(float: f64) -> String {
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let sign = if exponent.starts_with('-') { '-' } else { '+' };
            format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
        }
        None => text,
    }
}

/// Whether `{{if}}` takes the value for true: it is neither null, false, zero nor empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// The kind of a value in the words of an error message.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "an empty value",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether two values are equal; anything may be compared with null, other kinds only with their own.
///
/// # Errors
/// [`ValueProblem::Incomparable`] for values of two kinds.
pub(super) fn equal(left: &Value, right: &Value) -> Result<bool, ValueProblem> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(left == right),
        (Value::Number(_), Value::Number(_)) | (Value::String(_), Value::String(_)) => {
            Ok(order(left, right)? == Ordering::Equal)
        }
        _ if std::mem::discriminant(left) == std::mem::discriminant(right) => Ok(left == right),
        _ => Err(incomparable(left, right)),
    }
}

/// The order of two numbers or two texts.
///
/// # Errors
/// [`ValueProblem::Incomparable`] for anything else.
pub(super) fn order(left: &Value, right: &Value) -> Result<Ordering, ValueProblem> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => Ok(order_numbers(left, right)),
        _ => Err(incomparable(left, right)),
    }
}

/// Whole numbers compare exactly: byte counts and nanoseconds do not fit a float.
fn order_numbers(left: &Number, right: &Number) -> Ordering {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn incomparable(left: &Value, right: &Value) -> ValueProblem {
    ValueProblem::Incomparable { left: kind(left), right: kind(right) }
}
