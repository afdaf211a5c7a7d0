//! The table of Control RPCs.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use skep_proto::model::{NodeId, ServiceId, TaskId};
use skep_proto::pb;
use skep_proto::pb::control_server::Control;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

use super::backup::BACKUPS_MAX;
use crate::api::ApiError;
use crate::caller::{Caller, Via};
use crate::group::Group;
use crate::reach::Reachability;
use crate::store::{Change, ProposeError, Refusal, State, Store, Transaction};
use crate::sys;

/// How often a change is computed anew. Each time somebody else's write went through; so many in a row mean that the caller had
/// better look again.
const TRIES_MAX: u32 = 8;

/// Whose logs to read, and how.
#[derive(Clone, Debug)]
pub struct LogSelection {
    /// All tasks of these.
    pub services: Vec<ServiceId>,
    /// And these.
    pub tasks: Vec<TaskId>,
    /// As the caller gave them.
    pub options: pb::LogOptions,
}

/// How logs are read: the log broker's part, which this component does not know.
pub type ReadLogs = Arc<dyn Fn(LogSelection) -> Result<Answers<pb::ServiceLogsReply>, Status> + Send + Sync>;

/// The Control service.
#[derive(Clone)]
pub struct ControlService {
    pub(super) store: Store,
    pub(super) logs: ReadLogs,
    /// This manager's node.
    pub(super) own: NodeId,
    pub(super) seen: Seen,
    pub(super) backups: Arc<Semaphore>,
}

/// What is seen of the other managers.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Raft id of the leader, while one is known.
    pub leader: watch::Receiver<Option<u64>>,
    /// Whom Raft hears.
    pub heard: Reachability,
    /// Who votes.
    pub group: watch::Receiver<Group>,
}

/// A stream of answers, made as they are read.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What most RPCs return.
type Answer<T> = Result<Response<T>, Status>;

impl std::fmt::Debug for ControlService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlService").field("own", &self.own).finish_non_exhaustive()
    }
}

impl ControlService {
    /// Serves callers that the listener tells apart.
    #[must_use]
    pub fn new(store: Store, logs: ReadLogs, own: NodeId, seen: Seen) -> Self {
        Self { store, logs, own, seen, backups: Arc::new(Semaphore::new(BACKUPS_MAX)) }
    }

    /// Lets managers in. That the state has everything that was acknowledged to anyone before is seen to by what stands before all
    /// services: it can still turn to another manager when this one turns out not to lead.
    fn admit<T>(&self, request: Request<T>) -> Result<T, ApiError> {
        Caller::of(request.extensions()).require_manager(&self.store.read())?;
        Ok(request.into_inner())
    }

    /// The node of the manager that the caller turned to.
    fn asked<T>(&self, request: &Request<T>) -> NodeId {
        Via::of(request.extensions()).map_or(self.own, |via| via.0)
    }

    pub(super) async fn propose(&self, change: Change) -> Result<u64, ApiError> {
        Ok(self.store.propose(Transaction { changes: vec![change], at: sys::now() }).await?)
    }
}

