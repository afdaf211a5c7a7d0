//! What can be wrong with a message.

use super::fields::span_text;
use crate::model::{NameError, ParseIdError};

/// Why a message was refused. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A part that must be there is not.
    #[error("read {message}: {field} is missing")]
    Missing {
        /// Kind of message.
        message: &'static str,
        /// The part.
        field: &'static str,
    },
    /// An enum value that this version does not know.
    #[error("read {message}: {value} is no known {field}")]
    Unknown {
        /// Kind of message.
        message: &'static str,
        /// The part.
        field: &'static str,
        /// What was given.
        value: i32,
    },
    /// A number outside its range.
    #[error("use {value} as {field}: it must be between {min} and {max}")]
    Range {
        /// The part, in the user's words.
        field: &'static str,
        /// What was given.
        value: u64,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// A span outside its range.
    #[error("use {} as {field}: it must be between {} and {}", span_text(*ms), span_text(*min_ms), span_text(*max_ms))]
    Span {
        /// The part, in the user's words.
        field: &'static str,
        /// What was given.
        ms: u64,
        /// Shortest allowed.
        min_ms: u64,
        /// Longest allowed.
        max_ms: u64,
    },
    /// A text of the wrong form.
    #[error("use {value:?} as {field}: {rule}")]
    Form {
        /// The part, in the user's words.
        field: &'static str,
        /// What was given.
        value: String,
        /// What it must look like.
        rule: &'static str,
    },
    /// Bytes that are no unlock key.
    #[error("read the unlock key: it must have 32 bytes")]
    UnlockKey,
    /// Bytes that are no id.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// A malformed name.
    #[error(transparent)]
    Name(#[from] NameError),
}
