//! The RPCs that replace the root: begin, watch, leave nodes behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::convert::ConvertError;
use skep_proto::model::{Cluster, ClusterSpec, Moment, Node, NodeId, NodeRole, NodeState, Rotation};
use skep_proto::pb;
use skep_proto::pb::authority_server::Authority;
use tonic::{Request, Response, Status};

use super::super::certificate::{Root, Subject, cross_sign, sign_again};
use super::super::error::CaError;
use super::super::root;
use super::super::run::draw_root;
use super::CaService;
use crate::caller::{MANAGER_OU, WORKER_OU, validity};
use crate::net::{leads_to, leads_to_as};
use crate::store::{Change, RotationProgress, State};
use crate::sys;

/// Nodes that are told by name; the rest are counted.
const WAITING_MAX: usize = 64;

/// A watcher hears at least so often how it stands.
const LOOK: Duration = Duration::from_secs(1);

/// Which message of a watch comes next.
enum Turn {
    First,
    Next,
    Over,
}

impl CaService {
    /// Begins to replace the root. What was on its way gives way: nodes that have a certificate of it keep it until they get another.
    pub(super) async fn begin_rotation(&self, request: pb::RotateRootRequest) -> Result<pb::RotationProgress, CaError> {
        let cluster = self.cluster()?;
        let (certificate, key) = match (request.certificate.is_empty(), request.key.is_empty()) {
            (true, true) => draw_root()?,
            (false, false) => (with_end(request.certificate), with_end(request.key)),
            _ => return Err(CaError::HalfARoot),
        };
        root::check(&certificate, &key, &cluster.root_certificate, sys::now())?;
        let mut after = Cluster::clone(&cluster);
        let mut rotation = rotation(&cluster, certificate, key)?;
        rotation.abandoned = self.lost(&cluster);
        after.rotation = Some(Box::new(rotation));
        if request.certificate_life_ms != 0 {
            after.spec = with_life(after.spec, request.certificate_life_ms)?;
        }
        check_chain(&after)?;
        self.write(vec![Change::PutCluster(Box::new(after))]).await?;
        tracing::info!("the root certificate is being replaced");
        self.rotation_progress()
    }

    /// Nodes that are down and not to be waited for: those that were left behind before, since what they have is of a root that is gone, and
    /// those that the replacement which gives way was told to leave behind.
    fn lost(&self, cluster: &Cluster) -> BTreeSet<NodeId> {
        let down: Vec<_> = {
            let state = self.store.read();
            state.nodes().filter(|node| node.status.state == NodeState::Down).cloned().collect()
        };
        let is_given_up =
            |node: &Node| cluster.rotation.as_ref().is_some_and(|rotation| rotation.abandoned.contains(&node.id));
        down.iter()
            .filter(|node| is_given_up(node) || !is_of(node, &cluster.root_certificate))
            .map(|node| node.id)
            .collect()
    }

    /// How far it is, whenever that changes, until it is done.
    pub(super) fn follow_rotation(&self) -> Result<BoxStream<'static, Result<pb::RotationProgress, Status>>, CaError> {
        let (service, watch) = (self.clone(), self.store.watch_rotation());
        self.cluster()?;
        let states = stream::unfold((service, watch, Turn::First), |(service, mut watch, turn)| async move {
            match turn {
                Turn::First => {}
                // What became of the rotation stands in the state, which may have changed without the loop's word.
                Turn::Next => drop(tokio::time::timeout(LOOK, watch.changed()).await),
                Turn::Over => return None,
            }
            watch.mark_unchanged();
            let progress = service.rotation_progress();
            let turn = if progress.as_ref().is_ok_and(|progress| progress.running) { Turn::Next } else { Turn::Over };
            Some((progress.map_err(Status::from), (service, watch, turn)))
        });
        Ok(states.boxed())
    }

    /// Nodes that are not waited for any more.
    pub(super) async fn leave_behind(&self, nodes: &[Vec<u8>]) -> Result<pb::RotationProgress, CaError> {
        let nodes: Result<Vec<NodeId>, _> = nodes.iter().map(|id| NodeId::from_bytes(id)).collect();
        let nodes = nodes.map_err(ConvertError::from)?;
        let mut after = Cluster::clone(&*self.cluster()?);
        let rotation = after.rotation.as_mut().ok_or(CaError::NoRotation)?;
        for node in nodes {
            may_be_left(&self.store.read(), node)?;
            rotation.abandoned.insert(node);
        }
        self.write(vec![Change::PutCluster(Box::new(after))]).await?;
        self.rotation_progress()
    }

    fn rotation_progress(&self) -> Result<pb::RotationProgress, CaError> {
        let known = self.store.watch_rotation().borrow().clone().unwrap_or_default();
        let state = self.store.read();
        let cluster = state.cluster().ok_or(CaError::NoCluster)?;
        Ok(told(&state, cluster, &known))
    }
}

