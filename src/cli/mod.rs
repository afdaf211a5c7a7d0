//! The command line: Docker's words in, calls to the local socket, Docker's tables out.
//!
//! A file is a command family. Each reads its flags into a request, calls the daemon through [`connect`], and hands plain
//! values to [`format`], which decides on every character that a person or a script sees. A command ends in an
//! [`Exit`](crate::exit::Exit); an error becomes one sentence on standard error here, and nowhere else.

pub(crate) mod args;
pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod format;

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
            eprintln!("skep: {}", error::sentence(&error));
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
