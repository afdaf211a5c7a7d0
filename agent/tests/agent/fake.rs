//! A manager that says what a test tells it to, over real gRPC on loopback.
#![expect(clippy::disallowed_methods, reason = "driver: serves the fake manager")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use skep_agent::client::{Connect, ConnectError};
use skep_agent::identity::{Identity, IdentityError};
use skep_proto::model::{
    ClusterId, ContainerSpec, DesiredState, NodeId, NodeRole, ServiceId, TaskId, TaskSpec, TaskState,
};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Heard;
use skep_proto::pb::ca_server::{Ca, CaServer};
use skep_proto::pb::dispatcher_server::{Dispatcher, DispatcherServer};
use skep_proto::pb::log_broker_server::{LogBroker, LogBrokerServer};
use skep_proto::pb::manager_message::Message as Said;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

type Outbound = mpsc::Sender<Result<pb::ManagerMessage, Status>>;

/// One session as the manager sees it.
pub(crate) struct Visit {
    inbound: Streaming<pb::AgentMessage>,
    outbound: Outbound,
    /// The newest status of each task that was reported.
    pub(crate) statuses: BTreeMap<TaskId, pb::TaskStatus>,
    /// Whether reports are acknowledged.
    pub(crate) acks: bool,
}

impl Visit {
    pub(crate) async fn say(&self, message: Said) {
        self.outbound.send(Ok(pb::ManagerMessage { message: Some(message) })).await.unwrap();
    }

    /// What the agent says next; `None` when it closed the stream.
    pub(crate) async fn hear(&mut self) -> Option<Heard> {
        let message = tokio::time::timeout(PATIENCE, self.inbound.message()).await.expect("the agent is silent");
        let message = message.ok().flatten()?.message?;
        if let Heard::Heartbeat(_) = &message {
            // An agent that is about to go does not hear it.
            let _ = self.outbound.try_send(Ok(pb::ManagerMessage { message: Some(Said::Echo(pb::Echo {})) }));
        }
        if let Heard::Report(report) = &message {
            for task in &report.tasks {
                let id = TaskId::from_bytes(&task.task).unwrap();
                self.statuses.insert(id, task.status.clone().unwrap());
            }
            if self.acks {
                self.say(Said::Ack(pb::Ack { seq: report.seq, ..Default::default() })).await;
            }
        }
        Some(message)
    }

    /// Hears the hello and answers with a welcome.
    pub(crate) async fn welcome(&mut self, managers: &[String]) -> pb::Hello {
        let Some(Heard::Hello(hello)) = self.hear().await else { panic!("the hello comes first") };
        let managers = managers.to_vec();
        let welcome = pb::Welcome { session: vec![1; 16], heartbeat_ms: 200, managers, ..Default::default() };
        self.say(Said::Welcome(welcome)).await;
        *hello
    }

    /// Listens until every one of `tasks` has been reported in `state`.
    pub(crate) async fn until(&mut self, tasks: impl IntoIterator<Item = TaskId>, state: TaskState) {
        for task in tasks {
            while self.state(task) != Some(state) {
                self.hear().await.expect("the agent went away");
            }
        }
    }

    pub(crate) fn state(&self, task: TaskId) -> Option<TaskState> {
        self.statuses.get(&task).map(|status| status.state().try_into().unwrap())
    }
}

/// What serves the fake.
#[derive(Clone)]
struct Fake {
    visits: mpsc::Sender<Visit>,
    subscription: Option<pb::LogSubscription>,
    published: Arc<Mutex<Vec<pb::PublishRequest>>>,
    role: Arc<Mutex<NodeRole>>,
}

/// Signs whatever it is asked to, for node 9 of cluster 1 in the role that the test set.
#[async_trait]
impl Ca for Fake {
    async fn get_root(&self, _: Request<pb::GetRootRequest>) -> Result<Response<pb::GetRootReply>, Status> {
        Err(Status::unimplemented("nobody joins"))
    }

    async fn join(&self, _: Request<pb::JoinRequest>) -> Result<Response<pb::JoinReply>, Status> {
        Err(Status::unimplemented("nobody joins"))
    }

