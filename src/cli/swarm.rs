//! `skep swarm`: making a swarm, joining it, leaving it; [`token`]: who may join; [`ca`]: the root; [`lock`]: what unlocks
//! managers; [`update`]: what holds for all of it.

mod ca;
mod lock;
mod token;
mod update;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use skep_proto::model::moment::millis;
use skep_proto::pb;

use super::connect::Daemon;
use super::format::units::parse_duration;
use super::json::id_text;
use super::node::{AvailabilityWord, warn_of_two};
use super::output::print;
use crate::exit::Exit;

/// Manage the swarm
#[derive(Debug, Subcommand)]
pub(crate) enum SwarmCommand {
    /// Display and rotate the root CA
    Ca(ca::CaFlags),
    /// Initialize a swarm
    Init(InitFlags),
    /// Join a swarm as a node
    Join(JoinFlags),
    /// Manage join tokens
    JoinToken(token::JoinTokenFlags),
    /// Leave the swarm
    Leave(LeaveFlags),
    /// Unlock the manager on this machine
    Unlock(lock::UnlockFlags),
    /// Display and rotate the key that unlocks managers
    UnlockKey(lock::UnlockKeyFlags),
    /// Update the swarm
    Update(update::UpdateFlags),
}

/// Where the node listens, and what it says of itself.
#[derive(Args, Clone, Debug, Default)]
struct AddressFlags {
    /// Advertised address: an IP or interface, perhaps with a port
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS")]
    advertise_addr: String,
    /// Listen address: an IP, perhaps with a port (default: 0.0.0.0:2377)
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS")]
    listen_addr: String,
    /// Availability of the node
    #[arg(long, value_enum, default_value = "active")]
    availability: AvailabilityWord,
}

/// Flags of `swarm init`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InitFlags {
    #[command(flatten)]
    address: AddressFlags,
    /// Dispatcher heartbeat period (default: 1s)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    dispatcher_heartbeat: Option<Duration>,
    /// Task history retention limit (default: 5)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    task_history_limit: Option<i32>,
    /// Validity period for node certificates (default: 2160h)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    cert_expiry: Option<Duration>,
    /// How often the leader of the managers says that it lives; cannot be changed later (default: 100ms)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    raft_heartbeat: Option<Duration>,
    /// Silence after which another leader is elected, at least five heartbeats; cannot be changed later (default: 1s)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    raft_election: Option<Duration>,
    /// Have managers lock themselves: one that starts again waits for an unlock key
    #[arg(long)]
    autolock: bool,
    /// Go on as the only manager of the swarm that this node is a manager of, after the others were lost
    #[arg(
        long,
        conflicts_with_all = ["dispatcher_heartbeat", "task_history_limit", "cert_expiry", "availability", "autolock", "raft_heartbeat", "raft_election"]
    )]
    force_new_cluster: bool,
}

/// Flags of `swarm join`.
#[derive(Args, Clone, Debug)]
pub(crate) struct JoinFlags {
    /// Token for entry into the swarm
    #[arg(long)]
    token: String,
    #[command(flatten)]
    address: AddressFlags,
    /// A manager of the swarm
    #[arg(value_name = "HOST:PORT")]
    remote: String,
}

/// Flags of `swarm leave`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LeaveFlags {
    /// Force this node to leave the swarm, ignoring warnings
    #[arg(short, long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum RoleWord {
    Worker,
    Manager,
}

