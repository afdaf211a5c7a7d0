//! A join that is under way, written down so that a daemon or a machine that ends in its midst leaves nothing half done.
//!
//! Two files are there from before the first word to a manager until `swarm.json` is written. `DATA/join.json` says where the machine was
//! about to join, and holds the secret that this try is known by to the managers; it is worth nothing once the node has come.
//! `RUN/join-token` holds the token, which may be worth as much as the whole swarm: it lies where a machine keeps what it need not find
//! again after it was switched off, so that no disk ever sees it. With both the next start finishes the join whatever became of the first
//! request. With `join.json` alone it finishes a join that a manager had heard of, and forgets one that none had.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use skep_agent::identity::{self, IdentityError, client::JoinOrder};
use skep_proto::model::{Availability, JoinAttempt};
use tokio::time::timeout;

use super::{Membership, State};
use crate::daemon::disk::replace;
use crate::daemon::standing::Place;

/// How long taking a join back may take: whoever has typed `swarm join` waits for it. What is left then is removed by the managers.
const WITHDRAW_TIME_MAX: Duration = Duration::from_secs(5);

/// What the next start needs to know of a join.
#[derive(Debug, Serialize, Deserialize)]
struct JoinFile {
    format: u32,
    attempt: Vec<u8>,
    digest: String,
    manager: String,
    listen: String,
    advertise: String,
    availability: Lying,
}

/// The only format there is.
const FORMAT: u32 = 1;

/// Availability as it lies in the file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lying {
    Active,
    Pause,
    Drain,
}

/// Where the two files lie.
#[derive(Debug)]
pub(super) struct Notes {
    file: PathBuf,
    token: PathBuf,
}

impl Notes {
    pub(super) fn new(data_dir: &Path, run_dir: &Path) -> Self {
        Self { file: data_dir.join("join.json"), token: run_dir.join("join-token") }
    }

    /// Writes a join down; on return it is on disk.
    fn write(&self, place: &Place, order: &JoinOrder) -> anyhow::Result<()> {
        if let Some(token) = &order.token {
            let written = private(&self.token).and_then(|mut file| write!(file, "{token}"));
            written.with_context(|| format!("write {}", self.token.display()))?;
        }
        let file = JoinFile {
            format: FORMAT,
            attempt: order.attempt.to_bytes(),
            digest: order.digest.to_string(),
            manager: order.address.clone(),
            listen: place.listen.to_string(),
            advertise: place.advertise.clone(),
            availability: order.availability.into(),
        };
        let text = serde_json::to_vec_pretty(&file).context("write down the join")?;
        replace(&self.file, &text).with_context(|| format!("write {}", self.file.display()))
    }

    /// Reads what a daemon before this one was about to do.
    fn read(&self) -> anyhow::Result<Option<(Place, JoinOrder)>> {
        let Some(text) = read(&self.file)? else { return Ok(None) };
        let damaged = || {
            format!(
                "understand {}, which tells of a join that was cut short; use `skep swarm leave --force`",
                self.file.display()
            )
        };
        let file: JoinFile = serde_json::from_slice(&text).with_context(damaged)?;
        if file.format != FORMAT {
            bail!("understand {}: it was written by a newer skep (format {})", self.file.display(), file.format);
        }
        let token = read(&self.token)?.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
        let order = JoinOrder {
            address: file.manager,
            digest: file.digest.parse().with_context(damaged)?,
            token,
            description: skep_proto::model::NodeDescription::default(),
            availability: file.availability.into(),
            attempt: JoinAttempt::from_bytes(&file.attempt).with_context(damaged)?,
        };
        Ok(Some((Place { listen: file.listen.parse().with_context(damaged)?, advertise: file.advertise }, order)))
    }

    /// The join is done, or nothing is left of it.
    pub(super) fn forget(&self) -> anyhow::Result<()> {
        // The one that says that there is a join goes first; the token of none is looked for by nobody.
        remove(&self.file)?;
        wipe(&self.token).with_context(|| format!("wipe {}", self.token.display()))?;
        remove(&self.token)
    }
}

impl Membership {
    fn notes(&self) -> Notes {
        Notes::new(&self.setting.data_dir, &self.setting.run_dir)
    }

    /// From here on a start finishes it.
    pub(super) fn begin(&self, place: &Place, order: &JoinOrder) -> anyhow::Result<()> {
        self.notes().write(place, order)
    }

    /// The machine is part of the swarm, or of none.
    pub(super) fn end_join(&self) -> anyhow::Result<()> {
        self.notes().forget()
    }

