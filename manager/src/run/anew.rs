//! How a manager that lost the others goes on by itself.

use skep_proto::model::ManagerStatus;

use super::error::ManagerError;
use super::manager::{Manager, ManagerConfig};
use crate::membership::anew;
use crate::raft::{self, Heritage, Home, RaftError};
use crate::sys;

impl Manager {
    /// Makes this machine the only manager of its cluster, from what lies in the state directory; [`Manager::open`] takes it up then.
    /// To be called while no manager runs on the directory. Objects, tokens and keys stay as they are.
    ///
    /// # Errors
    /// When the state cannot be read or written, or does not know this node; nothing has changed then.
    pub async fn make_alone(config: &ManagerConfig) -> Result<(), ManagerError> {
        let home = Home { dir: config.state_dir.clone(), node_key: config.node_key.clone() };
        let (node, address) = (config.identity.node, config.advertise.clone());
        let making = move || {
            let first = |state: &_, raft_id| anew::alone(state, node, &ManagerStatus { raft_id, address }, sys::now());
            Heritage::read(&home)?.begin(&home, first)
        };
        off_the_loop(making).await
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
