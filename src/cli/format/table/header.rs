//! The header line of `--format 'table TEMPLATE'`.
//!
//! Docker runs the template a second time over an object that holds a header in each field. We read the header from the
//! tree instead: no function, comparison or loop of the template can then fail over texts it was not written for.

use super::listing::Column;
use crate::cli::format::template::{BranchKind, Node, OperandKind, Pipeline, Template, display};

/// The header of `template`: its text, with the header of the first field in place of each action. Of a block, the body
/// stands for the whole.
pub(super) fn header_line(template: &Template, columns: &[Column]) -> String {
    let mut header = Header { columns, dots: Vec::new(), out: String::new() };
    header.nodes(template.nodes());
    header.out
}

/// The header of one field: its column's, or its name taken apart: `TLSStatus` becomes `TLS STATUS`.
pub(super) fn field_header(field: &str, columns: &[Column]) -> String {
    match columns.iter().find(|column| column.field == field) {
        Some(column) => column.header.to_owned(),
        None => spaced(field).to_uppercase(),
    }
}

struct Header<'a> {
    columns: &'a [Column],
    /// What dot stands for in the blocks around: the header of what they walk through.
    dots: Vec<String>,
    out: String,
}

impl Header<'_> {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipeline) if pipeline.variables.is_empty() => {
                    let header = self.pipeline(pipeline).unwrap_or_default();
                    self.out.push_str(&header);
                }
                Node::Branch(branch) => {
                    let scoped = branch.kind != BranchKind::If;
                    if scoped {
                        let dot = self.pipeline(&branch.pipeline).unwrap_or_default();
                        self.dots.push(dot);
                    }
                    self.nodes(&branch.body);
                    if scoped {
                        self.dots.pop();
                    }
                }
                Node::Action(_) | Node::Break | Node::Continue => (),
            }
        }
    }

    /// The header of the first field in the pipeline; a pipeline of nothing but a constant is its own header.
    fn pipeline(&self, pipeline: &Pipeline) -> Option<String> {
        let found = pipeline.commands.iter().find_map(|command| {
            command.operands.iter().enumerate().find_map(|(index, operand)| {
                self.operand(&operand.kind, command.operands.get(index + 1).map(|next| &next.kind))
            })
        });
        found.or_else(|| match pipeline.commands.as_slice() {
            [only] => match &only.operands.as_slice() {
                [constant] => literal(&constant.kind),
                _ => None,
            },
            _ => None,
        })
    }

    fn operand(&self, operand: &OperandKind, next: Option<&OperandKind>) -> Option<String> {
        match operand {
            OperandKind::Field(names) if names.is_empty() => self.dots.last().cloned(),
            OperandKind::Field(names) | OperandKind::Variable(_, names) if !names.is_empty() => {
                let looked_up = if names.len() == 1 { next.and_then(literal) } else { None };
                looked_up.map(|key| key_header(&key)).or_else(|| Some(field_header(names.last()?, self.columns)))
            }
            OperandKind::Variable(name, _) => Some(name.trim_start_matches('$').to_uppercase()),
            OperandKind::Nested(pipeline, names) => match names.last() {
                Some(name) => Some(field_header(name, self.columns)),
                None => self.pipeline(pipeline),
            },
            _ => None,
        }
    }
}

fn literal(operand: &OperandKind) -> Option<String> {
    match operand {
        OperandKind::Literal(value) => Some(display(value)),
        _ => None,
    }
}

/// Docker shows the last part of a label's key: `com.example.git-branch` becomes `git branch`.
fn key_header(key: &str) -> String {
    key.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ")
}

/// Puts a blank in front of each upper-case letter that begins a word.
fn spaced(field: &str) -> String {
    let letters: Vec<char> = field.chars().collect();
    let mut out = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let after_lower = index > 0 && letters[index - 1].is_lowercase();
        let before_lower = index > 0 && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_lower || before_lower) {
            out.push(' ');
        }
        out.push(*letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[Column { header: "ID", field: "ID" }, Column { header: "CONTAINER ID", field: "Container" }];

    #[test]
    fn headers_come_from_columns_or_from_the_name() {
        let cases = [
            ("{{.ID}}\t{{.Container}}", "ID\tCONTAINER ID"),
            ("{{.TLSStatus}}\t{{.CreatedAt}}\t{{.IPAddress}}", "TLS STATUS\tCREATED AT\tIP ADDRESS"),
            ("{{.ID | upper}}", "ID"),
            ("{{printf \"%.5s\" .Container}}", "CONTAINER ID"),
            ("{{json .ID}}", "ID"),
            ("{{.Label \"com.example.git-branch\"}}", "git branch"),
            ("{{if .Self}}{{.ID}} *{{else}}{{.ID}}{{end}}", "ID *"),
            ("{{range .Ports}}{{.}}{{end}}", "PORTS"),
            ("{{with $x := .ID}}{{$x}}{{end}}", "X"),
            ("{{\"fixed\"}}\t{{(index .Ports 0).Host}}", "fixed\tHOST"),
            ("{{$x := .ID}}{{.Spec.Name}}", "NAME"),
        ];
        for (source, header) in cases {
            let template = Template::parse_with_escapes(source).unwrap();
            assert_eq!(header_line(&template, COLUMNS), header, "{source}");
        }
    }
}
