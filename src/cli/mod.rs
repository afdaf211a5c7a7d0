//! The command line: Docker's words in, calls to the local socket, Docker's tables out.
//!
//! A file or folder is a command family: [`service`], [`node`], [`swarm`], [`image`], [`container`], [`info`], [`version`],
//! [`inspect`], [`backup`], [`completion`]. Each reads its flags into a request, calls the daemon through [`connect`], and hands plain
//! values to [`mod@format`], which decides on every character that a person or a script sees. A command ends in an
//! [`Exit`]; an error becomes one sentence on standard error here, and nowhere else.
//!
//! *Shared*: [`flags`] reads the small languages of single flags, [`json`] shows objects as Docker's API does, [`list`] and
//! [`log`] hold what all listings and all logs take, [`misuse`] tells what was wrong with a command line, [`wait`] waits until a
//! service has converged, which [`convergence`] understands; [`output`] alone touches the terminal and the clock.
//!
//! *Pure* are [`flags`], [`json`], [`mod@format`], [`names`], [`misuse`] and [`convergence`]; in the command files, everything but `run` and
//! what it calls with `await`. Those are tested as values; the rest is tested as a process, against a made-up daemon.
//!
//! *Where to read next*: [`args`] for the tree of commands, then [`service`].

pub(crate) mod args;
pub(crate) mod backup;
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
pub(crate) mod misuse;
pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod output;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod swarm;
pub(crate) mod version;
pub(crate) mod wait;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::exit::Exit;

/// Parses, runs, and turns the outcome into words and a number.
pub(crate) fn main() -> ExitCode {
    let matches = misuse::greedy(args::Arguments::command()).try_get_matches();
    let arguments = match matches.and_then(|mut found| args::Arguments::from_arg_matches_mut(&mut found)) {
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

/// Help and version are answers, the rest is wrong usage. A command family named without a command gets its list of commands.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            // Whoever closed our output does not want the help.
            let _ = error.print();
        }
        _ => {
            let words: Vec<OsString> = env::args_os().skip(1).collect();
            eprintln!("skep: {}", misuse::sentence(error, &args::Arguments::command(), &words));
        }
    }
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}
