//! Specs beyond their form: what could never run, or not as its author thinks, is refused when it is written, with the reason.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_proto::model::moment::millis;
use skep_proto::model::{
    ContainerSpec, MinAvailable, Mode, NodeSpec, Placement, PortConfig, PublishMode, Resources, RestartPolicy,
    ServiceSpec, TaskSpec,
};

/// A thousandth of a CPU: the least that the kernel's scheduler can keep to.
const NANO_CPUS_MIN: u64 = 1_000_000;
/// A million CPUs: more is a typing error, and sums of reservations stay far from overflow.
const NANO_CPUS_MAX: u64 = 1_000_000 * 1_000_000_000;
/// Docker's least memory: below it not even a shell starts.
const MEMORY_MIN: u64 = 4 << 20;
/// A pebibyte: more is a typing error, and sums stay far from overflow.
const MEMORY_MAX: u64 = 1 << 50;
/// What the kernel can count.
const PIDS_MAX: u64 = 4_194_304;
/// Longest image reference; registries stop at 255 characters of name, a digest takes 71.
const IMAGE_LEN_MAX: usize = 512;
/// Ports of one service; each costs every node a rule.
const PORTS_MAX: usize = 1_024;
/// Bytes of all texts of one spec. It travels in one Raft entry and once to every node that runs it.
const TEXT_BYTES_MAX: usize = 500 * 1024;
/// Constraints and spread preferences: each is looked at for each node.
const PLACEMENT_MAX: usize = 64;

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
        /// What was given.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// More is reserved than may be used.
    #[error("reserve {reserved} of {what} with a limit of {limit}: a task cannot be promised more than it may use")]
    OverLimit {
        /// Which resource.
        what: &'static str,
        /// Reserved.
        reserved: u64,
        /// Limit.
        limit: u64,
    },
    /// A variable without a name, or a text that no process can be given.
    #[error("use {text:?} in the environment: {rule}")]
    Env {
        /// What was given.
        text: String,
        /// What is wrong.
        rule: &'static str,
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
        "limit restarts to {attempts} within {window_ms} ms with a delay of {delay_ms} ms: {attempts} restarts take longer than \
         the window, so the limit could never be reached; use a window of more than {least_ms} ms"
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

/// Checks a service spec.
///
/// # Errors
/// The first thing that is wrong.
pub fn service(spec: &ServiceSpec) -> Result<(), Invalid> {
    labels(spec.labels.keys())?;
    task(&spec.task)?;
    ports(&spec.ports)?;
    if spec.mode == Mode::Global && spec.min_available != MinAvailable::default() {
        return Err(Invalid::GlobalMinimum);
    }
    host_ports(spec)?;
    size(spec)
}

/// Checks what a user wants of a node.
///
/// # Errors
/// The first thing that is wrong.
pub fn node(spec: &NodeSpec) -> Result<(), Invalid> {
    labels(spec.labels.keys())
}

fn labels<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<(), Invalid> {
    keys.try_for_each(|key| if key.is_empty() { Err(Invalid::Empty { what: "label key" }) } else { Ok(()) })
}

fn task(spec: &TaskSpec) -> Result<(), Invalid> {
    container(&spec.container)?;
    resources(&spec.limits)?;
    resources(&spec.reservations)?;
    within(&spec.reservations, &spec.limits)?;
    restart(&spec.restart)?;
    placement(&spec.placement)
}

fn container(spec: &ContainerSpec) -> Result<(), Invalid> {
    image(&spec.image)?;
    labels(spec.labels.keys())?;
    spec.env.iter().try_for_each(|text| env(text))?;
    let words = spec.command.iter().chain(&spec.args).map(|text| ("the command", text));
    let single = [("the working directory", &spec.dir), ("the user", &spec.user), ("the hostname", &spec.hostname)];
    words.chain(single).try_for_each(|(field, text)| no_zero(field, text))
}

fn no_zero(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') { Err(Invalid::ZeroByte { field, text: text.to_owned() }) } else { Ok(()) }
}

fn env(text: &str) -> Result<(), Invalid> {
    let refuse = |rule| Err(Invalid::Env { text: text.to_owned(), rule });
    match text.split_once('=').map_or(text, |(name, _)| name) {
        "" => refuse("it needs a name before '='"),
        _ if text.contains('\0') => refuse("it holds a zero byte"),
        _ => Ok(()),
    }
}

/// The grammar of references: `[host[:port]/]path[:tag][@algorithm:hex]`, the path in lower case.
///
/// *Source*: the OCI distribution specification, "Pulling manifests".
fn image(image: &str) -> Result<(), Invalid> {
    let refuse = |rule| Err(Invalid::Image { image: image.to_owned(), rule });
    if image.is_empty() || image.len() > IMAGE_LEN_MAX {
        return refuse("an image reference has 1 to 512 characters");
    }
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return refuse("what follows '@' must be a digest such as sha256:<64 hexadecimal digits>");
    }
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[last..].rfind(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return refuse("a tag has 1 to 128 letters, digits, '_', '.' or '-' and begins with a letter, digit or '_'");
    }
    if is_path(path) {
        Ok(())
    } else {
        refuse("a name is in lower case: letters, digits, and single '.', '_', '-' within")
    }
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let hexadecimal = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    matches!((algorithm, hex.len()), ("sha256", 64) | ("sha512", 128)) && hexadecimal
}

fn is_tag(text: &str) -> bool {
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let inner = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    head && inner && text.len() <= 128
}

