//! A manager over a store without Raft, and nodes that reach it over TLS on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use skep_proto::model::{Availability, ClusterSpec, Node, NodeDescription, NodeId, NodeRole, NodeState};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Said;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::pb::manager_message::Message as Heard;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::ca::certificate::{Root, sign_again};
use crate::ca::{Charter, Founding, NodeIdentity, Subject};
use crate::fixture::run::Seat;
use crate::net::{self, Dialer};
use crate::run::{Front, Ground};
use crate::store::{Change, Store, Transaction, testing};

/// Nothing here takes longer on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct World {
    pub(super) store: Store,
    pub(super) front: Front,
    pub(super) founder: NodeIdentity,
    /// Its end is the end of leadership.
    _raft: watch::Sender<Option<u64>>,
}

/// The credentials of a node that has joined.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A node's session.
pub(super) struct Agent {
    pub(super) out: mpsc::Sender<pb::AgentMessage>,
    pub(super) inbound: Streaming<pb::ManagerMessage>,
}

impl World {
    /// With a quick heartbeat, so that silence is noticed soon.
    pub(super) async fn new(heartbeat: Duration) -> Self {
        let new = Charter {
            spec: ClusterSpec { heartbeat, ..ClusterSpec::default() },
            description: NodeDescription { hostname: "m1".into(), ..NodeDescription::default() },
            availability: Availability::Active,
            advertise: "127.0.0.1:2377".into(),
            lock: skep_proto::model::Autolock::default(),
        };
        let founding = Founding::draw(&new).unwrap();
        let store = testing::start();
        store.propose(founding.transaction(1)).await.unwrap();
        let (raft, leader) = watch::channel(Some(1));
        let heard = watch::Sender::new(std::collections::BTreeSet::from([1])).subscribe();
        let NodeIdentity { certificate, key, root, .. } = founding.identity();
        let dialer = Dialer::new(net::client_config(certificate, key, root).unwrap());
        let consensus = Arc::new(Seat::new(1, true));
        let leadership = consensus.leadership();
        let ground = Ground { store: store.clone(), consensus, raft: None, leadership, leader, heard, dialer };
        let front = Front::open(ground, (Ipv4Addr::LOCALHOST, 0).into(), founding.identity()).await.unwrap();
        Self { store, front, founder: founding.identity().clone(), _raft: raft }
    }

    pub(super) fn worker_token(&self) -> String {
        self.store.read().cluster().unwrap().worker_token.clone()
    }

    pub(super) fn manager_token(&self) -> String {
        self.store.read().cluster().unwrap().manager_token.clone()
    }

    /// A channel as that node, or as nobody.
    pub(super) async fn connect(&self, member: Option<&Member>) -> Channel {
        channel(self.front.address(), &self.founder.root, member).await
    }

    pub(super) fn founder(&self) -> Member {
        let NodeIdentity { node, certificate, key, .. } = self.founder.clone();
        Member { id: node, certificate, key }
    }

    pub(super) async fn join(&self) -> Member {
        self.join_with(self.worker_token()).await
    }

    pub(super) async fn join_with(&self, token: String) -> Member {
        let (csr, key) = request();
        let request = pb::JoinRequest { token, csr, ..Default::default() };
        let reply = CaClient::new(self.connect(None).await).join(request).await.unwrap().into_inner();
        let id = NodeId::from_bytes(&reply.node_id).unwrap();
        Member { id, certificate: reply.certificate, key }
    }

    /// Opens a session and hears the welcome, as soon as the manager leads.
    pub(super) async fn open(&self, member: &Member) -> Agent {
        session(self.connect(Some(member)).await, member).await
    }

    /// Opens the stream and says nothing.
    pub(super) async fn call(&self, member: &Member) -> Agent {
        call(self.connect(Some(member)).await).await
    }

    pub(super) async fn propose(&self, changes: Vec<Change>) -> u64 {
        self.store.propose(Transaction { changes, at: crate::sys::now() }).await.unwrap()
    }

    /// The same key with a certificate of a hundred days ago, which was good for ninety.
    pub(super) fn lapsed(&self, member: &Member) -> Member {
        let (cluster, role) = {
            let state = self.store.read();
            (state.cluster().cloned().unwrap(), state.node(member.id).map_or(NodeRole::Worker, |node| node.role))
        };
        let subject = Subject { node: member.id, role, cluster: cluster.id };
        let then = crate::sys::now() - Duration::from_secs(100 * 24 * 3600);
        let certificate = sign_again(&Root::of(&cluster), &member.key, subject, then).unwrap();
        Member { certificate, ..member.clone() }
    }