#[tonic::async_trait]
impl Authority for CaService {
    type WatchRotationStream = BoxStream<'static, Result<pb::RotationProgress, Status>>;

    async fn rotate_root(
        &self,
        request: Request<pb::RotateRootRequest>,
    ) -> Result<Response<pb::RotationProgress>, Status> {
        self.manages(request.extensions())?;
        Ok(Response::new(self.begin_rotation(request.into_inner()).await?))
    }

    async fn watch_rotation(
        &self,
        request: Request<pb::WatchRotationRequest>,
    ) -> Result<Response<Self::WatchRotationStream>, Status> {
        self.manages(request.extensions())?;
        Ok(Response::new(self.follow_rotation()?))
    }

    async fn abandon(&self, request: Request<pb::AbandonRequest>) -> Result<Response<pb::RotationProgress>, Status> {
        self.manages(request.extensions())?;
        Ok(Response::new(self.leave_behind(&request.into_inner().nodes).await?))
    }
}

/// In words that leave the manager.
fn told(state: &State, cluster: &Cluster, known: &RotationProgress) -> pb::RotationProgress {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let wait = |(id, down): &(NodeId, bool)| {
        let (node, name) = (state.node(*id), |node: &Arc<Node>| node.description.hostname.clone());
        let manager = node.is_some_and(|node| node.manager.is_some());
        pb::RotationWait { node: id.to_bytes(), name: node.map(name).unwrap_or_default(), down: *down, manager }
    };
    pb::RotationProgress {
        running: cluster.rotation.is_some(),
        nodes: count(known.nodes),
        trusting: count(known.trusting),
        certified: count(known.certified),
        waiting: known.waiting.iter().take(WAITING_MAX).map(wait).collect(),
        abandoned: count(cluster.rotation.as_ref().map_or(0, |rotation| rotation.abandoned.len())),
        certificate: cluster.rotation.as_ref().map_or(&cluster.root_certificate, |next| &next.certificate).clone(),
    }
}

/// Certificates are put behind each other, so each ends its line.
fn with_end(pem: String) -> String {
    if pem.ends_with('\n') { pem } else { pem + "\n" }
}

fn with_life(spec: ClusterSpec, life_ms: u64) -> Result<ClusterSpec, CaError> {
    let spec = pb::ClusterSpec { certificate_life_ms: life_ms, ..(&spec).into() };
    Ok(ClusterSpec::try_from(spec)?)
}

fn rotation(cluster: &Cluster, certificate: String, key: String) -> Result<Rotation, CaError> {
    let (old, now) = (Cluster { rotation: None, ..cluster.clone() }, sys::now());
    let cross_signed = cross_sign(&Root::of(&old), &certificate, &key, now)?;
    Ok(Rotation { certificate, key, cross_signed, started_at: now, abandoned: BTreeSet::new() })
}

/// Signs something with what is to be the root and has it verified as nodes will: by those that know only one of the two.
fn check_chain(cluster: &Cluster) -> Result<(), CaError> {
    let (next, now) = (Root::of(cluster), sys::now());
    let subject = Subject { node: NodeId::new(0), role: NodeRole::Manager, cluster: cluster.id };
    let (_, key) = draw_root()?;
    let chain = sign_again(&next, &key, subject, now)?;
    let leads = leads_to(&chain, &cluster.root_certificate, now) && leads_to(&chain, next.certificate, now);
    if leads { Ok(()) } else { Err(CaError::NotARoot("what it signs is not taken by those who trust it")) }
}

/// Whether that root, or one that it vouches for, signed what the node has, be its time over or not.
fn is_of(node: &Node, root: &str) -> bool {
    let der = CertificateDer::from_pem_slice(node.certificate.as_bytes()).ok();
    let Some((_, until)) = der.and_then(|der| validity(&der)) else { return false };
    let then = Moment(u64::try_from(until).unwrap_or(0) * 1000);
    let mut ous = [MANAGER_OU, WORKER_OU].into_iter();
    ous.any(|ou| leads_to_as(ou, &node.certificate, root, then))
}

/// A node that answers will be there soon; the rotation is not to be cut short for it.
fn may_be_left(state: &State, node: NodeId) -> Result<(), CaError> {
    let votes = state.node(node).is_some_and(|node| node.manager.is_some());
    let why = match state.node(node).map(|node| node.status.state) {
        None => "there is no such node",
        Some(NodeState::Ready) => "it answers, and gets its certificate in a moment",
        Some(_) if votes => {
            "it is a manager, whose vote nobody could use any more; demote it first with `skep node demote`"
        }
        Some(_) => return Ok(()),
    };
    Err(CaError::NotAbandoned { node, why })
}
