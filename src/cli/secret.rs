//! A secret from a person, who types it unseen, or from a pipe.

use std::io::{self, IsTerminal, Read};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::error::{silent, usage};
use super::output::{note, prompt};

/// Longest input that is looked at: keys have some fifty characters.
const INPUT_LEN_MAX: u64 = 4096;

/// Asks for it. `what` it is, for errors.
///
/// # Errors
/// When nothing is given.
pub(crate) async fn ask(question: &str, what: &'static str) -> anyhow::Result<String> {
    let unseen = if io::stdin().is_terminal() { Some(Unseen::begin()?) } else { None };
    if unseen.is_some() {
        prompt(question)?;
    }
    let reading = tokio::task::spawn_blocking(move || read(what, io::stdin().is_terminal()));
    let text = tokio::select! {
        text = reading => text.with_context(|| format!("read the {what}"))?,
        _ = tokio::signal::ctrl_c() => Err(silent()),
    };
    if unseen.is_some() {
        note("")?;
    }
    let text = text?;
    if text.trim().is_empty() {
        return Err(usage(format!("failed to read the {what}: nothing was given; type it, or send it through a pipe")));
    }
    Ok(text)
}

/// One line from a person, everything from a pipe.
fn read(what: &str, from_person: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match from_person {
        true => io::stdin().read_line(&mut text),
        false => io::stdin().lock().take(INPUT_LEN_MAX).read_to_string(&mut text),
    };
    read.with_context(|| format!("read the {what}"))?;
    Ok(text)
}

/// The terminal does not show what is typed, for as long as this lives.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(io::stdin()).context("see how the terminal is set")?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen).context("keep the terminal from showing the key")?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that has gone shows nothing anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
