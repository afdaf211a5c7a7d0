//! Real containers of busybox: what the kernel enforces, what survives a restart of the daemon, and that nothing stays.
//!
//! The binary runs itself again as the shim, hence the main function. As root: `cargo test -p skep-runtime --test containers [NAME]`.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch files and wait; the runner prints")]

mod adoption;
mod isolation;
mod life;
mod lifeline;
mod limits;
mod support;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

/// One test: the name is the claim.
pub(crate) type Test = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == "shim") {
        return skep_runtime::shim::main(&args[2..]);
    }
    if !nix::unistd::geteuid().is_root() || !std::path::Path::new(support::BUSYBOX).exists() {
        println!("SKIP containers: needs root and {}", support::BUSYBOX);
        return if std::env::var_os("SKEP_REQUIRE_ALL").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let filter = args.iter().skip(1).find(|a| !a.to_string_lossy().starts_with('-'));
    let wanted = |name: &str| filter.is_none_or(|f| name.contains(&*f.to_string_lossy()));
    let groups = [life::TESTS, limits::TESTS, isolation::TESTS, adoption::TESTS, lifeline::TESTS];
    let tests: Vec<Test> = groups.concat().into_iter().filter(|(name, _)| wanted(name)).collect();
    let failed = tests.iter().filter(|test| !passes(test)).count();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {failed} failed", tests.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes((name, test): &Test) -> bool {
    let passed = std::panic::catch_unwind(AssertUnwindSafe(test)).is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}
