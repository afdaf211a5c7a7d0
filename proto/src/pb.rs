//! The generated messages, clients and servers of `skep/v1/*.proto`; nothing else. The proto files hold the comments.
#![expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::large_enum_variant,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    reason = "generated code"
)]

tonic::include_proto!("skep.v1");
