//! The generated messages, clients and servers of `skep/v1/*.proto`; nothing else. The proto files hold the comments.
#![expect(missing_docs, unused_qualifications, clippy::allow_attributes, reason = "generated code")]

tonic::include_proto!("skep.v1");
