//! The command line: Docker's words in, calls to the local socket, Docker's tables out.
//!
//! A file is a command family. Each reads its flags into a request, calls the daemon through [`connect`], and hands plain
//! values to [`format`], which decides on every character that a person or a script sees. A command ends in an
//! [`Exit`](crate::exit::Exit); an error becomes one sentence on standard error here, and nowhere else.

pub(crate) mod args;
pub(crate) mod completion;
pub(crate) mod connect;
pub(crate) mod container;
pub(crate) mod convergence;
pub(crate) mod error;
pub(crate) mod flags;
pub(crate) mod format;
pub(crate) mod image;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod output;
pub(crate) mod service;
pub(crate) mod swarm;
pub(crate) mod version;
pub(crate) mod wait;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;

/// Parses, runs, and turns the outcome into words and a number.
pub(crate) fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match args::run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A command that did the same for several arguments has a line for each that failed.
            for line in error::sentence(&error).lines() {
                eprintln!("skep: {line}");
            }
            error::exit(&error).into()
        }
    }
}

/// Clap's own words: help and version are answers, the rest is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    // Whoever closed our output does not want the help.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}
