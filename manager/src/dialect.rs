//! The dialect: how managers write the log, and speak to each other of it.
//!
//! Every manager applies the log by itself. One whose binary does not know a change, or reads it otherwise, would pass over it in silence, and
//! from then on have another state than the others. So managers take part only among those that speak their dialect. Who speaks another is
//! refused by whoever hears it first, with both numbers and before anything of it counts: no entry, no vote and no snapshot passes either
//! way, and nobody of it is let in. While managers are replaced by those of another dialect, the dialect that most speak decides, and a
//! manager that is restarted with it gets from the others what it has missed. Workers have no part in this.

/// What this binary speaks. To be raised by one whenever a manager of before would read an entry or a snapshot otherwise than one of now,
/// or not at all: a new kind of change, a field that decides something, another rule in `apply`.
pub const DIALECT: u32 = 1;

/// Another manager speaks another dialect. One of before there were any says 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "understand the other manager: its skep is {} than this one's (it speaks dialect {theirs} of the log, and this one {DIALECT}); have all \
     managers run the same version",
    if theirs < &DIALECT { "older" } else { "newer" }
)]
pub struct OtherDialect {
    /// What it speaks.
    pub theirs: u32,
}

/// Whether this manager understands who speaks that.
///
/// # Errors
/// When it does not.
pub fn understand(theirs: u32) -> Result<(), OtherDialect> {
    if theirs == DIALECT { Ok(()) } else { Err(OtherDialect { theirs }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_dialect_is_understood_and_a_refusal_tells_which_is_older() {
        assert_eq!(understand(DIALECT), Ok(()));
        assert!(understand(DIALECT - 1).unwrap_err().to_string().contains("its skep is older"));
        assert!(understand(DIALECT + 1).unwrap_err().to_string().contains("its skep is newer"));
    }
}
