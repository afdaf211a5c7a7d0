//! The way to the daemon: its unix socket, as `-H`, `--host` or `SKEP_HOST` names it.

use std::error::Error;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use hyper_util::rt::TokioIo;
use skep_proto::pb::authority_client::AuthorityClient;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::local_client::LocalClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Where the daemon listens unless it was told otherwise.
pub(crate) const HOST_DEFAULT: &str = "unix:///run/skep/skep.sock";

/// A daemon to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    channel: Channel,
}

impl Daemon {
    /// Connects to the socket that `host` names.
    ///
    /// # Errors
    /// When the text names no unix socket, or no daemon answers there.
    pub(crate) async fn connect(host: &str) -> anyhow::Result<Self> {
        let path = socket_path(host)?;
        let connector = service_fn({
            let path = path.clone();
            move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }
        });
        // The connector decides where to go; the address only has to be well-formed.
        let channel = Endpoint::from_static("http://skep").connect_with_connector(connector).await;
        // The connector's own word is enough: what the layers between have to add is that they failed, too.
        let channel = channel.map_err(|error| root(&error)).with_context(|| {
            format!("reach the skep daemon at {}; is it running? (skep daemon, or skep up)", path.display())
        })?;
        Ok(Self { channel })
    }

    /// Calls about the cluster.
    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
    }

    /// Calls about the root of the cluster's certificates.
    pub(crate) fn authority(&self) -> AuthorityClient<Channel> {
        AuthorityClient::new(self.channel.clone())
    }

    /// Calls about this machine.
    pub(crate) fn local(&self) -> LocalClient<Channel> {
        LocalClient::new(self.channel.clone())
    }
}

fn root(error: &(dyn Error + 'static)) -> anyhow::Error {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    anyhow!("{cause}")
}

fn socket_path(host: &str) -> anyhow::Result<PathBuf> {
    let path = host.strip_prefix("unix://").unwrap_or(host);
    if !path.starts_with('/') {
        bail!("use {host:?} as the host: write unix:///PATH/TO/skep.sock");
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absolute_socket_is_a_host() {
        assert_eq!(socket_path(HOST_DEFAULT).unwrap(), PathBuf::from("/run/skep/skep.sock"));
        assert_eq!(socket_path("/x/y.sock").unwrap(), PathBuf::from("/x/y.sock"));
        for bad in ["", "skep.sock", "tcp://1.2.3.4:1"] {
            assert!(socket_path(bad).is_err(), "{bad}");
        }
    }
}
