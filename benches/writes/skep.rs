//! Services of no replicas, created through the daemon's own socket.

use std::path::PathBuf;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

#[derive(Clone)]
pub(crate) struct Writer {
    control: ControlClient<Channel>,
    /// All but its name.
    spec: pb::ServiceSpec,
}

impl Writer {
    pub(crate) async fn new(socket: &str) -> anyhow::Result<Self> {
        let path = PathBuf::from(socket);
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://skep").connect_with_connector(connector).await;
        let control = ControlClient::new(channel.with_context(|| format!("connect to {socket}"))?);
        Ok(Self { control, spec: spec() })
    }

    pub(crate) async fn write(&mut self, key: String) -> anyhow::Result<()> {
        let spec = pb::ServiceSpec { name: key, ..self.spec.clone() };
        self.control.create_service(pb::CreateServiceRequest { spec: Some(spec) }).await?;
        Ok(())
    }
}

fn spec() -> pb::ServiceSpec {
    let container = pb::ContainerSpec { image: "skep/hello".to_owned(), ..pb::ContainerSpec::default() };
    let task = pb::TaskSpec { container: Some(container), ..pb::TaskSpec::default() };
    pb::ServiceSpec {
        labels: [("value".to_owned(), "x".repeat(super::etcd::VALUE_BYTES))].into(),
        task: Some(task),
        mode: Some(pb::service_spec::Mode::Replicated(pb::Replicated { replicas: 0 })),
        ..pb::ServiceSpec::default()
    }
}
