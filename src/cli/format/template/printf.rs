//! `printf`, `print` and `println` with the rules of Go's `fmt`.
//!
//! A verb that does not fit its value is no error in Go: the output says so (`%!d(string=web)`), and so does ours.

use super::functions::{MAX_WIDTH, check_width};
use super::value::verbose;
use crate::cli::format::error::ValueProblem;
use serde_json::Value;
use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// What stands between `%` and the verb.
#[derive(Debug, Default)]
struct Flags {
    left: bool,
    zero: bool,
    plus: bool,
    blank: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Fills `pattern` with the arguments.
///
/// # Errors
/// [`ValueProblem::TooWide`] for a width or precision beyond [`MAX_WIDTH`].
pub(super) fn printf(pattern: &str, arguments: &[Cow<'_, Value>]) -> Result<String, ValueProblem> {
    let mut out = String::new();
    let mut rest = arguments.iter();
    let mut chars = pattern.chars().peekable();
    while let Some(letter) = chars.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let flags = Flags::read(&mut chars)?;
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match rest.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&flags.apply(verb, value)),
            },
        }
    }
    let extra: Vec<_> = rest.map(|value| format!("{}={}", go_type(value), verbose(value))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

/// Go's `Sprint`: a blank between two values of which neither is text.
pub(super) fn print(arguments: &[Cow<'_, Value>]) -> String {
    let mut out = String::new();
    for (index, value) in arguments.iter().enumerate() {
        if index > 0 && !value.is_string() && !arguments[index - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&verbose(value));
    }
    out
}

/// Go's `Sprintln`: a blank between all values, and a line break.
pub(super) fn println(arguments: &[Cow<'_, Value>]) -> String {
    let words: Vec<_> = arguments.iter().map(|value| verbose(value)).collect();
    format!("{}\n", words.join(" "))
}

impl Flags {
    fn read(chars: &mut Peekable<Chars<'_>>) -> Result<Self, ValueProblem> {
        let mut flags = Self::default();
        while let Some(flag) = chars.next_if(|letter| "-0+ #".contains(*letter)) {
            match flag {
                '-' => flags.left = true,
                '0' => flags.zero = true,
                '+' => flags.plus = true,
                ' ' => flags.blank = true,
                _ => flags.sharp = true,
            }
        }
        flags.width = read_number(chars)?;
        if chars.next_if_eq(&'.').is_some() {
            flags.precision = Some(read_number(chars)?);
        }
        Ok(flags)
    }

    fn apply(&self, verb: char, value: &Value) -> String {
        match (verb, value) {
            ('v', _) => self.text(&verbose(value)),
            ('s', Value::String(text)) => self.text(&self.cut(text)),
            ('s', Value::Array(items)) => self.each(verb, items),
            ('q', Value::String(text)) => self.text(&quote(&self.cut(text))),
            ('q', Value::Array(items)) => self.each(verb, items),
            ('d', Value::Number(number)) if !number.is_f64() => self.signed(&number.to_string()),
            ('d', Value::Array(items)) => self.each(verb, items),
            ('x' | 'X', Value::String(text)) => self.text(&cased(verb, &hex(text))),
            ('x' | 'X', Value::Number(number)) => match number.as_i64() {
                Some(whole) => self.hexadecimal(verb, whole),
                None => mismatch(verb, value),
            },
            ('f' | 'F', Value::Number(number)) if number.is_f64() => {
                let digits = self.precision.unwrap_or(6);
                self.signed(&format!("{:.digits$}", number.as_f64().unwrap_or_default()))
            }
            ('t', Value::Bool(flag)) => self.text(&flag.to_string()),
            ('T', _) => self.text(go_type(value)),
            _ => mismatch(verb, value),
        }
    }

    fn each(&self, verb: char, items: &[Value]) -> String {
        let words: Vec<_> = items.iter().map(|item| self.apply(verb, item)).collect();
        format!("[{}]", words.join(" "))
    }

    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn text(&self, text: &str) -> String {
        let fill = self.width.saturating_sub(text.chars().count());
        let blanks = " ".repeat(fill);
        if self.left { format!("{text}{blanks}") } else { format!("{blanks}{text}") }
    }

    /// Puts the sign in front of the zeros.
    fn signed(&self, number: &str) -> String {
        let digits = number.trim_start_matches('-');
        let sign = match (number.len() != digits.len(), self.plus, self.blank) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        if self.zero && !self.left {
            let width = self.width.saturating_sub(sign.len());
            return format!("{sign}{digits:0>width$}");
        }
        self.text(&format!("{sign}{digits}"))
    }

    fn hexadecimal(&self, verb: char, whole: i64) -> String {
        let sign = if whole < 0 { "-" } else { "" };
        let prefix = if self.sharp { "0x" } else { "" };
        self.signed(&cased(verb, &format!("{sign}{prefix}{:x}", whole.unsigned_abs())))
    }
}

fn read_number(chars: &mut Peekable<Chars<'_>>) -> Result<usize, ValueProblem> {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    match digits.parse::<usize>() {
        Ok(width) if width <= MAX_WIDTH => Ok(width),
        _ if digits.is_empty() => Ok(0),
        _ => check_width(&digits),
    }
}

fn mismatch(verb: char, value: &Value) -> String {
    match value {
        Value::Null => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", go_type(value), verbose(value)),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn cased(verb: char, text: &str) -> String {
    if verb == 'X' { text.to_uppercase() } else { text.to_owned() }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Go's quotes: like JSON's for all that a terminal shows.
fn quote(text: &str) -> String {
    Value::from(text).to_string()
}
