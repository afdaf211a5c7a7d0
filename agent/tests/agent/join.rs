//! Joining and renewing over real TLS, with a small authority of the test's own.
#![expect(clippy::disallowed_methods, reason = "driver: serves the authority")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use skep_agent::client::{Connect, TlsConnect};
use skep_agent::identity::client::{JoinOrder, join, renew};
use skep_agent::identity::{Identity, IdentityError, disk};
use skep_agent::vault::Vault;
use skep_proto::model::token::{JoinToken, RootDigest, TokenSecret};
use skep_proto::model::{Autolock, ClusterId, NodeId, NodeRole, UnlockKey};
use skep_proto::pb;
use skep_proto::pb::ca_server::{Ca, CaServer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

const SECRET: TokenSecret = TokenSecret::new(42);

/// What a server shows.
#[derive(Clone, Copy)]
struct Shown {
    ou: &'static str,
    cluster: ClusterId,
    is_over: bool,
}

/// An authority that serves itself.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
    token: String,
    joins: AtomicUsize,
}

/// A certificate of an authority that nobody else knows.
pub(crate) fn signed(csr: &str, node: NodeId, cluster: ClusterId, role: NodeRole) -> pb::JoinReply {
    let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
    let ou = if role == NodeRole::Manager { "swarm-manager" } else { "swarm-worker" };
    subject(&mut request.params, &node.to_string(), ou);
    request.params.distinguished_name.push(DnType::OrganizationName, cluster.to_string());
    let issuer = Issuer::new(CertificateParams::new(Vec::<String>::new()).unwrap(), KeyPair::generate().unwrap());
    let certificate = request.signed_by(&issuer).unwrap().pem();
    pb::JoinReply {
        node_id: node.to_bytes(),
        certificate,
        role: pb::NodeRole::from(role).into(),
        trust: String::new(),
        lock: None,
    }
}

fn subject(params: &mut CertificateParams, cn: &str, ou: &str) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.distinguished_name.push(DnType::OrganizationalUnitName, ou);
    params.distinguished_name.push(DnType::OrganizationName, ClusterId::new(5).to_string());
}

impl Authority {
    fn new() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let token = JoinToken { digest: RootDigest::of_der(certificate.der()), secret: SECRET }.to_string();
        let (root, issuer) = (certificate.pem(), Issuer::new(params, key));
        Arc::new(Self { issuer, root, token, joins: AtomicUsize::new(0) })
    }

    fn sign(&self, csr: &str, ou: &str) -> pb::JoinReply {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        subject(&mut request.params, &NodeId::new(7).to_string(), ou);
        let certificate = request.signed_by(&self.issuer).unwrap().pem();
        pb::JoinReply { node_id: NodeId::new(7).to_bytes(), certificate, ..Default::default() }
    }

    fn server_config(&self, shown: &Shown) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["swarm-manager".to_owned()]).unwrap();
        subject(&mut params, &NodeId::new(1).to_string(), shown.ou);
        params.distinguished_name.push(DnType::OrganizationName, shown.cluster.to_string());
        if shown.is_over {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 4, 1));
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.allow_unauthenticated().build().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// Serves on loopback and returns where.
    async fn serve(self: &Arc<Self>) -> String {
        self.serve_as(&Shown { ou: "swarm-manager", cluster: ClusterId::new(5), is_over: false }).await
    }

    async fn serve_as(self: &Arc<Self>, shown: &Shown) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = TlsAcceptor::from(Arc::new(self.server_config(shown)));
        let routes = Routes::new(CaServer::from_arc(Arc::clone(self))).prepare();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(acceptor.clone(), stream, routes.clone()));
            }
        });
        address
    }

    fn order(&self, address: &str, token: &str) -> JoinOrder {
        JoinOrder::new(address, token).unwrap()
    }
}

/// One connection. A client that goes away in the middle is what some tests are about.
async fn talk(acceptor: TlsAcceptor, stream: TcpStream, routes: Routes) {
    if let Ok(stream) = acceptor.accept(stream).await {
        let service = TowerToHyperService::new(routes);
        let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    }
}

#[async_trait]
impl Ca for Authority {
    async fn get_root(&self, _: Request<pb::GetRootRequest>) -> Result<Response<pb::GetRootReply>, Status> {
        Ok(Response::new(pb::GetRootReply { certificate: self.root.clone() }))
    }

    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinReply>, Status> {
        self.joins.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        if request.token != self.token {
            return Err(Status::permission_denied("failed to join: no"));
        }
        Ok(Response::new(self.sign(&request.csr, "swarm-worker")))
    }