    async fn withdraw(&self, _: Request<pb::WithdrawRequest>) -> Result<Response<pb::WithdrawReply>, Status> {
        Err(Status::unimplemented("nobody joins"))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::JoinReply>, Status> {
        let role = *self.role.lock();
        Ok(Response::new(crate::join::signed(&request.into_inner().csr, NodeId::new(9), ClusterId::new(1), role)))
    }
}

#[async_trait]
impl Dispatcher for Fake {
    type SessionStream = ReceiverStream<Result<pb::ManagerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outbound, messages) = mpsc::channel(64);
        let visit = Visit { inbound: request.into_inner(), outbound, statuses: BTreeMap::new(), acks: true };
        self.visits.send(visit).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[async_trait]
impl LogBroker for Fake {
    type ListenStream = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<pb::LogSubscription, Status>> + Send>>;

    async fn listen(&self, _: Request<pb::ListenRequest>) -> Result<Response<Self::ListenStream>, Status> {
        use futures_util::StreamExt;
        let first = futures_util::stream::iter(self.subscription.clone().map(Ok));
        Ok(Response::new(first.chain(futures_util::stream::pending()).boxed()))
    }

    async fn publish(
        &self,
        request: Request<Streaming<pb::PublishRequest>>,
    ) -> Result<Response<pb::PublishReply>, Status> {
        let mut stream = request.into_inner();
        while let Some(message) = stream.message().await? {
            self.published.lock().push(message);
        }
        Ok(Response::new(pb::PublishReply {}))
    }
}

/// A manager on loopback.
pub(crate) struct Manager {
    pub(crate) address: String,
    visits: mpsc::Receiver<Visit>,
    pub(crate) published: Arc<Mutex<Vec<pb::PublishRequest>>>,
    /// What the certificates say that it signs.
    pub(crate) role: Arc<Mutex<NodeRole>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Manager {
    pub(crate) async fn start() -> Self {
        Self::with_subscription(None).await
    }

    pub(crate) async fn with_subscription(subscription: Option<pb::LogSubscription>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, visits) = mpsc::channel(8);
        let published = Arc::new(Mutex::new(Vec::new()));
        let role = Arc::new(Mutex::new(NodeRole::Worker));
        let (lines, signs) = (Arc::clone(&published), Arc::clone(&role));
        let fake = Fake { visits: sender, subscription, published: lines, role: signs };
        let server = Server::builder()
            .add_service(DispatcherServer::new(fake.clone()))
            .add_service(CaServer::new(fake.clone()))
            .add_service(LogBrokerServer::new(fake))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { address, visits, published, role, server }
    }

    /// The next session.
    pub(crate) async fn visit(&mut self) -> Visit {
        tokio::time::timeout(PATIENCE, self.visits.recv()).await.expect("no agent came").unwrap()
    }
}

/// Connects without TLS.
pub(crate) struct Plain;

#[async_trait]
impl Connect for Plain {
    async fn connect(&self, address: &str) -> Result<Channel, ConnectError> {
        Ok(Endpoint::from_shared(format!("http://{address}"))?.connect().await?)
    }

    async fn connect_to_renew(&self, address: &str) -> Result<Channel, ConnectError> {
        self.connect(address).await
    }

    fn renew(&self, _: &Identity) -> Result<(), IdentityError> {
        Ok(())
    }
}

pub(crate) fn id(bits: u128) -> TaskId {
    TaskId::new(bits)
}

/// A complete set of tasks that all run `image`.
pub(crate) fn set(image: &str, tasks: &[TaskId], desired: DesiredState) -> Said {
    let container = ContainerSpec { image: image.into(), ..ContainerSpec::default() };
    let spec = TaskSpec { container, ..TaskSpec::default() };
    let template = pb::TaskTemplate {
        service_id: ServiceId::new(1).to_bytes(),
        spec_version: 1,
        service_name: "web".into(),
        spec: Some((&spec).into()),
        ..pb::TaskTemplate::default()
    };
    let assignment = |task: &TaskId| pb::Assignment {
        task: task.to_bytes(),
        service_id: ServiceId::new(1).to_bytes(),
        spec_version: 1,
        slot: 1,
        desired: pb::DesiredState::from(desired).into(),
        generation: 1,
    };
    Said::Assignments(pb::Assignments {
        complete: true,
        complete_end: true,
        templates: vec![template],
        tasks: tasks.iter().map(assignment).collect(),
        ..pb::Assignments::default()
    })
}
