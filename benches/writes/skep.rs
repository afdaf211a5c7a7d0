//! Services of no replicas, created through the daemon's own socket.

use std::path::PathBuf;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use skep_proto::model::{Mode, ServiceName, ServiceSpec, TaskSpec};
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

#[derive(Clone)]
pub(crate) struct Writer(ControlClient<Channel>);

impl Writer {
    pub(crate) async fn new(socket: &str) -> anyhow::Result<Self> {
        let path = PathBuf::from(socket);
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://skep").connect_with_connector(connector).await;
        Ok(Self(ControlClient::new(channel.with_context(|| format!("connect to {socket}"))?)))
    }

    pub(crate) async fn write(&mut self, key: String) -> anyhow::Result<()> {
        let mut task = TaskSpec::default();
        task.container.image = "skep/hello".to_owned();
        let spec = ServiceSpec {
            name: ServiceName::new(key)?,
            labels: [("value".to_owned(), "x".repeat(super::etcd::VALUE_BYTES))].into(),
            task,
            mode: Mode::Replicated { replicas: 0 },
            ports: Vec::new(),
            update: Default::default(),
            min_available: Default::default(),
        };
        self.0.create_service(pb::CreateServiceRequest { spec: Some((&spec).into()) }).await?;
        Ok(())
    }
}
