//! Prints an error with everything that caused it. Error texts never contain their source, so nothing is said twice.

use std::error::Error;
use std::fmt;

/// Borrows an error to print its whole chain, outermost first, joined by `: `.
#[derive(Debug)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

/// The printable chain of `error`.
#[must_use]
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the log")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = Outer(std::io::Error::other("disk is gone"));
        assert_eq!(chain(&error).to_string(), "open the log: disk is gone");
    }
}
