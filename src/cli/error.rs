//! How an error is told: one lowercase sentence on standard error, and a number.

use std::fmt;

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

impl std::error::Error for Ended {}

/// Wrong usage that clap could not see.
pub(crate) fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Ended { exit: Exit::Usage, sentence: sentence.into() }.into()
}

/// The number for an error.
pub(crate) fn exit(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Ended>().map_or(Exit::Failed, |ended| ended.exit)
}

/// The sentence for an error. What the daemon said is passed on as it is; the chain of our own errors is joined.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return ended.sentence.clone();
    }
    let texts: Vec<String> = error.chain().map(told).collect();
    let mut text = texts.join(": ");
    if !error.chain().any(|e| e.is::<tonic::Status>()) {
        text.insert_str(0, "failed to ");
    }
    text
}

fn told(error: &(dyn std::error::Error + 'static)) -> String {
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
    fn our_own_chain_becomes_one_sentence() {
        let error = Err::<(), _>(std::io::Error::other("gone")).context("read the archive x.tar").unwrap_err();
        assert_eq!(sentence(&error), "failed to read the archive x.tar: gone");
    }

    #[test]
    fn wrong_usage_has_its_own_number() {
        let error = usage("give a name");
        assert_eq!((sentence(&error).as_str(), exit(&error)), ("give a name", Exit::Usage));
    }
}
