//! Specs beyond their form: what could never run, or not as its author thinks, is refused when it is written, with the reason.

mod container;
mod image;
mod invalid;
mod resources;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use skep_proto::model::moment::millis;
use skep_proto::model::{
    Constraint, MinAvailable, Mode, NodeSpec, Placement, PortConfig, PublishMode, RestartPolicy, ServiceSpec, TaskSpec,
};

pub use invalid::Invalid;

use container::container;
use resources::{resources, within};

/// Ports of one service; each costs every node a rule.
const PORTS_MAX: usize = 1_024;
/// Bytes of all texts of one spec. It travels in one Raft entry and once to every node that runs it.
const TEXT_BYTES_MAX: usize = 500 * 1024;
/// Constraints and spread preferences: each is looked at for each node.
const PLACEMENT_MAX: usize = 64;

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
    if spec.task.is_single_writer() && spec.update.start_first {
        return Err(Invalid::StartFirst);
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
    part.constraints.iter().try_for_each(constraint)?;
    part.spread.iter().try_for_each(|key| spread(key))
}

fn constraint(part: &Constraint) -> Result<(), Invalid> {
    let operator = if part.equal { "==" } else { "!=" };
    let text = || format!("{}{operator}{}", part.key, part.value);
    let refuse = |rule| Err(Invalid::Constraint { text: text(), rule });
    if !part.is_known() {
        return refuse(
            "the key must be node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, \
             node.labels.<name> or engine.labels.<name>",
        );
    }
    let value = part.value.trim();
    match part.key.as_str() {
        _ if value.is_empty() => refuse("it needs a value"),
        "node.role" if !["worker", "manager"].iter().any(|role| value.eq_ignore_ascii_case(role)) => {
            refuse("the role of a node is worker or manager")
        }
        "node.ip" if !is_address_or_network(value) => refuse("give an IP address or a network, as in 10.0.0.0/24"),
        _ => Ok(()),
    }
}

fn is_address_or_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
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
