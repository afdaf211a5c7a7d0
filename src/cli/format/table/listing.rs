//! A listing, and the four ways to print it.

use super::header::header_line;
use super::tabs::{align, align_text};
use crate::cli::format::error::FormatError;
use crate::cli::format::template::{Row, Template, display};
use serde_json::Value;

/// A column of the default table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Column {
    /// What stands above it, in upper case.
    pub(crate) header: &'static str,
    /// The field of the row that it shows.
    pub(crate) field: &'static str,
}

/// What the user asked for with `--format`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// The default columns: no `--format`, or `table`.
    Table,
    /// `table TEMPLATE`: tabs in the template part the columns.
    TableOf(Template),
    /// `json`: an object per line.
    Json,
    /// A template per row.
    Each(Template),
}

impl Format {
    /// Reads the value of `--format`; `None` and the empty text mean the default table.
    ///
    /// # Errors
    /// [`FormatError::ReadTemplate`] for a template that is not well formed.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, FormatError> {
        let text = text.unwrap_or_default().trim_matches(' ');
        match text.strip_prefix("table") {
            _ if text.is_empty() => Ok(Self::Table),
            _ if text == "json" => Ok(Self::Json),
            Some(rest) if rest.trim().is_empty() => Ok(Self::Table),
            Some(rest) => Ok(Self::TableOf(Template::parse_with_escapes(rest.trim_matches(' '))?)),
            None => Ok(Self::Each(Template::parse_with_escapes(text)?)),
        }
    }
}

/// Rows that are ready to be shown, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listing {
    /// The columns of the default table; their headers also serve `table TEMPLATE`.
    pub(crate) columns: &'static [Column],
    /// The rows. Every row has the same fields, more than the columns show.
    pub(crate) rows: Vec<Row>,
    /// The field that `-q` prints.
    pub(crate) id_field: &'static str,
}

impl Listing {
    /// The text for `format`. As in Docker, `quiet` counts only for the default table: a format says what to print.
    ///
    /// # Errors
    /// [`FormatError::Evaluate`] when a template asks for a field that the rows do not have.
    pub(crate) fn render(&self, format: &Format, quiet: bool) -> Result<String, FormatError> {
        match format {
            Format::Table if quiet => Ok(self.ids()),
            Format::Table => Ok(self.table()),
            Format::Json => Ok(self.rows.iter().map(|row| format!("{}\n", row.fields)).collect()),
            Format::Each(template) => self.each(template),
            Format::TableOf(template) => {
                let header = header_line(template, self.columns);
                Ok(align_text(&format!("{header}\n{}", self.each(template)?)))
            }
        }
    }

    fn ids(&self) -> String {
        self.rows.iter().map(|row| cell(row, self.id_field) + "\n").collect()
    }

    fn table(&self) -> String {
        let header = self.columns.iter().map(|column| column.header.to_owned()).collect();
        let row = |row: &Row| self.columns.iter().map(|column| cell(row, column.field)).collect();
        let lines: Vec<Vec<String>> = std::iter::once(header).chain(self.rows.iter().map(row)).collect();
        align(&lines)
    }

    fn each(&self, template: &Template) -> Result<String, FormatError> {
        let mut out = String::new();
        for row in &self.rows {
            out.push_str(&template.render(row)?);
            out.push('\n');
        }
        Ok(out)
    }
}

/// The text of a field on one line; nothing for an empty one.
fn cell(row: &Row, field: &str) -> String {
    match row.fields.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(value) => display(value).replace(['\n', '\r', '\t'], " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[Column] = &[
        Column { header: "ID", field: "ID" },
        Column { header: "NAME", field: "Name" },
        Column { header: "REPLICAS", field: "Replicas" },
        Column { header: "PORTS", field: "Ports" },
    ];

    fn services() -> Listing {
        let rows = vec![
            Row::new(json!({"ID": "bnj2ap2i3evb", "Name": "web", "Replicas": "3/3", "Ports": "*:80->80/tcp", "Labels": "a=1"}))
                .with_lookup("Label", json!({"a": "1"})),
            Row::new(json!({"ID": "ttkqm9wzthgu", "Name": "a-longer-name", "Replicas": "0/1", "Ports": null, "Labels": ""}))
                .with_lookup("Label", json!({})),
        ];
        Listing { columns: COLUMNS, rows, id_field: "ID" }
    }

    fn shown(format: &str, quiet: bool) -> String {
        services().render(&Format::parse(Some(format)).unwrap(), quiet).unwrap()
    }

    #[test]
    fn the_default_table_is_dockers() {
        let table = "ID             NAME            REPLICAS   PORTS\n\
                     bnj2ap2i3evb   web             3/3        *:80->80/tcp\n\
                     ttkqm9wzthgu   a-longer-name   0/1        \n";
        assert_eq!(shown("", false), table);
        assert_eq!(shown("table", false), table);
    }

    #[test]
    fn quiet_prints_ids_unless_a_format_says_otherwise() {
        assert_eq!(shown("table", true), "bnj2ap2i3evb\nttkqm9wzthgu\n");
        assert_eq!(shown("{{.Name}}", true), "web\na-longer-name\n");
    }

    #[test]
    fn a_table_of_a_template_has_a_header() {
        let table = "NAME            a         LABELS\nweb             1         a=1\na-longer-name             \n";
        assert_eq!(shown(r#"table {{.Name}}\t{{.Label "a"}}\t{{.Labels}}"#, false), table);
    }

    #[test]
    fn an_empty_table_is_its_header() {
        let empty = Listing { rows: Vec::new(), ..services() };
        assert_eq!(empty.render(&Format::Table, false), Ok("ID        NAME      REPLICAS   PORTS\n".to_owned()));
        assert_eq!(empty.render(&Format::Table, true), Ok(String::new()));
        assert_eq!(empty.render(&Format::parse(Some("table {{.ID}}")).unwrap(), false), Ok("ID\n".to_owned()));
    }

    #[test]
    fn json_is_an_object_per_line_without_lookups() {
        let line = r#"{"ID":"bnj2ap2i3evb","Labels":"a=1","Name":"web","Ports":"*:80->80/tcp","Replicas":"3/3"}"#;
        assert_eq!(shown("json", false).lines().next(), Some(line));
        assert_eq!(shown("{{json .}}", false).lines().next(), Some(line));
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let rows = vec![Row::new(json!({"ID": "x", "Name": "two\nlines\there", "Replicas": 3, "Ports": ""}))];
        let table = Listing { rows, ..services() }.render(&Format::Table, false).unwrap();
        assert_eq!(table.lines().nth(1), Some("x         two lines here   3          "));
    }
}
