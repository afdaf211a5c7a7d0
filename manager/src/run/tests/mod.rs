//! A whole manager but for Raft, asked over TLS on loopback.

mod access;
mod client;
mod joining;
mod logs;
mod restart;
mod services;
mod sessions;
