//! How an error is told: one lowercase sentence on standard error, and a number.

use std::error::Error;
use std::fmt;

use super::format::error::FormatError;
use crate::exit::Exit;

/// An error that ends with another number than 1.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The number.
    pub(crate) exit: Exit,
    /// The sentence.
    pub(crate) sentence: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for Ended {}

/// Wrong usage that clap could not see.
pub(crate) fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Ended { exit: Exit::Usage, sentence: sentence.into() }.into()
}

/// The end of a command whose reader has gone: nobody is left to tell.
pub(crate) fn silent() -> anyhow::Error {
    Ended { exit: Exit::Failed, sentence: String::new() }.into()
}

/// A wait that took longer than the user would.
pub(crate) fn timed_out(sentence: String) -> anyhow::Error {
    Ended { exit: Exit::TimedOut, sentence }.into()
}

/// What went well and what did not, each in its order.
pub(crate) fn parted<T>(results: Vec<anyhow::Result<T>>) -> (Vec<T>, Vec<anyhow::Error>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

/// Joins the errors of a command that does the same for each of its arguments. The number is theirs if they agree.
///
/// # Errors
/// When there is at least one.
pub(crate) fn all(mut errors: Vec<anyhow::Error>) -> anyhow::Result<()> {
    if errors.len() <= 1 {
        return errors.pop().map_or(Ok(()), Err);
    }
    let exits: Vec<Exit> = errors.iter().map(exit).collect();
    let exit = if exits.iter().all(|one| *one == exits[0]) { exits[0] } else { Exit::Failed };
    let sentences: Vec<String> = errors.iter().map(sentence).collect();
    Err(Ended { exit, sentence: sentences.join("\n") }.into())
}

/// The number for an error. Words of the user that could not be read are wrong usage.
pub(crate) fn exit(error: &anyhow::Error) -> Exit {
    let usage = if error.is::<FormatError>() { Exit::Usage } else { Exit::Failed };
    error.downcast_ref::<Ended>().map_or(usage, |ended| ended.exit)
}

/// The sentence for an error. What the daemon said is passed on as it is; the chain of our own errors is joined.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return ended.sentence.clone();
    }
    if let Some(why) = error.chain().find_map(broken) {
        return format!(
            "failed to hear the daemon out: the connection broke off ({why}); does it still run? its log tells more"
        );
    }
    let texts: Vec<String> = error.chain().map(told).collect();
    let mut text = texts.join(": ");
    if !error.chain().any(|e| e.is::<tonic::Status>()) {
        text.insert_str(0, "failed to ");
    }
    text
}

/// What lies at the bottom of a broken connection: the layers between only add that they failed, too. A status that the daemon sent
/// has no cause here.
fn broken(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = error.downcast_ref::<tonic::Status>()?.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

fn told(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<tonic::Status>().map_or_else(|| error.to_string(), |status| status.message().to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_daemons_words_are_passed_on() {
        let error = anyhow::Error::from(tonic::Status::not_found("failed to find service web"));
        assert_eq!(sentence(&error), "failed to find service web");
        assert_eq!(exit(&error), Exit::Failed);
    }

    #[test]
    fn a_broken_connection_is_told_by_what_lies_at_its_bottom() {
        let cause = std::io::Error::other(std::io::Error::other("broken pipe"));
        let error = anyhow::Error::from(tonic::Status::from_error(Box::new(cause)));
        let told = sentence(&error);
        assert!(told.starts_with("failed to hear the daemon out: the connection broke off (broken pipe)"), "{told}");
    }

    #[test]
    fn our_own_chain_becomes_one_sentence() {
        let error = Err::<(), _>(std::io::Error::other("gone")).context("read the archive x.tar").unwrap_err();
        assert_eq!(sentence(&error), "failed to read the archive x.tar: gone");
    }

    #[test]
    fn errors_of_several_arguments_are_told_line_by_line() {
        assert!(all(Vec::new()).is_ok());
        let error = all(vec![usage("one"), usage("two")]).unwrap_err();
        assert_eq!((sentence(&error).as_str(), exit(&error)), ("one\ntwo", Exit::Usage));
        let error = all(vec![usage("one"), tonic::Status::not_found("failed to find b").into()]).unwrap_err();
        assert_eq!((sentence(&error).as_str(), exit(&error)), ("one\nfailed to find b", Exit::Failed));
    }

    #[test]
    fn wrong_usage_has_its_own_number() {
        let error = usage("give a name");
        assert_eq!((sentence(&error).as_str(), exit(&error)), ("give a name", Exit::Usage));
    }
}
