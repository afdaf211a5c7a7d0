//! Another root takes the place of the first: what agents are told, in which order, and what is left of the old one.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{NodeState, RootDigest};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Said;
use skep_proto::pb::authority_client::AuthorityClient;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::manager_message::Message as Heard;
use tonic::Code;
use tonic::transport::Channel;

use super::client::{Agent, Member, PATIENCE, World, hello, request};
use crate::ca::run::draw_root;
use crate::ca::token::{digest, trust_digest};
use crate::net::leads_to;

/// The rhythm of an agent that lives: many times in the grace that its silence has.
const BEAT: Duration = Duration::from_millis(100);

const SLOW: Duration = Duration::from_secs(60);

/// An agent that does as it is told.
struct Obedient {
    member: Member,
    trust: String,
    agent: Agent,
}

impl Obedient {
    async fn new(world: &World, member: Member) -> Self {
        let agent = world.call(&member).await;
        let it = Self { member, trust: world.founder.root.clone(), agent };
        let credentials = Some(it.credentials());
        it.agent.say(Said::Hello(Box::new(pb::Hello { credentials, ..hello("n") }))).await;
        it
    }

    /// As a real one works it out.
    fn credentials(&self) -> pb::Credentials {
        let mut roots = self.trust.split_inclusive("-----END CERTIFICATE-----\n");
        let signer = roots.find(|root| signed(&self.member.certificate, root));
        let root = signer.and_then(digest).map(RootDigest::to_bytes).unwrap_or_default();
        pb::Credentials { root, trust: trust_digest(&self.trust).to_bytes(), lock: 0 }
    }

    /// Hears until it was told to trust other roots, and does.
    async fn trusts(&mut self) {
        loop {
            match self.agent.hear().await.expect("the session lives") {
                Heard::Standing(pb::Standing { trust, .. }) if !trust.is_empty() => {
                    self.trust = trust;
                    return self.agent.say(Said::Credentials(self.credentials())).await;
                }
                Heard::Standing(standing) => {
                    assert!(!standing.renew || self.trust.matches("BEGIN").count() > 1, "trust comes first")
                }
                _ => {}
            }
        }
    }

    /// Hears until it was told to renew, and does.
    async fn renews(&mut self, world: &World) {
        while !matches!(self.agent.hear().await, Some(Heard::Standing(pb::Standing { renew: true, .. }))) {}
        self.member = world.renew(&self.member).await.unwrap();
        self.agent.say(Said::Credentials(self.credentials())).await;
    }
}

/// Whether that root signed it with nothing between.
fn signed(leaf: &str, root: &str) -> bool {
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(read(root)).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    verifier.verify_client_cert(&read(leaf), &[], rustls_pki_types::UnixTime::now()).is_ok()
}

async fn authority(world: &World) -> AuthorityClient<Channel> {
    AuthorityClient::new(world.connect(Some(&world.founder())).await)
}