    /// Finishes a join in the midst of which the daemon ended. One that came to nothing leaves nothing behind.
    pub(super) async fn finish_join(&self) -> anyhow::Result<State> {
        let Some((place, order)) = self.notes().read()? else { return Ok(State::Inactive) };
        let order = JoinOrder { description: self.description().await?, ..order };
        tracing::info!(manager = order.address, "a join was cut short; this node finishes it");
        self.clear_identity().await?;
        match self.enter(&place, &order).await {
            Ok((identity, state)) => {
                tracing::info!(node.id = %identity.node, "the join that was cut short is finished");
                Ok(state)
            }
            Err(error) if is_settled(&error) => {
                tracing::error!(error = %format!("{error:#}"), "the join that was cut short comes to nothing; this node is part of no swarm");
                self.clear_remains().await?;
                Ok(State::Inactive)
            }
            Err(error) => Err(error.context(
                "finish the join that was cut short; it goes on trying, and another `skep swarm join` takes its place",
            )),
        }
    }

    /// A join that nobody has finished yet makes room for another one.
    pub(super) async fn supersede(&self, state: &mut State) -> anyhow::Result<()> {
        if matches!(state, State::Failed(_)) && self.give_up().await {
            self.clear_remains().await?;
            *state = State::Inactive;
        }
        Ok(())
    }

    /// Takes a join back that nobody has finished; whether there was one.
    pub(super) async fn give_up(&self) -> bool {
        let Some((_, order)) = self.notes().read().ok().flatten() else { return false };
        self.withdraw(&order).await;
        true
    }

    /// Takes back what a join that failed may have made.
    pub(super) async fn take_back(&self, order: &JoinOrder, error: &anyhow::Error) {
        let asked = error.downcast_ref::<IdentityError>().is_none_or(|error| !error.is_before_asking());
        if asked {
            self.withdraw(order).await;
        }
    }

    async fn withdraw(&self, order: &JoinOrder) {
        let why = match timeout(WITHDRAW_TIME_MAX, identity::client::withdraw(order)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => skep_proto::chain::chain(&error).to_string(),
            Err(_) => format!("no manager has answered within {} s", WITHDRAW_TIME_MAX.as_secs()),
        };
        tracing::warn!(
            why,
            "the join could not be taken back; what it may have left among the nodes is removed after an hour"
        );
    }
}

fn is_settled(error: &anyhow::Error) -> bool {
    error.downcast_ref::<IdentityError>().is_some_and(IdentityError::is_settled)
}

fn private(path: &Path) -> std::io::Result<fs::File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Writes zeros over it, in case the run directory lies on a disk after all.
fn wipe(path: &Path) -> std::io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

impl From<Availability> for Lying {
    fn from(availability: Availability) -> Self {
        match availability {
            Availability::Active => Self::Active,
            Availability::Pause => Self::Pause,
            Availability::Drain => Self::Drain,
        }
    }
}

impl From<Lying> for Availability {
    fn from(lying: Lying) -> Self {
        match lying {
            Lying::Active => Self::Active,
            Lying::Pause => Self::Pause,
            Lying::Drain => Self::Drain,
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{JoinToken, RootDigest, TokenSecret};

    use super::*;

    fn order() -> (Place, JoinOrder) {
        let token = JoinToken { digest: RootDigest::of_der(b"a root"), secret: TokenSecret::new(7) }.to_string();
        let order = JoinOrder::new("10.0.0.1:2377", &token).unwrap();
        let place = Place { listen: "0.0.0.0:2377".parse().unwrap(), advertise: "10.0.0.2".into() };
        (place, JoinOrder { availability: Availability::Drain, ..order })
    }

    #[test]
    fn a_join_is_read_back_as_it_was_and_without_its_token_after_a_loss_of_power() {
        let (data, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let notes = Notes::new(data.path(), run.path());
        assert!(notes.read().unwrap().is_none());
        let (place, order) = order();
        notes.write(&place, &order).unwrap();
        let on_disk = fs::read_to_string(data.path().join("join.json")).unwrap();
        let token = order.token.unwrap().to_string();
        assert!(!on_disk.contains(token.rsplit_once('-').unwrap().1), "the secret of the token is on no disk");
        for with_token in [true, false] {
            let (there, read) = notes.read().unwrap().unwrap();
            assert_eq!((there.listen, there.advertise), (place.listen, place.advertise.clone()));
            assert_eq!((read.address, read.digest), (order.address.clone(), order.digest));
            assert_eq!((read.availability, read.attempt), (order.availability, order.attempt));
            assert_eq!(read.token.map(|token| token.to_string()), with_token.then(|| token.clone()));
            fs::remove_file(run.path().join("join-token")).ok();
        }
    }

    #[test]
    fn what_is_forgotten_is_gone_from_its_blocks() {
        let (data, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let notes = Notes::new(data.path(), run.path());
        let (place, order) = order();
        notes.write(&place, &order).unwrap();
        fs::hard_link(run.path().join("join-token"), run.path().join("link")).unwrap();
        notes.forget().unwrap();
        notes.forget().unwrap();
        assert!(notes.read().unwrap().is_none() && !run.path().join("join-token").exists());
        assert!(fs::read(run.path().join("link")).unwrap().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn damage_says_the_way_out() {
        let (data, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let notes = Notes::new(data.path(), run.path());
        fs::write(data.path().join("join.json"), "{").unwrap();
        assert!(notes.read().unwrap_err().to_string().contains("leave --force"));
    }
}
