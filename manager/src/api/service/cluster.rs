//! The cluster.

use skep_proto::convert::required;
use skep_proto::model::{Cluster, ClusterSpec, Moment, TokenSecret};
use skep_proto::pb;

use super::control::ControlService;
use super::lock;
use crate::api::ApiError;
use crate::api::tokens::{self, Order};
use crate::store::{Change, State};
use crate::sys;

impl ControlService {
    pub(super) fn cluster(&self) -> Result<pb::ClusterReply, ApiError> {
        let state = self.store.read();
        let cluster = state.cluster().ok_or(ApiError::NoCluster)?;
        let addresses = state.nodes().filter_map(|node| node.manager.as_ref()).map(|manager| manager.address.clone());
        let manager_addresses: Vec<String> = addresses.collect();
        // The key of the root leaves the managers in no answer, the unlock key in none but that to who asks for it.
        let mut cluster = pb::Cluster { root_key: String::new(), lock: None, ..cluster.as_ref().into() };
        if let Some(rotation) = &mut cluster.rotation {
            rotation.key.clear();
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(pb::ClusterReply {
            cluster: Some(cluster),
            nodes: count(state.nodes().count()),
            managers: count(manager_addresses.len()),
            manager_addresses,
            lock_waits: lock::waits(&state, &self.store.soft()),
        })
    }

    /// Writes what the user wants for the whole cluster.
    pub(super) async fn change_cluster(&self, request: pb::UpdateClusterRequest) -> Result<pb::ClusterReply, ApiError> {
        let spec = ClusterSpec::try_from(required(request.spec, "update cluster request", "spec")?)?;
        if request.version == 0 {
            return Err(ApiError::NoVersion { what: "the swarm".to_owned() });
        }
        let mut cluster = Cluster::clone(self.store.read().cluster().ok_or(ApiError::NoCluster)?);
        if spec.raft != cluster.spec.raft {
            return Err(ApiError::RaftTiming);
        }
        (cluster.meta.version, cluster.spec) = (request.version, spec);
        cluster.lock = cluster.lock.turned(spec.autolock, lock::draw());
        self.propose(Change::PutCluster(Box::new(cluster))).await?;
        self.cluster()
    }

    /// Replaces the token of a role: who holds the old one can join no more; who has joined stays.
    pub(super) async fn rotate(&self, request: &pb::TokenRequest) -> Result<pb::TokenReply, ApiError> {
        self.write_tokens(request, Order::rotate).await
    }

    /// Makes a token with limits beside the standing one.
    pub(super) async fn create_token(&self, request: &pb::TokenRequest) -> Result<pb::TokenReply, ApiError> {
        self.write_tokens(request, Order::create).await
    }

    async fn write_tokens(
        &self,
        request: &pb::TokenRequest,
        write: fn(Order, &mut Cluster, TokenSecret, Moment) -> Result<(), ApiError>,
    ) -> Result<pb::TokenReply, ApiError> {
        let order = Order::new(request)?;
        let (secret, now) = (TokenSecret::new(sys::random_bits()), sys::now());
        let change = |state: &State| {
            let mut cluster = Cluster::clone(state.cluster().ok_or(ApiError::NoCluster)?);
            write(order, &mut cluster, secret, now)?;
            Ok(Change::PutCluster(Box::new(cluster)))
        };
        self.propose_newest(change).await?;
        let token = self.store.read().cluster().and_then(|cluster| tokens::with_secret(cluster, secret));
        // Somebody has rotated it away between the commit and now.
        let token = token.ok_or(ApiError::TokenGone)?;
        Ok(pb::TokenReply { token, manager_addresses: self.cluster()?.manager_addresses })
    }
}
