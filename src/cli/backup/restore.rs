//! `restore`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use prost::Message as _;
use skep_proto::pb;
use skep_proto::pb::swarm_restore_request::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::format::{FormatError, Header, Opener};
use super::key::{Secret, derive};
use crate::cli::connect::Daemon;
use crate::cli::json::id_text;
use crate::cli::node::AvailabilityWord;
use crate::cli::output::print;
use crate::cli::secret;
use crate::exit::Exit;

/// Parts between the file and the daemon.
const PARTS_MAX: usize = 4;

/// Flags of `restore`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreFlags {
    /// Decrypt with the text in this file, instead of asking for the recovery key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Advertised address: an IP or interface, perhaps with a port
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS")]
    advertise_addr: String,
    /// Listen address: an IP, perhaps with a port (default: 0.0.0.0:2377)
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS")]
    listen_addr: String,
    /// Availability of this node: with drain it takes none of the tasks that wait for workers
    #[arg(long, value_enum, default_value = "active")]
    availability: AvailabilityWord,
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Makes this machine the only manager of the swarm that the backup is of.
///
/// # Errors
/// When the file is none, damaged, or of another key, or the daemon is in a swarm already; nothing has changed then.
pub(crate) async fn run(daemon: &Daemon, flags: &RestoreFlags) -> anyhow::Result<Exit> {
    let reading = || format!("read the backup {}", flags.file.display());
    let mut file = BufReader::new(File::open(&flags.file).with_context(reading)?);
    let header = Header::read(&mut file).with_context(reading)?;
    let info = daemon.local().info(pb::InfoRequest {}).await?.into_inner();
    if info.swarm() != pb::SwarmState::Inactive {
        bail!(
            "restore a swarm here: this node is part of one already; use `skep swarm leave` first, or another machine"
        );
    }
    let secret = match &flags.key_file {
        Some(path) => Secret::from_file(path)?,
        None => {
            Secret::checked(&secret::ask("Recovery key: ", "recovery key").await?).context("use the recovery key")?
        }
    };
    let key = derive(&secret, &header.salt, header.rounds);
    let opener = Opener::begin(file, &header, &key).with_context(reading)?;
    let (out, parts) = mpsc::channel(PARTS_MAX);
    out.try_send(request(Part::Order(flags.order()))).context("begin to restore")?;
    let sending = tokio::task::spawn_blocking(move || send(opener, &out));
    let mut local = daemon.local();
    let answer = local.swarm_restore(ReceiverStream::new(parts)).await;
    // What is wrong with the file says more than that the daemon did not get all of it.
    sending.await.context("read the backup")?.with_context(reading)?;
    print(&restored(&answer?.into_inner()))?;
    Ok(Exit::Done)
}

/// Reads the file to its end. A daemon that has gone or refuses says so itself.
fn send(mut opener: Opener<BufReader<File>>, out: &mpsc::Sender<pb::SwarmRestoreRequest>) -> Result<(), FormatError> {
    // A part goes when what follows it was found good, so that the daemon never gets the last one of a file that is not.
    let mut found = None;
    while let Some(frame) = opener.next()? {
        let part = pb::BackupPart::decode(frame.as_slice()).map_err(|_| FormatError::Foreign)?;
        if let Some(before) = found.replace(part)
            && out.blocking_send(request(Part::Backup(before))).is_err()
        {
            return Ok(());
        }
    }
    let last = found.map(|last| out.blocking_send(request(Part::Backup(last))));
    drop(last);
    Ok(())
}

fn request(part: Part) -> pb::SwarmRestoreRequest {
    pb::SwarmRestoreRequest { part: Some(part) }
}

impl RestoreFlags {
    fn order(&self) -> pb::RestoreOrder {
        pb::RestoreOrder {
            listen_addr: self.listen_addr.clone(),
            advertise_addr: self.advertise_addr.clone(),
            availability: self.availability.wire().into(),
        }
    }
}

fn restored(reply: &pb::SwarmInitReply) -> String {
    let (node, address) = (id_text(&reply.node_id), &reply.advertise_addr);
    let others = match reply.left_behind.as_slice() {
        [] => String::new(),
        all => format!(
            "Managers of the backup: {}. One that comes back where it was, or meets a node of this swarm, joins it again; one that has moved \
             and meets none acts on what it has, so run 'skep swarm leave --force' there, or keep it off.\n\n",
            all.join(", ")
        ),
    };
    format!(
        "Swarm restored: this node ({node}), at {address}, is its only manager.\n\n{others}Nodes of the backup come back by themselves \
         if a manager that they know had this address. Otherwise run there:\n\n    skep swarm join --token {} {address}\n\nTo add a manager \
         to this swarm, run 'skep swarm join-token manager' and follow the instructions.\n\n",
        reply.worker_token
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_done_next_is_told_with_the_token() {
        let reply = pb::SwarmInitReply {
            worker_token: "TOKEN".into(),
            advertise_addr: "10.0.0.9:2377".into(),
            left_behind: vec!["m1".into()],
            ..Default::default()
        };
        let text = restored(&reply);
        for part in
            ["at 10.0.0.9:2377, is its only manager", "Managers of the backup: m1.", "--token TOKEN 10.0.0.9:2377"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
