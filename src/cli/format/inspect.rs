//! What `inspect` prints: a JSON array, or a template per object.

use super::error::FormatError;
use super::template::{Row, Template};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// What the user asked for with `inspect --format`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InspectFormat {
    /// An array of all objects: no `--format`.
    Array,
    /// `json`: an object per line.
    Json,
    /// A template per object.
    Each(Template),
}

impl InspectFormat {
    /// Reads the value of `--format`. Unlike in a listing, `\n` in it stays as it is: Docker has it so.
    ///
    /// # Errors
    /// [`FormatError::ReadTemplate`] for a template that is not well formed.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, FormatError> {
        match text {
            None | Some("") => Ok(Self::Array),
            Some("json") => Ok(Self::Json),
            Some(template) => Ok(Self::Each(Template::parse(template)?)),
        }
    }
}

/// The text for `objects`, each of which carries all its fields, `null` when empty.
///
/// # Errors
/// [`FormatError::Evaluate`] when the template asks for what an object does not have.
pub(crate) fn render(objects: &[Value], format: &InspectFormat) -> Result<String, FormatError> {
    let mut out = String::new();
    match format {
        InspectFormat::Array => out.push_str(&indented(&Value::from(objects))),
        InspectFormat::Json => out.extend(objects.iter().map(|object| format!("{object}\n"))),
        InspectFormat::Each(template) => {
            for object in objects {
                out.push_str(&template.render(&Row::new(object.clone()))?);
                out.push('\n');
            }
        }
    }
    Ok(out)
}

/// JSON with Docker's indent of four blanks and a line break at its end.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).expect("a JSON value has text keys, and memory takes every write");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(format: Option<&str>) -> String {
        let objects = [
            json!({"ID": "a", "Spec": {"Name": "web", "Labels": {}, "Args": ["<x>"]}}),
            json!({"ID": "b", "Spec": null}),
        ];
        render(&objects, &InspectFormat::parse(format).unwrap()).unwrap()
    }

    #[test]
    fn the_default_is_an_array_indented_by_four() {
        let text = r#"[
    {
        "ID": "a",
        "Spec": {
            "Args": [
                "<x>"
            ],
            "Labels": {},
            "Name": "web"
        }
    },
    {
        "ID": "b",
        "Spec": null
    }
]
"#;
        assert_eq!(shown(None), text);
        assert_eq!(render(&[], &InspectFormat::Array), Ok("[]\n".to_owned()));
    }

    #[test]
    fn templates_and_json_print_a_line_per_object() {
        assert_eq!(shown(Some("{{.ID}}")), "a\nb\n");
        assert_eq!(shown(Some(r"{{.ID}}\n")), "a\\n\nb\\n\n");
        assert_eq!(shown(Some("{{json .Spec}}")).lines().last(), Some("null"));
        assert_eq!(shown(Some("json")).lines().last(), Some(r#"{"ID":"b","Spec":null}"#));
        assert_eq!(shown(Some("{{with .Spec}}{{.Name}}{{else}}-{{end}}")), "web\n-\n");
    }
}
