//! How a manager that lost the others goes on by itself, and how a machine takes a cluster from a backup.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use skep_proto::model::{Availability, Era, ManagerStatus, NodeDescription};
use skep_proto::seal::NodeKey;
use tokio::time::{Instant, sleep};

use super::error::ManagerError;
use super::manager::{Manager, ManagerConfig};
use crate::ca::{NodeIdentity, draw_manager};
use crate::membership::anew;
use crate::raft::{self, Heritage, Home, RaftError};
use crate::store::State;
use crate::sys;

/// How long the directory of a manager that was just closed may be in use yet: by a snapshot that it was sending, say.
const LOCK_TIME_MAX: Duration = Duration::from_secs(5);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// The machine that takes a cluster from a backup.
#[derive(Clone, Debug)]
pub struct NewSeat {
    /// Where the state is to lie; nothing may be there.
    pub state_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// HOST:PORT that others reach this machine at.
    pub advertise: String,
    /// Whether tasks may run on this machine.
    pub availability: Availability,
    /// This machine.
    pub description: NodeDescription,
    /// What this node's keys lie under by now.
    pub node_key: Option<NodeKey>,
}

impl Manager {
    /// Makes this machine, which was no node of it, the only manager of the cluster whose state this is. Also returns what the machine
    /// proves itself with; it is on no disk yet. On an error the state directory is to be removed before the next attempt.
    ///
    /// # Errors
    /// When the state is none of a cluster, or the port, the disk or the keys refuse.
    pub async fn restore(seat: NewSeat, state: State) -> Result<(Self, NodeIdentity), ManagerError> {
        let NewSeat { state_dir, listen, advertise, availability, description, node_key } = seat;
        let cluster = state.cluster().ok_or(ManagerError::NoCluster)?;
        let drawn = draw_manager(cluster, description, availability);
        let (identity, node) = drawn.map_err(ManagerError::Keys)?;
        let home = Home { dir: state_dir.clone(), node_key: node_key.clone() };
        let address = advertise.clone();
        let making = move || {
            let seat = |raft_id| ManagerStatus { raft_id, address };
            let first = |state: &_, raft_id| anew::restored(state, &node, &seat(raft_id), sys::now());
            Heritage::of(state, 0).begin(&home, first)
        };
        off_the_loop(making).await?;
        let (managers, identity_of, era) = (Vec::new(), identity.clone(), Era::default());
        let config = ManagerConfig { state_dir, identity: identity_of, listen, advertise, managers, node_key, era };
        Ok((Self::open(config).await?, identity))
    }

    /// Makes this machine the only manager of its cluster, from what lies in the state directory; [`Manager::open`] takes it up then.
    /// To be called while no manager runs on the directory. Objects, tokens and keys stay as they are.
    ///
    /// # Errors
    /// When the state cannot be read or written, or does not know this node; nothing has changed then.
    pub async fn make_alone(config: &ManagerConfig) -> Result<(), ManagerError> {
        let home = Home { dir: config.state_dir.clone(), node_key: config.node_key.clone() };
        let (node, address) = (config.identity.node, config.advertise.clone());
        let deadline = Instant::now() + LOCK_TIME_MAX;
        loop {
            let (home, address) = (home.clone(), address.clone());
            let making = move || {
                let seat = |raft_id| ManagerStatus { raft_id, address };
                let first = |state: &_, raft_id| anew::alone(state, node, &seat(raft_id), sys::now());
                Heritage::read(&home)?.begin(&home, first)
            };
            match off_the_loop(making).await {
                Err(ManagerError::Raft(RaftError::Locked { .. })) if Instant::now() < deadline => sleep(LOOK).await,
                done => return done,
            }
        }
    }

    /// Puts the state of a manager aside that belongs to an earlier era: it is of no use any more but to a person who looks for what is
    /// lost. To be called while no manager runs on the directory.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn put_aside(config: &ManagerConfig) -> Result<(), ManagerError> {
        let dir = config.state_dir.clone();
        off_the_loop(move || raft::put_aside(&dir)).await
    }
}

/// Reading and writing a large state takes seconds.
async fn off_the_loop(work: impl FnOnce() -> Result<(), RaftError> + Send + 'static) -> Result<(), ManagerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it returns its errors").map_err(ManagerError::Raft)
}
