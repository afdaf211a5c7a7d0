//! Cuts a template into lexemes: text, and the words and signs inside of `{{ }}`.

use super::tree::{Fault, Span};
use crate::cli::format::error::SyntaxProblem;
use serde_json::{Number, Value};

/// A word, sign or text of the template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions, trimmed and never empty.
    Text(String),
    /// `{{`.
    Open,
    /// `}}`.
    Close,
    /// A keyword or function.
    Word(String),
    /// `.A.B`, or with no names `.`.
    Path(Vec<String>),
    /// `$name.A.B`; the name carries its `$`.
    Variable(String, Vec<String>),
    /// Quoted text, a character or a number.
    Literal(Value),
    /// `|`, `(`, `)`, `,`, `=` or `:=`.
    Sign(&'static str),
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lexeme {
    /// What it is.
    pub(super) token: Token,
    /// Where it is.
    pub(super) span: Span,
    /// Whether it follows the one before without a blank, as `.Name` does in `(index .List 0).Name`.
    pub(super) glued: bool,
}

/// Cuts `source`; with `expand`, `\t` and `\n` outside of actions become a tab and a line break.
pub(super) fn lex(source: &str, expand: bool) -> Result<Vec<Lexeme>, Fault<SyntaxProblem>> {
    let mut lexer = Lexer { source, at: 0, expand, lexemes: Vec::new() };
    let mut trim = false;
    while lexer.at < source.len() {
        trim = lexer.text_and_action(trim)?;
    }
    Ok(lexer.lexemes)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    expand: bool,
    lexemes: Vec<Lexeme>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn fault<T>(&self, start: usize, problem: SyntaxProblem) -> Result<T, Fault<SyntaxProblem>> {
        Err(Fault { span: Span { start, end: self.at }, problem })
    }

    fn push(&mut self, start: usize, glued: bool, token: Token) {
        self.lexemes.push(Lexeme { token, span: Span { start, end: self.at }, glued });
    }

    /// Takes the text up to the next action and that action; says whether the action trims the text after it.
    fn text_and_action(&mut self, trim_start: bool) -> Result<bool, Fault<SyntaxProblem>> {
        let start = self.at;
        let length = self.rest().find("{{");
        let text = &self.rest()[..length.unwrap_or(self.rest().len())];
        self.at += text.len();
        let trim_end = length.is_some() && opens_with_trim(&self.rest()[2..]);
        self.text(start, text, trim_start, trim_end);
        if length.is_none() {
            return Ok(false);
        }
        let open = self.at;
        self.at += if trim_end { 3 } else { 2 };
        if self.rest().trim_start().starts_with("/*") { self.comment(open) } else { self.action(open) }
    }

    /// Escapes go before trimming, so that `{{- ` also eats a line break that was written as `\n`.
    fn text(&mut self, start: usize, text: &str, trim_start: bool, trim_end: bool) {
        let expanded = if self.expand { text.replace("\\t", "\t").replace("\\n", "\n") } else { text.to_owned() };
        let mut kept = expanded.as_str();
        if trim_start {
            kept = kept.trim_start();
        }
        if trim_end {
            kept = kept.trim_end();
        }
        if !kept.is_empty() {
            self.push(start, false, Token::Text(kept.to_owned()));
        }
    }

    fn comment(&mut self, open: usize) -> Result<bool, Fault<SyntaxProblem>> {
        let Some(end) = self.rest().find("*/") else {
            return self.fault(open, SyntaxProblem::OpenComment);
        };
        self.at += end + 2;
        match self.close() {
            Some(trim) => Ok(trim),
            None => self.fault(open, SyntaxProblem::OpenComment),
        }
    }

    fn action(&mut self, open: usize) -> Result<bool, Fault<SyntaxProblem>> {
        self.push(open, false, Token::Open);
        loop {
            let before = self.at;
            if let Some(trim) = self.close() {
                self.push(before, false, Token::Close);
                return Ok(trim);
            }
            self.at += self.rest().len() - self.rest().trim_start().len();
            if self.rest().is_empty() {
                return self.fault(open, SyntaxProblem::OpenAction);
            }
            let start = self.at;
            let token = self.token()?;
            self.push(start, before == start, token);
        }
    }

    /// Steps over `}}` or ` -}}` if one comes next; says whether it trims.
    fn close(&mut self) -> Option<bool> {
        let word = self.rest().trim_start();
        let blanks = self.rest().len() - word.len();
        let trim = blanks > 0 && word.starts_with("-}}");
        if !trim && !word.starts_with("}}") {
            return None;
        }
        self.at += blanks + if trim { 3 } else { 2 };
        Some(trim)
    }

    fn token(&mut self) -> Result<Token, Fault<SyntaxProblem>> {
        let mut chars = self.rest().chars();
        let first = chars.next().unwrap_or_default();
        let second = chars.next().unwrap_or_default();
        match first {
            '"' | '\'' => self.quoted(first),
            '`' => self.raw(),
            '.' if second.is_ascii_digit() => self.number(),
            '.' => Ok(Token::Path(self.path())),
            '$' => Ok(self.variable()),
            '0'..='9' => self.number(),
            '+' | '-' if second.is_ascii_digit() || second == '.' => self.number(),
            _ if is_name(first) => Ok(Token::Word(self.name().to_owned())),
            _ => self.sign(),
        }
    }

    fn sign(&mut self) -> Result<Token, Fault<SyntaxProblem>> {
        for sign in ["|", "(", ")", ",", ":=", "="] {
            if self.rest().starts_with(sign) {
                self.at += sign.len();
                return Ok(Token::Sign(sign));
            }
        }
        let found = self.rest().chars().next().map(|sign| format!("{sign:?}")).unwrap_or_default();
        self.fault(self.at, SyntaxProblem::Unexpected { found, wanted: "a value, a function or }}" })
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let name = &rest[..rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())];
        self.at += name.len();
        name
    }

    /// Takes `.A.B`; a lone dot gives no names.
    fn path(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(after) = self.rest().strip_prefix('.') {
            let named = after.starts_with(is_name);
            if !named && !names.is_empty() {
                break;
            }
            self.at += 1;
            if !named {
                break;
            }
            names.push(self.name().to_owned());
        }
        names
    }

    fn variable(&mut self) -> Token {
        self.at += 1;
        let name = format!("${}", self.name());
        Token::Variable(name, self.path())
    }

    fn number(&mut self) -> Result<Token, Fault<SyntaxProblem>> {
        let start = self.at;
        let rest = self.rest();
        let text = &rest[..number_length(rest)];
        self.at += text.len();
        match parse_number(text) {
            Some(number) => Ok(Token::Literal(Value::Number(number))),
            None => self.fault(start, SyntaxProblem::BadNumber(text.to_owned())),
        }
    }

    fn raw(&mut self) -> Result<Token, Fault<SyntaxProblem>> {
        let start = self.at;
        match self.rest()[1..].find('`') {
            Some(length) => {
                let text = self.rest()[1..=length].to_owned();
                self.at += length + 2;
                Ok(Token::Literal(Value::String(text)))
            }
            None => self.fault(start, SyntaxProblem::OpenQuote),
        }
    }

    /// Takes `"text"`, or `'c'`, which is the number of the character as in Go.
    fn quoted(&mut self, quote: char) -> Result<Token, Fault<SyntaxProblem>> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((offset, letter)) = chars.next() {
            if letter == quote {
                self.at = start + 1 + offset + 1;
                return self.unquoted(start, quote, text);
            }
            let escaped = if letter == '\\' { chars.next().and_then(|(_, code)| unescape(code)) } else { Some(letter) };
            match escaped {
                Some(plain) => text.push(plain),
                None => return self.fault(start, SyntaxProblem::BadEscape),
            }
        }
        self.fault(start, SyntaxProblem::OpenQuote)
    }

    fn unquoted(&self, start: usize, quote: char, text: String) -> Result<Token, Fault<SyntaxProblem>> {
        let mut chars = text.chars();
        match (quote, chars.next(), chars.next()) {
            ('"', ..) => Ok(Token::Literal(Value::String(text))),
            (_, Some(only), None) => Ok(Token::Literal(Value::from(u32::from(only)))),
            _ => self.fault(start, SyntaxProblem::BadNumber(format!("'{text}'"))),
        }
    }
}

fn opens_with_trim(after: &str) -> bool {
    after.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

fn is_name(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

fn unescape(code: char) -> Option<char> {
    match code {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        '0' => Some('\0'),
        '\\' | '"' | '\'' => Some(code),
        _ => None,
    }
}

/// The length of what looks like a number: a sign may stand in front of it, or after the `e` of its exponent.
fn number_length(text: &str) -> usize {
    let mut before = 'e';
    for (index, letter) in text.char_indices() {
        let sign = matches!(letter, '+' | '-') && matches!(before, 'e' | 'E');
        if !sign && letter != '.' && !is_name(letter) {
            return index;
        }
        before = letter;
    }
    text.len()
}

fn parse_number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Number::from(whole));
    }
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hex {
        Some(digits) => i64::from_str_radix(digits, 16).ok().map(Number::from),
        None if text.contains(|letter: char| letter.is_ascii_digit()) => Number::from_f64(text.parse().ok()?),
        None => None,
    }
}
