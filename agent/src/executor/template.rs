//! Docker's placeholders in environments and hostnames, as in `{{.Task.Slot}}`.

use crate::order::TaskOrder;

/// A placeholder that means nothing. The task is refused, since a user who wrote one expects it to be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No such name.
    #[error(
        "expand {{{{{name}}}}}: known are .Service.ID, .Service.Name, .Service.Labels.NAME, .Node.ID, .Node.Hostname, \
         .Task.ID, .Task.Name and .Task.Slot"
    )]
    Unknown {
        /// What stands between the braces.
        name: String,
    },
    /// Braces that are opened and not closed.
    #[error("expand {text:?}: a {{{{ is not closed")]
    Open {
        /// The whole text.
        text: String,
    },
}

/// Fills in every placeholder of `text`.
///
/// # Errors
/// When one is unknown or not closed.
pub fn expand(text: &str, order: &TaskOrder, hostname: &str) -> Result<String, TemplateError> {
    let mut parts = text.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let open = || TemplateError::Open { text: text.to_owned() };
        let (name, rest) = part.split_once("}}").ok_or_else(open)?;
        out.push_str(&value(name.trim(), order, hostname)?);
        out.push_str(rest);
    }
    Ok(out)
}

fn value(name: &str, order: &TaskOrder, hostname: &str) -> Result<String, TemplateError> {
    let template = &order.template;
    Ok(match name {
        ".Service.ID" => template.service.to_string(),
        ".Service.Name" => template.service_name.clone(),
        ".Node.ID" => order.node.to_string(),
        ".Node.Hostname" => hostname.to_owned(),
        ".Task.ID" => order.task.to_string(),
        ".Task.Name" => order.name(),
        ".Task.Slot" => order.slot_text(),
        _ => label(name, order)?,
    })
}

/// A label's value: `.Service.Labels.NAME`, or `index .Service.Labels "NAME"` for names with dots. A label that the service has not
/// is empty, as with Docker.
fn label(name: &str, order: &TaskOrder) -> Result<String, TemplateError> {
    let plain = name.strip_prefix(".Service.Labels.").filter(|key| !key.is_empty());
    let quoted = || name.strip_prefix("index .Service.Labels ")?.trim().strip_prefix('"')?.strip_suffix('"');
    let key = plain.or_else(quoted).ok_or_else(|| TemplateError::Unknown { name: name.to_owned() })?;
    Ok(order.template.service_labels.get(key).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executor::container::tests::order;

    #[test]
    fn every_placeholder_is_filled_in() {
        let order = order();
        let cases = [
            ("plain", "plain"),
            ("{{.Service.Name}}-{{.Task.Slot}}", "web-3"),
            ("{{ .Node.Hostname }}", "host"),
            ("{{.Service.Labels.tier}}/{{index .Service.Labels \"a.b\"}}", "gold/dotted"),
            ("{{.Service.Labels.none}}", ""),
            ("x}}y", "x}}y"),
        ];
        for (text, expanded) in cases {
            assert_eq!(expand(text, &order, "host").as_deref(), Ok(expanded), "{text}");
        }
        let ids = expand("{{.Service.ID}} {{.Node.ID}} {{.Task.ID}} {{.Task.Name}}", &order, "host").unwrap();
        let name = format!("web.3.{}", order.task);
        assert_eq!(ids, format!("{} {} {} {name}", order.template.service, order.node, order.task));
    }

    #[test]
    fn the_slot_of_a_global_task_is_its_node() {
        let order = TaskOrder { slot: 0, ..order() };
        assert_eq!(expand("{{.Task.Slot}}", &order, ""), Ok(order.node.to_string()));
    }

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let error = expand("{{.Task.Colour}}", &order(), "").unwrap_err();
        assert!(error.to_string().starts_with("expand {{.Task.Colour}}: known are .Service.ID"), "{error}");
        assert!(matches!(expand("a{{b", &order(), ""), Err(TemplateError::Open { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_expanded_or_refused_without_panic(text in "[{}. a-zA-Z\"]{0,60}") {
            let _ = expand(&text, &order(), "h");
        }
    }
}
