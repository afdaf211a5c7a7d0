//! Builds the tree from the lexemes, by recursive descent.

use super::functions;
use super::lexer::{Lexeme, Token};
use super::tree::{Branch, BranchKind, Command, Fault, Node, Operand, OperandKind, Pipeline, Span};
use crate::cli::format::error::SyntaxProblem;
use serde_json::Value;

type Parsed<T> = Result<T, Fault<SyntaxProblem>>;

/// Blocks and parentheses may stand in each other this often: far beyond what a person writes, far below what the stack
/// holds. At the bound the template is refused.
const MAX_DEPTH: usize = 64;

/// Words that can be no function.
const KEYWORDS: [&str; 10] = ["if", "else", "end", "range", "with", "break", "continue", "define", "template", "block"];

/// Builds the tree of a whole template; `length` is where the source ends.
pub(super) fn parse(lexemes: &[Lexeme], length: usize) -> Parsed<Vec<Node>> {
    let variables = vec!["$".to_owned()];
    let mut parser = Parser { lexemes, next: 0, length, variables, depth: 0, loops: 0 };
    let (nodes, stop) = parser.nodes()?;
    match stop {
        Stop::Source => Ok(nodes),
        Stop::End => parser.unexpected("{{end}}".to_owned(), "text or an action"),
        Stop::Else => parser.unexpected("{{else}}".to_owned(), "text or an action"),
    }
}

/// What ended a list of nodes. `End` has taken its `}}`, `Else` has not, because `if` may follow.
enum Stop {
    Source,
    End,
    Else,
}