    /// Asks for the next certificate as that node, with a new key.
    pub(super) async fn renew(&self, member: &Member) -> Result<Member, tonic::Status> {
        let (csr, key) = request();
        let reply = CaClient::new(self.connect(Some(member)).await).renew(pb::RenewRequest { csr }).await?.into_inner();
        Ok(Member { id: member.id, certificate: reply.certificate, key })
    }

    /// Writes the node with another role, as whoever promotes and demotes does.
    pub(super) async fn set_role(&self, id: NodeId, role: NodeRole) {
        let mut node = Node::clone(self.store.read().node(id).unwrap());
        node.role = role;
        node.spec.role = role;
        self.propose(vec![Change::PutNode(Box::new(node))]).await;
    }

    pub(super) async fn until(&self, what: &str, holds: impl FnMut(&Store) -> bool) {
        until(&self.store, what, holds).await;
    }

    pub(super) async fn until_node(&self, id: NodeId, wanted: NodeState) {
        until_node(&self.store, id, wanted).await;
    }
}

/// Opens the stream and says nothing.
pub(super) async fn call(channel: Channel) -> Agent {
    let (out, stream) = mpsc::channel(16);
    let inbound = DispatcherClient::new(channel).session(ReceiverStream::new(stream)).await.unwrap().into_inner();
    Agent { out, inbound }
}

/// Opens a session and hears the welcome, as soon as the manager leads.
pub(super) async fn session(channel: Channel, member: &Member) -> Agent {
    let open = async {
        loop {
            let mut agent = call(channel.clone()).await;
            let hello = Said::Hello(Box::new(hello(&member.id.to_string())));
            let _ = agent.out.send(pb::AgentMessage { message: Some(hello) }).await;
            if let Some(Heard::Welcome(_)) = agent.hear().await {
                return agent;
            }
        }
    };
    tokio::time::timeout(PATIENCE, open).await.expect("a welcome in time")
}

async fn until(store: &Store, what: &str, mut holds: impl FnMut(&Store) -> bool) {
    let mut subscription = store.subscribe();
    let wait = async {
        while !holds(store) {
            subscription.touched().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// Waits until the node is in that state.
pub(super) async fn until_node(store: &Store, id: NodeId, wanted: NodeState) {
    let state = |store: &Store| store.read().node(id).map(|node| node.status.state);
    until(store, "node state", |store| state(store) == Some(wanted)).await;
}

impl Agent {
    pub(super) async fn say(&self, message: Said) {
        self.out.send(pb::AgentMessage { message: Some(message) }).await.unwrap();
    }

    /// The next message; `None` at the end of the stream.
    pub(super) async fn hear(&mut self) -> Option<Heard> {
        let next = tokio::time::timeout(PATIENCE, self.inbound.message()).await.expect("a message in time");
        next.unwrap().and_then(|message| message.message)
    }

    /// The next message about assignments.
    pub(super) async fn assignments(&mut self) -> pb::Assignments {
        loop {
            if let Heard::Assignments(assignments) = self.hear().await.expect("the session lives") {
                return assignments;
            }
        }
    }

    /// The parting words.
    pub(super) async fn farewell(&mut self) -> pb::Farewell {
        loop {
            if let Heard::Farewell(farewell) = self.hear().await.expect("parting words") {
                return farewell;
            }
        }
    }
}

pub(super) fn hello(hostname: &str) -> pb::Hello {
    let description = pb::NodeDescription {
        hostname: hostname.to_owned(),
        platform: Some(pb::Platform { os: "linux".into(), architecture: "x86_64".into() }),
        resources: Some(pb::Resources { nano_cpus: 2_000_000_000, memory_bytes: 1 << 30, pids: 0 }),
        ..Default::default()
    };
    pb::Hello { description: Some(description), ..Default::default() }
}

/// A signing request and its key.
pub(super) fn request() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    (request.pem().unwrap(), key.serialize_pem())
}

pub(super) async fn channel(address: SocketAddr, root: &str, member: Option<&Member>) -> Channel {
    let connector = TlsConnector::from(Arc::new(client_config(root, member)));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from(crate::caller::MANAGER_OU).expect("a DNS name");
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
        }
    });
    Endpoint::from_static("http://manager").connect_with_connector(connect).await.unwrap()
}

fn client_config(root: &str, member: Option<&Member>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match member {
        None => builder.with_no_client_auth(),
        Some(member) => {
            let chain = CertificateDer::pem_slice_iter(member.certificate.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(member.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
