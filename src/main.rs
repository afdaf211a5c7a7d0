//! The one binary: the daemon, its command line, each container's shim, and what `skep/hello` runs.

mod cli;
mod daemon;
mod exit;
mod hello;
mod telemetry;
mod up;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

/// A fifth of what a write costs a manager goes to memory that one thread takes and another gives back. Without huge pages, by which
/// the smallest process would have megabytes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The word after the program's name that makes it a container's shim. A shim must stay small and single-threaded, so it is
/// recognised before anything of the command line or of the async runtime is touched.
pub(crate) const SHIM_WORD: &str = "shim";

/// The word that makes it the server inside `skep/hello`.
pub(crate) const HELLO_WORD: &str = "hello";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|word| word.to_str()) {
        Some(SHIM_WORD) => skep_runtime::shim::main(&arguments.collect::<Vec<OsString>>()),
        Some(HELLO_WORD) => hello::main(),
        _ => cli::main(),
    }
}