    async fn withdraw(&self, _: Request<pb::WithdrawRequest>) -> Result<Response<pb::WithdrawReply>, Status> {
        Err(Status::unimplemented("nobody gives up here"))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::JoinReply>, Status> {
        Ok(Response::new(self.sign(&request.into_inner().csr, "swarm-manager")))
    }
}

#[tokio::test]
async fn a_machine_joins_keeps_its_identity_and_renews_it() {
    let authority = Authority::new();
    let address = authority.serve().await;
    let identity = join(&authority.order(&address, &authority.token)).await.unwrap().identity;
    assert_eq!((identity.node, identity.cluster), (NodeId::new(7), ClusterId::new(5)));
    assert_eq!(identity.role, NodeRole::Worker);

    let dir = tempfile::tempdir().unwrap();
    assert_eq!(disk::load(&Vault::at(dir.path())).unwrap(), None);
    disk::store(&Vault::at(dir.path()), &identity).unwrap();
    assert_eq!(disk::load(&Vault::at(dir.path())).unwrap(), Some(identity.clone()));

    let connector = TlsConnect::new(&identity).unwrap();
    let channel = connector.connect(&address).await.unwrap();
    let renewed = renew(channel, &address, &identity).await.unwrap().identity;
    assert_eq!(renewed.role, NodeRole::Manager, "the role is what the managers say by now");
    assert_ne!(renewed.key, identity.key);
    connector.renew(&renewed).unwrap();
    connector.connect(&address).await.unwrap();
    disk::remove(dir.path()).unwrap();
    assert_eq!(disk::load(&Vault::at(dir.path())).unwrap(), None);
}

#[tokio::test]
async fn a_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    let address = authority.serve().await;
    let identity = join(&authority.order(&address, &authority.token)).await.unwrap().identity;
    let dir = tempfile::tempdir().unwrap();
    disk::store(&Vault::at(dir.path()), &identity).unwrap();
    let mode = std::fs::metadata(dir.path().join("certificates/node.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_managers_key_lies_sealed_while_the_vault_is_on_and_a_workers_never() {
    let authority = Authority::new();
    let address = authority.serve().await;
    let worker = join(&authority.order(&address, &authority.token)).await.unwrap().identity;
    let channel = TlsConnect::new(&worker).unwrap().connect(&address).await.unwrap();
    let manager = renew(channel, &address, &worker).await.unwrap().identity;
    let dir = tempfile::tempdir().unwrap();
    let file = || std::fs::read_to_string(dir.path().join("certificates/node.pem")).unwrap();
    let vault = Vault::at(dir.path());
    disk::store(&vault, &manager).unwrap();
    assert!(file().contains("PRIVATE KEY") && !disk::is_sealed(&vault).unwrap());
    assert!(disk::keep(&vault, true).is_err(), "there is nothing to seal it with");
    let key = UnlockKey::new([3; 32]);
    vault.engage(&Autolock::default().with(Some(key.clone()))).unwrap();
    disk::keep(&vault, true).unwrap();
    assert!(!file().contains("PRIVATE KEY") && disk::is_sealed(&vault).unwrap());
    assert_eq!(disk::load(&vault).unwrap(), Some(manager.clone()));
    let locked = Vault::at(dir.path());
    locked.read().unwrap();
    assert!(matches!(disk::load(&locked), Err(IdentityError::Sealed { .. })));
    let public = Identity { key: String::new(), ..manager.clone() };
    assert_eq!(disk::load_public(&locked).unwrap(), Some(public));
    locked.unlock(&key).unwrap();
    assert_eq!(disk::load(&locked).unwrap(), Some(manager.clone()));
    disk::store(&vault, &worker).unwrap();
    assert!(file().contains("PRIVATE KEY"), "a worker starts without anybody's help");
    disk::store(&vault, &manager).unwrap();
    assert!(!file().contains("PRIVATE KEY"));
    disk::keep(&vault, false).unwrap();
    assert!(file().contains("PRIVATE KEY"));
    assert_eq!(disk::load(&vault).unwrap(), Some(manager));
}

#[tokio::test]
async fn the_secret_is_never_said_to_another_cluster() {
    let (mine, other) = (Authority::new(), Authority::new());
    let address = other.serve().await;
    let error = join(&mine.order(&address, &mine.token)).await.unwrap_err();
    let expected = format!("join the swarm: the manager at {address} is not of the cluster this token belongs to");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(other.joins.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn each_way_to_fail_has_its_own_sentence() {
    let authority = Authority::new();
    let address = authority.serve().await;
    let digest = authority.token.parse::<JoinToken>().unwrap().digest;
    let stale = JoinToken { digest, secret: TokenSecret::new(1) }.to_string();
    let error = join(&authority.order(&address, &stale)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("join the swarm at {address}: no"));
    assert!(error.is_settled());
    assert!(JoinOrder::new(&address, "SWMTKN-1-nonsense").is_err());
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().to_string();
    let error = join(&authority.order(&closed, &authority.token)).await.unwrap_err();
    assert!(matches!(error, IdentityError::Unreachable { .. }) && !error.is_settled(), "{error}");
}

#[tokio::test]
async fn a_manager_of_another_root_is_not_spoken_to() {
    let (mine, other) = (Authority::new(), Authority::new());
    let (here, there) = (mine.serve().await, other.serve().await);
    let identity = join(&mine.order(&here, &mine.token)).await.unwrap().identity;
    assert!(TlsConnect::new(&identity).unwrap().connect(&there).await.is_err());
}

#[tokio::test]
async fn a_manager_whose_certificate_is_over_is_asked_for_the_next_one_and_nothing_else() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.serve().await;
    let joined = join(&authority.order(&good, &authority.token)).await.unwrap();
    let connector = TlsConnect::new(&joined.identity).unwrap();
    let (manager, ours, other) = ("swarm-manager", ClusterId::new(5), ClusterId::new(6));
    let shown = Shown { ou: manager, cluster: ours, is_over: true };
    let over = authority.serve_as(&shown).await;
    assert!(connector.connect(&over).await.is_err(), "no session with it");
    let channel = connector.connect_to_renew(&over).await.unwrap();
    let identity = join(&authority.order(&good, &authority.token)).await.unwrap().identity;
    renew(channel, &over, &identity).await.unwrap();
    for (authority, shown) in [
        (&authority, Shown { cluster: other, ..shown }),
        (&authority, Shown { ou: "swarm-worker", ..Shown { cluster: ours, ..shown } }),
        (&stranger, Shown { cluster: ours, ..shown }),
    ] {
        let address = authority.serve_as(&shown).await;
        assert!(connector.connect_to_renew(&address).await.is_err(), "another swarm, a worker, another root");
    }
}