async fn follow(world: &World, until: impl Fn(&pb::RotationProgress) -> bool) -> pb::RotationProgress {
    let mut watch = authority(world).await.watch_rotation(pb::WatchRotationRequest {}).await.unwrap().into_inner();
    let wait = async {
        loop {
            let progress = watch.message().await.unwrap().expect("it goes on");
            if until(&progress) {
                return progress;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("in time")
}

#[tokio::test]
async fn every_node_trusts_before_it_renews_and_then_the_old_root_goes() {
    let world = World::new(SLOW).await;
    let worker = world.join().await;
    let mut founder = Obedient::new(&world, world.founder()).await;
    let mut other = Obedient::new(&world, worker).await;
    let (old_token, old_root) = (world.worker_token(), world.founder.root.clone());
    authority(&world).await.rotate_root(pb::RotateRootRequest::default()).await.unwrap();
    founder.trusts().await;
    let newcomer = world.join().await;
    assert!(newcomer.certificate.matches("BEGIN").count() == 2, "signed by the new root, with the way to the old one");
    founder.renews(&world).await;
    let waiting = follow(&world, |progress| progress.certified >= 1).await;
    assert!(waiting.running && waiting.nodes == 3, "{waiting:?}");
    other.trusts().await;
    other.renews(&world).await;
    let mut third = Obedient::new(&world, newcomer).await;
    third.trusts().await;
    let done = follow(&world, |progress| !progress.running).await;
    let cluster = world.store.read().cluster().cloned().unwrap();
    assert_eq!((&done.certificate, &cluster.rotation), (&cluster.root_certificate, &None));
    assert_ne!(cluster.root_certificate, old_root);
    assert!(leads_to(&founder.member.certificate, &cluster.root_certificate, crate::sys::now()));
    assert!(!leads_to(&world.founder.certificate, &cluster.root_certificate, crate::sys::now()));
    assert_ne!(cluster.worker_token, old_token);
    let join = pb::JoinRequest { token: old_token, csr: request().0, ..Default::default() };
    let refused = CaClient::new(world.connect(None).await).join(join).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[tokio::test]
async fn a_node_that_is_down_is_named_and_may_be_left_behind() {
    let world = World::new(Duration::from_millis(300)).await;
    let absent = world.join().await;
    drop(world.open(&absent).await);
    world.until_node(absent.id, NodeState::Down).await;
    let mut founder = Obedient::new(&world, world.founder()).await;
    let beats = founder.agent.out.clone();
    let beat = async {
        loop {
            let beat = Some(Said::Heartbeat(pb::Heartbeat::default()));
            let _ = beats.send(pb::AgentMessage { message: beat }).await;
            tokio::time::sleep(BEAT).await;
        }
    };
    let story = async {
        let nobody = pb::AbandonRequest { nodes: vec![absent.id.to_bytes()] };
        let refused = authority(&world).await.abandon(nobody.clone()).await.unwrap_err();
        assert!(refused.message().contains("is not being replaced"), "{refused}");
        authority(&world).await.rotate_root(pb::RotateRootRequest::default()).await.unwrap();
        founder.trusts().await;
        founder.renews(&world).await;
        let waits = |progress: &pb::RotationProgress| progress.certified == 1;
        let waiting = follow(&world, waits).await;
        let named: Vec<_> = waiting.waiting.iter().map(|wait| (wait.node.clone(), wait.down)).collect();
        assert_eq!((waiting.running, named), (true, vec![(absent.id.to_bytes(), true)]));
        let alive = pb::AbandonRequest { nodes: vec![world.founder.node.to_bytes()] };
        let refused = authority(&world).await.abandon(alive).await.unwrap_err();
        assert!(refused.message().contains("it answers"), "{refused}");
        authority(&world).await.abandon(nobody).await.unwrap();
        follow(&world, |progress| !progress.running).await;
        let node = world.store.read().node(absent.id).cloned().unwrap();
        assert!(node.status.message.contains("left behind"), "{:?}", node.status);
        founder.trusts().await;
        authority(&world).await.rotate_root(pb::RotateRootRequest::default()).await.unwrap();
        founder.trusts().await;
        founder.renews(&world).await;
        let done = follow(&world, |progress| !progress.running).await;
        assert_ne!(done.certificate, waiting.certificate, "who was left behind once is not waited for again");
    };
    tokio::select! {
        () = beat => {}
        () = story => {}
    }
}

#[tokio::test]
async fn one_replacement_gives_way_to_another() {
    let world = World::new(SLOW).await;
    let mut founder = Obedient::new(&world, world.founder()).await;
    authority(&world).await.rotate_root(pb::RotateRootRequest::default()).await.unwrap();
    founder.trusts().await;
    let between = world.renew(&founder.member).await.unwrap();
    let (certificate, key) = draw_root().unwrap();
    let mine = pb::RotateRootRequest { certificate: certificate.clone(), key, certificate_life_ms: 7_200_000 };
    authority(&world).await.rotate_root(mine).await.unwrap();
    founder.member = between;
    founder.trusts().await;
    founder.renews(&world).await;
    let done = follow(&world, |progress| !progress.running).await;
    assert_eq!(done.certificate, certificate);
    assert_eq!(world.store.read().cluster().unwrap().spec.certificate_life, Duration::from_secs(7_200));
}

#[tokio::test]
async fn what_is_no_root_is_refused_and_changes_nothing() {
    let world = World::new(SLOW).await;
    let (certificate, key) = draw_root().unwrap();
    let ours = world.store.read().cluster().cloned().unwrap();
    let order = |certificate: &str, key: &str| pb::RotateRootRequest {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        ..Default::default()
    };
    let cases = [
        (order(&certificate, ""), "both or neither"),
        (order("text", &key), "one certificate"),
        (order(&certificate, "text"), "PKCS 8"),
        (order(&certificate, &draw_root().unwrap().1), "not that of the certificate"),
        (order(&ours.root_certificate, &ours.root_key), "it is to replace"),
        (pb::RotateRootRequest { certificate_life_ms: 1, ..Default::default() }, "life of certificates"),
    ];
    for (order, words) in cases {
        let refused = authority(&world).await.rotate_root(order).await.unwrap_err();
        assert!(refused.code() == Code::InvalidArgument && refused.message().contains(words), "{refused}");
    }
    assert_eq!(world.store.read().cluster().unwrap().rotation, None);
}

#[tokio::test]
async fn who_was_to_be_left_behind_is_not_waited_for_by_the_replacement_that_takes_over() {
    let world = World::new(Duration::from_millis(300)).await;
    let absent = world.join().await;
    drop(world.open(&absent).await);
    world.until_node(absent.id, NodeState::Down).await;
    let mut authority = authority(&world).await;
    authority.rotate_root(pb::RotateRootRequest::default()).await.unwrap();
    authority.abandon(pb::AbandonRequest { nodes: vec![absent.id.to_bytes()] }).await.unwrap();
    let begun = authority.rotate_root(pb::RotateRootRequest::default()).await.unwrap().into_inner();
    assert_eq!((begun.running, begun.abandoned), (true, 1));
}
