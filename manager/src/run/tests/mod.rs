//! A whole manager but for Raft, asked over TLS on loopback; with Raft beneath it, and in a group of several.

mod access;
mod anew;
mod client;
mod clocks;
mod dialects;
mod forwarding;
mod group;
mod joining;
mod lapsed;
mod locking;
mod logs;
mod outages;
mod restart;
mod rotation;
mod services;
mod sessions;
