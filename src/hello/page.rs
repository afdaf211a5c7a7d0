//! The page, as text for `curl` and as HTML for a browser.

/// What the agent told the container about itself, and how often it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Name of the task, as in `hello.2.x1y2`.
    pub task: String,
    /// Its slot.
    pub slot: String,
    /// Hostname of its node.
    pub node: String,
    /// Requests that this task has answered, this one included.
    pub requests: u64,
}

/// One line a fact.
#[must_use]
pub(super) fn text(facts: &Facts) -> String {
    let Facts { task, slot, node, requests } = facts;
    format!("Hello from Skep!\n\ntask:     {task}\nslot:     {slot}\nnode:     {node}\nrequests: {requests}\n")
}

/// The same facts for a browser.
#[must_use]
pub(super) fn html(facts: &Facts) -> String {
    let row = |name: &str, value: &str| format!("<tr><th>{name}</th><td>{}</td></tr>", escape(value));
    let rows = [
        row("task", &facts.task),
        row("slot", &facts.slot),
        row("node", &facts.node),
        row("requests", &facts.requests.to_string()),
    ];
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Hello from Skep</title>\
         <style>body{{font:1.1rem system-ui;margin:4rem auto;max-width:40rem}}th{{text-align:left;padding-right:2rem}}</style>\
         <h1>Hello from Skep!</h1><table>{}</table><p>Reload: another task may answer.</p></html>\n",
        rows.concat()
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_task_slot_node_and_count() {
        let facts = Facts { task: "hello.2.<x>".into(), slot: "2".into(), node: "one".into(), requests: 7 };
        for part in ["hello.2.<x>", "slot:     2", "node:     one", "requests: 7"] {
            assert!(text(&facts).contains(part), "{part}");
        }
        assert!(html(&facts).contains("hello.2.&lt;x&gt;"));
        assert!(!html(&facts).contains("<x>"));
    }
}
