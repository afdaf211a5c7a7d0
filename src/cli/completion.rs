//! `completion`: a script that teaches a shell our words.

use std::io;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::args::Arguments;
use super::output::print;
use crate::exit::Exit;

/// Flags of `completion`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionFlags {
    /// Which shell
    #[arg(value_enum)]
    shell: ShellWord,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ShellWord {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(flags: &CompletionFlags) -> anyhow::Result<Exit> {
    let script = script(flags.shell)?;
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

fn script(shell: ShellWord) -> io::Result<Vec<u8>> {
    let shell = match shell {
        ShellWord::Bash => Shell::Bash,
        ShellWord::Zsh => Shell::Zsh,
        ShellWord::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "skep", &mut script);
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_the_commands() {
        for shell in ShellWord::value_variants() {
            let script = String::from_utf8(script(*shell).unwrap()).unwrap();
            assert!(script.contains("service") && script.contains("join-token"), "{shell:?}");
        }
    }
}
