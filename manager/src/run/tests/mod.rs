//! A whole manager but for Raft, asked over TLS on loopback.

mod access;
mod client;
mod forwarding;
mod joining;
mod logs;
mod restart;
mod services;
mod sessions;