fn is_path(path: &str) -> bool {
    let (host, rest) = match path.split_once('/') {
        Some((first, rest)) if is_host(first) => (Some(first), rest),
        _ => (None, path),
    };
    let host = host.is_none_or(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)));
    host && rest.split('/').all(is_component)
}

/// The first part is a registry when it has a dot or a port, or is `localhost`.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_component(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    edge(text.bytes().next()) && edge(text.bytes().last()) && text.bytes().all(inner) && !text.contains("..")
}

fn resources(part: &Resources) -> Result<(), Invalid> {
    let cpu = "between 0.001 and 1000000 CPUs (1000000 and 10^15 billionths)";
    number("a CPU limit or reservation", part.nano_cpus, NANO_CPUS_MIN, NANO_CPUS_MAX, cpu)?;
    let memory = "between 4 MiB (4194304) and 1 PiB";
    number("a memory limit or reservation in bytes", part.memory_bytes, MEMORY_MIN, MEMORY_MAX, memory)?;
    number("a limit of processes", part.pids, 1, PIDS_MAX, "between 1 and 4194304")
}

/// Zero is "none" and always fine.
fn number(field: &'static str, value: u64, min: u64, max: u64, rule: &'static str) -> Result<(), Invalid> {
    if value == 0 || (min..=max).contains(&value) { Ok(()) } else { Err(Invalid::Number { field, value, rule }) }
}

fn within(reserved: &Resources, limit: &Resources) -> Result<(), Invalid> {
    let pairs = [
        ("CPU (in billionths)", reserved.nano_cpus, limit.nano_cpus),
        ("memory (in bytes)", reserved.memory_bytes, limit.memory_bytes),
    ];
    pairs.into_iter().try_for_each(|(what, reserved, limit)| {
        if limit != 0 && reserved > limit { Err(Invalid::OverLimit { what, reserved, limit }) } else { Ok(()) }
    })
}

/// A window counts only the restarts within it: when the delays alone fill it, it never holds enough of them.
fn restart(policy: &RestartPolicy) -> Result<(), Invalid> {
    let (Some(attempts), Some(window)) = (policy.max_attempts, policy.window) else { return Ok(()) };
    let least = policy.delay.saturating_mul(attempts);
    if least.is_zero() || window > least {
        return Ok(());
    }
    let [window_ms, delay_ms, least_ms] = [window, policy.delay, least].map(ms);
    Err(Invalid::RestartWindow { attempts, window_ms, delay_ms, least_ms })
}

fn ms(span: Duration) -> u64 {
    millis(span)
}

fn placement(part: &Placement) -> Result<(), Invalid> {
    let count = part.constraints.len() + part.spread.len();
    if count > PLACEMENT_MAX {
        return Err(Invalid::TooMany { what: "constraints and preferences", count, max: PLACEMENT_MAX });
    }
    for constraint in &part.constraints {
        let operator = if constraint.equal { "==" } else { "!=" };
        let text = || format!("{}{operator}{}", constraint.key, constraint.value);
        if !constraint.is_known() {
            let rule = "the key must be node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, \
                        node.labels.<name> or engine.labels.<name>";
            return Err(Invalid::Constraint { text: text(), rule });
        }
        if constraint.value.trim().is_empty() {
            return Err(Invalid::Constraint { text: text(), rule: "it needs a value" });
        }
    }
    part.spread.iter().try_for_each(|key| spread(key))
}

fn spread(key: &str) -> Result<(), Invalid> {
    let label = key.strip_prefix("node.labels.").or_else(|| key.strip_prefix("engine.labels."));
    if label.is_some_and(|name| !name.is_empty()) {
        return Ok(());
    }
    let rule = "tasks are spread over node.labels.<name> or engine.labels.<name>";
    Err(Invalid::Constraint { text: format!("spread={key}"), rule })
}

fn ports(ports: &[PortConfig]) -> Result<(), Invalid> {
    if ports.len() > PORTS_MAX {
        return Err(Invalid::TooMany { what: "ports", count: ports.len(), max: PORTS_MAX });
    }
    let mut taken = BTreeSet::new();
    for port in ports.iter().filter(|port| port.published != 0) {
        // Ingress answers on every node, so a host port of the same number would fight it wherever a task runs.
        if !taken.insert((port.protocol, port.published)) {
            return Err(Invalid::PortTwice { port: port.published });
        }
    }
    Ok(())
}

fn host_ports(spec: &ServiceSpec) -> Result<(), Invalid> {
    let host = spec.ports.iter().find(|port| port.mode == PublishMode::Host && port.published != 0);
    let Some(PortConfig { published: port, .. }) = host.copied() else { return Ok(()) };
    match (spec.mode, spec.task.placement.max_replicas_per_node) {
        (Mode::Replicated { replicas }, Some(per_node)) if per_node > 1 && replicas > 1 => {
            Err(Invalid::HostPort { port, replicas, per_node })
        }
        _ => Ok(()),
    }
}

fn size(spec: &ServiceSpec) -> Result<(), Invalid> {
    let container = &spec.task.container;
    let lists = [&container.env, &container.command, &container.args, &container.hosts, &container.cap_add];
    let texts = lists.into_iter().flatten().map(String::len);
    let labels = spec.labels.iter().chain(&container.labels).map(|(key, value)| key.len() + value.len());
    let count = texts.chain(labels).sum();
    if count > TEXT_BYTES_MAX {
        return Err(Invalid::TooMany { what: "bytes of text in one service", count, max: TEXT_BYTES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
