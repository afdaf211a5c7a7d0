//! Keys, put over etcd's gRPC API. Only the two fields that are sent are declared; everything else of its messages is not looked at.

use anyhow::Context;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

/// Of each value; etcd's own benchmark writes as many.
pub(crate) const VALUE_BYTES: usize = 256;

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutReply {}

#[derive(Clone)]
pub(crate) struct Writer(Grpc<Channel>);

impl Writer {
    pub(crate) async fn new(address: &str) -> anyhow::Result<Self> {
        Ok(Self(Grpc::new(super::tcp(address).await?)))
    }

    pub(crate) async fn write(&mut self, key: String) -> anyhow::Result<()> {
        self.0.ready().await.context("reach etcd")?;
        let request = tonic::Request::new(PutRequest { key: key.into_bytes(), value: vec![b'x'; VALUE_BYTES] });
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let _: tonic::Response<PutReply> = self.0.unary(request, path, ProstCodec::default()).await?;
        Ok(())
    }
}
