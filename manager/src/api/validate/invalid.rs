//! What can be wrong with a spec.

/// Why a spec was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No image, or no reference of one.
    #[error("use {image:?} as an image: {rule}")]
    Image {
        /// What was given.
        image: String,
        /// What is wrong.
        rule: &'static str,
    },
    /// A number out of its range.
    #[error("use {value} as {field}: it must be {rule}")]
    Number {
        /// In the user's words.
        field: &'static str,
        /// What was given, with its unit.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// More is reserved than may be used.
    #[error("reserve {reserved} with a limit of {limit}: a task cannot be promised more than it may use")]
    OverLimit {
        /// Reserved, with its unit.
        reserved: String,
        /// Limit, with its unit.
        limit: String,
    },
    /// A variable without a name, or a text that no process can be given.
    #[error("use {text:?} in the environment: {rule}")]
    Env {
        /// What was given.
        text: String,
        /// What is wrong.
        rule: &'static str,
    },
    /// A text that cannot be what it stands for.
    #[error("use {text:?} as {field}: {rule}")]
    Text {
        /// In the user's words.
        field: &'static str,
        /// What was given.
        text: String,
        /// What is wrong.
        rule: &'static str,
    },
    /// A placeholder that means nothing.
    #[error(
        "expand {text:?}: known placeholders are {{{{.Service.ID}}}}, .Service.Name, .Service.Labels.NAME, .Node.ID, \
         .Node.Hostname, .Task.ID, .Task.Name and .Task.Slot, and each ends with }}}}"
    )]
    Template {
        /// The whole text.
        text: String,
    },
    /// A text that holds a zero byte.
    #[error("use {text:?} in {field}: it holds a zero byte, which no program can be given")]
    ZeroByte {
        /// Where.
        field: &'static str,
        /// What was given.
        text: String,
    },
    /// A constraint that no node could satisfy.
    #[error("use the constraint {text:?}: {rule}")]
    Constraint {
        /// What was given.
        text: String,
        /// What is wrong.
        rule: &'static str,
    },
    /// A port named twice.
    #[error("publish port {port} twice: each published port leads to one port of the container")]
    PortTwice {
        /// The published port.
        port: u16,
    },
    /// More host ports than tasks could share a node.
    #[error(
        "publish port {port} in host mode with {replicas} replicas at most {per_node} on a node: \
         the port can be taken once on a node; use max-replicas-per-node 1 or mode ingress"
    )]
    HostPort {
        /// The published port.
        port: u16,
        /// Replicas.
        replicas: u32,
        /// Wanted on one node.
        per_node: u32,
    },
    /// A limit that the counting window always forgets.
    #[error(
        "limit restarts to {attempts} within {} with a delay of {}: {attempts} restarts take longer than the window, so the \
         limit could never be reached; use a window of more than {}",
        span(*window_ms), span(*delay_ms), span(*least_ms)
    )]
    RestartWindow {
        /// The limit.
        attempts: u32,
        /// The window.
        window_ms: u64,
        /// Between two.
        delay_ms: u64,
        /// What it takes.
        least_ms: u64,
    },
    /// Two tasks at once of which no two may run.
    #[error(
        "start the new task first in an update: with --on-disconnect stop-after no two tasks of the service may run at the same time; \
         use --update-order stop-first"
    )]
    StartFirst,
    /// A number of tasks for a service that has one on each node.
    #[error(
        "keep tasks of a global service available: it has one task on each node, and a drained node gets none; --min-available is \
         for replicated services"
    )]
    GlobalMinimum,
    /// Too many of something.
    #[error("use {count} {what}: at most {max} are supported")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Given.
        count: usize,
        /// Allowed.
        max: usize,
    },
    /// A key without text.
    #[error("use an empty {what}")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
}

/// As a user would write it.
fn span(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}