impl ControlService {
    /// Proposes what `change` makes of the newest state, again when someone else wrote in between. For calls that name no version
    /// because they mean the object whatever its version is.
    pub(super) async fn propose_newest(
        &self,
        change: impl Fn(&State) -> Result<Change, ApiError>,
    ) -> Result<u64, ApiError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let change = change(&self.store.read())?;
            match self.propose(change).await {
                Err(ApiError::Write(ProposeError::Refused(Refusal::Stale { .. }))) if tries < TRIES_MAX => {}
                done => return done,
            }
        }
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    type ListServicesStream = Answers<pb::ServiceEntry>;
    type WatchServiceStream = Answers<pb::ServiceProgress>;
    type ServiceLogsStream = Answers<pb::ServiceLogsReply>;
    type ListTasksStream = Answers<pb::TaskEntry>;
    type ListNodesStream = Answers<pb::NodeEntry>;
    type WatchNodeStream = Answers<pb::NodeProgress>;
    type GetBackupStream = Answers<pb::BackupPart>;

    async fn create_service(&self, request: Request<pb::CreateServiceRequest>) -> Answer<pb::CreateServiceReply> {
        Ok(Response::new(self.create(self.admit(request)?).await?))
    }

    async fn update_service(&self, request: Request<pb::UpdateServiceRequest>) -> Answer<pb::ServiceReply> {
        Ok(Response::new(self.update(self.admit(request)?).await?))
    }

    async fn remove_service(&self, request: Request<pb::RefRequest>) -> Answer<pb::Empty> {
        self.remove(&self.admit(request)?.r#ref).await?;
        Ok(Response::new(pb::Empty {}))
    }

    async fn get_service(&self, request: Request<pb::RefRequest>) -> Answer<pb::ServiceReply> {
        Ok(Response::new(self.get(&self.admit(request)?.r#ref)?))
    }

    async fn list_services(&self, request: Request<pb::ListServicesRequest>) -> Answer<Self::ListServicesStream> {
        Ok(Response::new(self.list(&self.admit(request)?.refs)?))
    }

    async fn watch_service(&self, request: Request<pb::WatchServiceRequest>) -> Answer<Self::WatchServiceStream> {
        Ok(Response::new(self.watch(&self.admit(request)?)?))
    }

    async fn service_logs(&self, request: Request<pb::ServiceLogsRequest>) -> Answer<Self::ServiceLogsStream> {
        Ok(Response::new(self.read_logs(self.admit(request)?)?))
    }

    async fn list_tasks(&self, request: Request<pb::ListTasksRequest>) -> Answer<Self::ListTasksStream> {
        Ok(Response::new(self.tasks(&self.admit(request)?)?))
    }

    async fn get_task(&self, request: Request<pb::RefRequest>) -> Answer<pb::TaskEntry> {
        Ok(Response::new(self.task(&self.admit(request)?.r#ref)?))
    }

    async fn list_nodes(&self, request: Request<pb::ListNodesRequest>) -> Answer<Self::ListNodesStream> {
        let asked = self.asked(&request);
        Ok(Response::new(self.nodes(&self.admit(request)?.refs, asked)?))
    }

    async fn get_node(&self, request: Request<pb::RefRequest>) -> Answer<pb::NodeEntry> {
        let asked = self.asked(&request);
        Ok(Response::new(self.node(&self.admit(request)?.r#ref, asked)?))
    }

    async fn watch_node(&self, request: Request<pb::RefRequest>) -> Answer<Self::WatchNodeStream> {
        Ok(Response::new(self.watch_moves(&self.admit(request)?.r#ref)?))
    }

    async fn update_node(&self, request: Request<pb::UpdateNodeRequest>) -> Answer<pb::NodeEntry> {
        let asked = self.asked(&request);
        Ok(Response::new(self.change_node(self.admit(request)?, asked).await?))
    }

    async fn remove_node(&self, request: Request<pb::RemoveNodeRequest>) -> Answer<pb::Empty> {
        self.forget_node(self.admit(request)?).await?;
        Ok(Response::new(pb::Empty {}))
    }

    async fn get_cluster(&self, request: Request<pb::Empty>) -> Answer<pb::ClusterReply> {
        self.admit(request)?;
        Ok(Response::new(self.cluster()?))
    }

    async fn update_cluster(&self, request: Request<pb::UpdateClusterRequest>) -> Answer<pb::ClusterReply> {
        Ok(Response::new(self.change_cluster(self.admit(request)?).await?))
    }

    async fn rotate_token(&self, request: Request<pb::TokenRequest>) -> Answer<pb::TokenReply> {
        Ok(Response::new(self.rotate(&self.admit(request)?).await?))
    }

    async fn create_token(&self, request: Request<pb::TokenRequest>) -> Answer<pb::TokenReply> {
        Ok(Response::new(self.create_token(&self.admit(request)?).await?))
    }

    async fn get_unlock_key(&self, request: Request<pb::UnlockKeyRequest>) -> Answer<pb::UnlockKeyReply> {
        Ok(Response::new(self.unlock_key(&self.admit(request)?)?))
    }

    async fn rotate_unlock_key(&self, request: Request<pb::Empty>) -> Answer<pb::UnlockKeyReply> {
        self.admit(request)?;
        Ok(Response::new(self.replace_unlock_key().await?))
    }

    async fn get_backup(&self, request: Request<pb::Empty>) -> Answer<Self::GetBackupStream> {
        self.admit(request)?;
        Ok(Response::new(self.back_up()?))
    }
}
