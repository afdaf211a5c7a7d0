//! The flags that all listings share, and those that all inspections share.

use clap::Args;
use serde_json::Value;
use tonic::{Status, Streaming};

use super::error;
use super::format::error::FormatError;
use super::format::filter::Filters;
use super::format::inspect::{InspectFormat, render};
use super::format::table::{Format, Listing};
use super::output::print;

/// How a listing is shown.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ListFlags {
    /// Format the output: 'table', 'table TEMPLATE', 'json' or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only show ids
    #[arg(short, long)]
    quiet: bool,
    /// Only show what fits, as in name=web; may be repeated
    #[arg(short, long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<String>,
}

impl ListFlags {
    /// The filters, of which the command knows the names `known`.
    ///
    /// # Errors
    /// For a filter that the command does not know.
    pub(crate) fn filters(&self, known: &[&str]) -> Result<Filters, FormatError> {
        Filters::parse(&self.filters, known)
    }

    /// Whether the rows go into the table of the default columns, where a cell may hold a mark for people.
    pub(crate) fn is_table(&self) -> bool {
        !self.quiet && matches!(Format::parse(self.format.as_deref()), Ok(Format::Table))
    }

    /// Prints the listing.
    ///
    /// # Errors
    /// When the format does not fit the rows, or the output cannot be written.
    pub(crate) fn show(&self, listing: &Listing) -> anyhow::Result<()> {
        print(&listing.render(&Format::parse(self.format.as_deref())?, self.quiet)?)
    }
}

/// How an inspection is shown.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct InspectFlags {
    /// Format the output: 'json' or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl InspectFlags {
    /// Prints what was found, then fails with what was not.
    ///
    /// # Errors
    /// The errors of the others, or when the template does not fit.
    pub(crate) fn show(&self, found: Vec<anyhow::Result<Value>>) -> anyhow::Result<()> {
        let format = InspectFormat::parse(self.format.as_deref())?;
        let (objects, errors) = error::parted(found);
        // Templates need every field; whoever reads the JSON wants what Docker shows, which leaves empty ones out.
        let objects = match format {
            InspectFormat::Each(_) => objects,
            _ => objects.into_iter().map(without_nulls).collect(),
        };
        print(&render(&objects, &format)?)?;
        error::all(errors)
    }
}

/// How an inspection is shown that has a form for people, too.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PrettyFlags {
    #[command(flatten)]
    inspect: InspectFlags,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
}

impl PrettyFlags {
    /// To be asked before anything is looked for.
    ///
    /// # Errors
    /// When both forms were asked for.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.pretty && self.inspect.format.is_some() {
            return Err(error::usage("failed to inspect: --format and --pretty exclude each other"));
        }
        Ok(())
    }

    /// Prints what was found, for people as `page` has it, then fails with what was not.
    ///
    /// # Errors
    /// As [`InspectFlags::show`].
    pub(crate) fn show(&self, found: Vec<anyhow::Result<Value>>, page: fn(&Value) -> String) -> anyhow::Result<()> {
        if !self.pretty {
            return self.inspect.show(found);
        }
        let (objects, errors) = error::parted(found);
        print(&objects.iter().map(page).collect::<Vec<_>>().join("\n"))?;
        error::all(errors)
    }
}

/// The value without the fields that are null, at any depth.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, field)| !field.is_null());
            Value::Object(kept.map(|(name, field)| (name, without_nulls(field))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Reads a stream of entries to its end.
///
/// # Errors
/// As the daemon ended it.
pub(crate) async fn collect<T>(mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut all = Vec::new();
    while let Some(entry) = stream.message().await? {
        all.push(entry);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_are_left_out_of_json() {
        let full = json!({"A": null, "B": {"C": null, "D": 1}, "E": [{"F": null}], "G": []});
        assert_eq!(without_nulls(full), json!({"B": {"D": 1}, "E": [{}], "G": []}));
    }
}
