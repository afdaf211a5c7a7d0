//! The exit codes: a contract that scripts rely on. Nothing else in the program names a number.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and converged where there was something to wait for.
    Done,
    /// Failed; one sentence is on standard error.
    Failed,
    /// Called wrongly.
    Usage,
    /// Done, but the update was rolled back.
    RolledBack,
    /// The wait timed out; the work goes on in the background.
    TimedOut,
}

impl Exit {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::RolledBack => 3,
            Self::TimedOut => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