struct Parser<'a> {
    lexemes: &'a [Lexeme],
    next: usize,
    length: usize,
    variables: Vec<String>,
    depth: usize,
    loops: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.lexemes.get(self.next).map(|lexeme| &lexeme.token)
    }

    fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_sign(&self, offset: usize, sign: &str) -> bool {
        matches!(self.lexemes.get(self.next + offset), Some(Lexeme { token: Token::Sign(found), .. }) if *found == sign)
    }

    /// The place of the next lexeme, or the end of the source.
    fn here(&self) -> Span {
        self.lexemes.get(self.next).map_or(Span { start: self.length, end: self.length }, |lexeme| lexeme.span)
    }

    fn fault<T>(&self, problem: SyntaxProblem) -> Parsed<T> {
        Err(Fault { span: self.here(), problem })
    }

    fn unexpected<T>(&self, found: String, wanted: &'static str) -> Parsed<T> {
        self.fault(SyntaxProblem::Unexpected { found, wanted })
    }

    fn unexpected_next<T>(&self, wanted: &'static str) -> Parsed<T> {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(token) => describe(token),
        };
        self.unexpected(found, wanted)
    }

    fn expect_close(&mut self) -> Parsed<()> {
        if self.peek() == Some(&Token::Close) {
            self.next += 1;
            return Ok(());
        }
        self.unexpected_next("}}")
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { self.fault(SyntaxProblem::TooDeep(MAX_DEPTH)) } else { Ok(()) }
    }

    /// Takes nodes up to the end of the source, `{{end}}` or `{{else`.
    fn nodes(&mut self) -> Parsed<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        while let Some(token) = self.peek() {
            self.next += 1;
            if let Token::Text(text) = token {
                nodes.push(Node::Text(text.clone()));
                continue;
            }
            match self.peek_word() {
                Some("end") => {
                    self.next += 1;
                    self.expect_close()?;
                    return Ok((nodes, Stop::End));
                }
                Some("else") => {
                    self.next += 1;
                    return Ok((nodes, Stop::Else));
                }
                _ => nodes.push(self.node()?),
            }
        }
        Ok((nodes, Stop::Source))
    }

    /// Takes one action, whose `{{` has been taken.
    fn node(&mut self) -> Parsed<Node> {
        match self.peek_word() {
            Some("if") => self.branch(BranchKind::If, "if"),
            Some("with") => self.branch(BranchKind::With, "with"),
            Some("range") => self.branch(BranchKind::Range, "range"),
            Some("break") => self.jump(Node::Break, "break"),
            Some("continue") => self.jump(Node::Continue, "continue"),
            Some(word @ ("define" | "template" | "block")) => self.fault(SyntaxProblem::Unsupported(word.to_owned())),
            _ => {
                let pipeline = self.pipeline(1)?;
                self.expect_close()?;
                Ok(Node::Action(pipeline))
            }
        }
    }

    fn jump(&mut self, node: Node, word: &'static str) -> Parsed<Node> {
        if self.loops == 0 {
            return self.fault(SyntaxProblem::OutsideRange(word));
        }
        self.next += 1;
        self.expect_close()?;
        Ok(node)
    }

    /// Takes a control structure from its keyword to its `{{end}}`; what it declares is gone after it.
    fn branch(&mut self, kind: BranchKind, word: &'static str) -> Parsed<Node> {
        let opening = self.here();
        self.enter()?;
        self.next += 1;
        let known = self.variables.len();
        let pipeline = self.pipeline(if kind == BranchKind::Range { 2 } else { 1 })?;
        self.expect_close()?;
        let (body, stop) = self.body(kind)?;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::Else => self.otherwise(kind)?,
            Stop::Source => return Err(Fault { span: opening, problem: SyntaxProblem::NoEnd(word) }),
        };
        self.variables.truncate(known);
        self.depth -= 1;
        Ok(Node::Branch(Box::new(Branch { kind, pipeline, body, otherwise })))
    }

    fn body(&mut self, kind: BranchKind) -> Parsed<(Vec<Node>, Stop)> {
        let inside = usize::from(kind == BranchKind::Range);
        self.loops += inside;
        let known = self.variables.len();
        let body = self.nodes()?;
        self.variables.truncate(known);
        self.loops -= inside;
        Ok(body)
    }

    /// Takes what follows the word `else`: `}}` and nodes, or another `if` or `with` that shares our `{{end}}`.
    fn otherwise(&mut self, kind: BranchKind) -> Parsed<Vec<Node>> {
        match (self.peek_word(), kind) {
            (Some("if"), BranchKind::If | BranchKind::With) => Ok(vec![self.branch(BranchKind::If, "if")?]),
            (Some("with"), BranchKind::If | BranchKind::With) => Ok(vec![self.branch(BranchKind::With, "with")?]),
            _ => {
                self.expect_close()?;
                match self.nodes()? {
                    (nodes, Stop::End) => Ok(nodes),
                    (_, Stop::Source) => self.fault(SyntaxProblem::NoEnd("else")),
                    (_, Stop::Else) => self.unexpected("a second {{else}}".to_owned(), "{{end}}"),
                }
            }
        }
    }

    /// Takes a pipeline, with at most `most` variables in front of it, up to `}}` or `)`.
    fn pipeline(&mut self, most: usize) -> Parsed<Pipeline> {
        let (variables, assigns) = self.declaration(most)?;
        let mut commands = vec![self.command()?];
        while self.is_sign(0, "|") {
            self.next += 1;
            commands.push(self.command()?);
        }
        // The variables are known only after their pipeline, so that `$x := $x` means the older one.
        if assigns {
            for name in &variables {
                self.known(name)?;
            }
        } else {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    fn declaration(&mut self, most: usize) -> Parsed<(Vec<String>, bool)> {
        let mut names = Vec::new();
        let mut offset = 0;
        while let Some(Lexeme { token: Token::Variable(name, path), .. }) = self.lexemes.get(self.next + offset) {
            names.push(name.clone());
            let declares = self.is_sign(offset + 1, ":=");
            if path.is_empty() && names.len() <= most && (declares || self.is_sign(offset + 1, "=")) {
                self.next += offset + 2;
                return Ok((names, !declares));
            }
            if !self.is_sign(offset + 1, ",") {
                break;
            }
            offset += 2;
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut operands = Vec::new();
        while !self.command_ends() {
            operands.push(self.operand()?);
        }
        if operands.is_empty() { self.unexpected_next("a value or a function") } else { Ok(Command { operands }) }
    }

    fn command_ends(&self) -> bool {
        matches!(self.peek(), None | Some(Token::Close)) || self.is_sign(0, "|") || self.is_sign(0, ")")
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let mut span = self.here();
        let kind = match self.peek() {
            Some(Token::Literal(value)) => OperandKind::Literal(value.clone()),
            Some(Token::Path(names)) => OperandKind::Field(names.clone()),
            Some(Token::Variable(name, names)) => {
                self.known(name)?;
                OperandKind::Variable(name.clone(), names.clone())
            }
            Some(Token::Word(word)) => self.word(word)?,
            Some(Token::Sign("(")) => return self.nested(),
            _ => return self.unexpected_next("a value or a function"),
        };
        self.next += 1;
        span.end = span.end.max(span.start);
        Ok(Operand { span, kind })
    }

    fn nested(&mut self) -> Parsed<Operand> {
        let start = self.here().start;
        self.enter()?;
        self.next += 1;
        let pipeline = self.pipeline(1)?;
        if !self.is_sign(0, ")") {
            return self.unexpected_next(")");
        }
        let mut end = self.here().end;
        self.next += 1;
        let mut names = Vec::new();
        if let Some(Lexeme { token: Token::Path(path), glued: true, span }) = self.lexemes.get(self.next) {
            names.clone_from(path);
            end = span.end;
            self.next += 1;
        }
        self.depth -= 1;
        Ok(Operand { span: Span { start, end }, kind: OperandKind::Nested(Box::new(pipeline), names) })
    }

    fn word(&self, word: &str) -> Parsed<OperandKind> {
        match word {
            "true" => return Ok(OperandKind::Literal(Value::Bool(true))),
            "false" => return Ok(OperandKind::Literal(Value::Bool(false))),
            "nil" => return Ok(OperandKind::Literal(Value::Null)),
            _ if KEYWORDS.contains(&word) => return self.unexpected_next("a value or a function"),
            _ => (),
        }
        match functions::NAMES.iter().find(|name| **name == word) {
            Some(name) => Ok(OperandKind::Function(name)),
            None => {
                self.fault(SyntaxProblem::UnknownFunction { name: word.to_owned(), known: functions::NAMES.join(", ") })
            }
        }
    }

    fn known(&self, name: &String) -> Parsed<()> {
        if self.variables.contains(name) { Ok(()) } else { self.fault(SyntaxProblem::UnknownVariable(name.clone())) }
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Text(_) => "text".to_owned(),
        Token::Open => "{{".to_owned(),
        Token::Close => "}}".to_owned(),
        Token::Word(word) => word.clone(),
        Token::Path(names) => format!(".{}", names.join(".")),
        Token::Variable(name, _) => name.clone(),
        Token::Literal(value) => value.to_string(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}