impl RoleWord {
    fn role(self) -> pb::NodeRole {
        match self {
            Self::Worker => pb::NodeRole::Worker,
            Self::Manager => pb::NodeRole::Manager,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) async fn run(daemon: &Daemon, command: SwarmCommand) -> anyhow::Result<Exit> {
    match command {
        SwarmCommand::Ca(flags) => ca::run(daemon, &flags).await?,
        SwarmCommand::Init(flags) => {
            let reply = daemon.local().swarm_init(flags.request()).await?.into_inner();
            print(&if flags.force_new_cluster { alone(&reply) } else { initialized(&reply) })?;
        }
        SwarmCommand::Join(flags) => {
            let reply = daemon.local().swarm_join(flags.request()).await?.into_inner();
            print(&joined(&reply))?;
            if reply.role() == pb::NodeRole::Manager && !reply.again {
                warn_of_two(daemon).await?;
            }
        }
        SwarmCommand::JoinToken(flags) => token::run(daemon, &flags).await?,
        SwarmCommand::Leave(flags) => {
            daemon.local().swarm_leave(pb::SwarmLeaveRequest { force: flags.force }).await?;
            print("Node left the swarm.\n")?;
        }
        SwarmCommand::Unlock(_) => lock::unlock(daemon).await?,
        SwarmCommand::UnlockKey(flags) => lock::unlock_key(daemon, &flags).await?,
        SwarmCommand::Update(flags) => update::run(daemon, &flags).await?,
    }
    Ok(Exit::Done)
}

impl InitFlags {
    fn request(&self) -> pb::SwarmInitRequest {
        pb::SwarmInitRequest {
            listen_addr: self.address.listen_addr.clone(),
            advertise_addr: self.address.advertise_addr.clone(),
            availability: self.address.availability.wire().into(),
            heartbeat_ms: self.dispatcher_heartbeat.map_or(0, millis),
            task_history_limit: self.task_history_limit.unwrap_or(0),
            has_task_history_limit: self.task_history_limit.is_some(),
            certificate_life_ms: self.cert_expiry.map_or(0, millis),
            autolock: self.autolock,
            raft_heartbeat_ms: self.raft_heartbeat.map_or(0, millis),
            raft_election_ms: self.raft_election.map_or(0, millis),
            force_new_cluster: self.force_new_cluster,
        }
    }
}

impl JoinFlags {
    fn request(&self) -> pb::SwarmJoinRequest {
        pb::SwarmJoinRequest {
            remote: self.remote.clone(),
            token: self.token.clone(),
            listen_addr: self.address.listen_addr.clone(),
            advertise_addr: self.address.advertise_addr.clone(),
            availability: self.address.availability.wire().into(),
        }
    }
}

fn initialized(reply: &pb::SwarmInitReply) -> String {
    let lock = if reply.unlock_key.is_empty() { String::new() } else { lock::how_to_unlock(&reply.unlock_key) + "\n" };
    format!(
        "Swarm initialized: current node ({}) is now a manager.\n\n{}To add a manager to this swarm, run 'skep swarm \
         join-token manager' and follow the instructions.\n\n{lock}",
        id_text(&reply.node_id),
        how_to_join(pb::NodeRole::Worker, &reply.worker_token, &reply.advertise_addr)
    )
}

fn joined(reply: &pb::SwarmJoinReply) -> String {
    match reply.again {
        true => "This node has found its swarm again; its tasks were not touched.\n".to_owned(),
        false => format!("This node joined a swarm as a {}.\n", role_word(reply.role())),
    }
}

/// What became of the others, and what to do about it.
fn alone(reply: &pb::SwarmInitReply) -> String {
    let node = id_text(&reply.node_id);
    let others = match reply.left_behind.as_slice() {
        [] => String::new(),
        all => format!(
            "Left behind: {}. One that comes back joins again by itself; remove one that is gone for good:\n\n    skep node demote NODE \
             && skep node rm --force NODE\n\n",
            all.join(", ")
        ),
    };
    format!(
        "This node ({node}) is now the only manager of its swarm.\n\n{others}To add a manager to this swarm, run 'skep swarm join-token \
         manager' and follow the instructions.\n\n"
    )
}

fn how_to_join(role: pb::NodeRole, token: &str, address: &str) -> String {
    format!(
        "To add a {} to this swarm, run the following command:\n\n    skep swarm join --token {token} {address}\n\n",
        role_word(role)
    )
}

fn role_word(role: pb::NodeRole) -> &'static str {
    super::json::node::role_word(role.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: SwarmCommand,
    }

    fn parsed(line: &str) -> SwarmCommand {
        Line::try_parse_from(["swarm"].into_iter().chain(line.split_whitespace())).unwrap().command
    }

    #[test]
    fn what_was_not_given_is_left_to_the_daemon() {
        let SwarmCommand::Init(flags) = parsed("init") else { panic!() };
        let wanted = pb::SwarmInitRequest { availability: pb::Availability::Active.into(), ..Default::default() };
        assert_eq!(flags.request(), wanted);
    }

    #[test]
    fn what_was_given_reaches_the_request() {
        let line = "init --advertise-addr eth0 --listen-addr 0.0.0.0:2378 --availability drain --dispatcher-heartbeat 2s \
                    --task-history-limit -1 --cert-expiry 1h --autolock --raft-heartbeat 50ms --raft-election 500ms";
        let SwarmCommand::Init(flags) = parsed(line) else { panic!() };
        let wanted = pb::SwarmInitRequest {
            listen_addr: "0.0.0.0:2378".into(),
            advertise_addr: "eth0".into(),
            availability: pb::Availability::Drain.into(),
            heartbeat_ms: 2_000,
            task_history_limit: -1,
            has_task_history_limit: true,
            certificate_life_ms: 3_600_000,
            autolock: true,
            raft_heartbeat_ms: 50,
            raft_election_ms: 500,
            force_new_cluster: false,
        };
        assert_eq!(flags.request(), wanted);
        let SwarmCommand::Join(flags) = parsed("join --token T 10.0.0.1:2377") else { panic!() };
        assert_eq!((flags.request().remote.as_str(), flags.request().token.as_str()), ("10.0.0.1:2377", "T"));
    }

    #[test]
    fn going_on_alone_takes_addresses_and_no_settings() {
        let SwarmCommand::Init(flags) = parsed("init --force-new-cluster --advertise-addr 10.0.0.9") else { panic!() };
        assert!(flags.request().force_new_cluster);
        for flag in ["--autolock", "--cert-expiry 2h", "--availability drain", "--task-history-limit 3"] {
            let line = format!("swarm init --force-new-cluster {flag}");
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{flag}");
        }
        let reply = pb::SwarmInitReply { left_behind: vec!["m2".into(), "m3".into()], ..Default::default() };
        assert!(alone(&reply).contains("Left behind: m2, m3."), "{}", alone(&reply));
    }

    #[test]
    fn the_text_of_init_is_dockers() {
        let reply = pb::SwarmInitReply {
            node_id: vec![0; 16],
            worker_token: "TOKEN".into(),
            advertise_addr: "10.98.0.3:2377".into(),
            unlock_key: String::new(),
            left_behind: Vec::new(),
        };
        let id = "0".repeat(25);
        let wanted = format!(
            "Swarm initialized: current node ({id}) is now a manager.\n\nTo add a worker to this swarm, run the following \
             command:\n\n    skep swarm join --token TOKEN 10.98.0.3:2377\n\nTo add a manager to this swarm, run 'skep \
             swarm join-token manager' and follow the instructions.\n\n"
        );
        assert_eq!(initialized(&reply), wanted);
        let locking = pb::SwarmInitReply { unlock_key: "SWMKEY-1-x".into(), ..reply };
        assert_eq!(initialized(&locking), format!("{wanted}{}\n", lock::how_to_unlock("SWMKEY-1-x")));
    }
}
