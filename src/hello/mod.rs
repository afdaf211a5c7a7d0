//! What runs inside `skep/hello`: a page that tells which task answered, so that a new user sees the balancing.
//!
//! The image is made of this very binary, so the server must need nothing: no file, no library, no other process. As the
//! first process of its pid namespace it gets no default signal handling from the kernel, so it listens for SIGTERM itself.
//! The page is in `page.rs`; `run.rs` serves it.

mod page;
mod run;

pub(crate) use run::main;
