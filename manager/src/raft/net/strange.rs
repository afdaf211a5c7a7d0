//! How a member that speaks another dialect is told: it is refused, and the refusal is known from any other.

use tonic::{Code, Status};

use crate::dialect::OtherDialect;

/// The header of the refusal: what whoever refuses speaks.
const HEADER: &str = "skep-dialect";

/// The refusal.
pub(super) fn refusal(error: &OtherDialect) -> Status {
    let mut status = Status::new(Code::FailedPrecondition, format!("failed to {error}"));
    status.metadata_mut().insert(HEADER, crate::dialect::DIALECT.into());
    status
}

/// Why a member does not understand us, in its words; `None`: that is not why.
pub(super) fn not_understood(status: &Status) -> Option<&str> {
    match status.code() {
        // One of before there were dialects has no such call.
        Code::Unimplemented => Some("its skep is older than this one's; have all managers run the same version"),
        _ => status.metadata().get(HEADER).map(|_| status.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_the_dialect_is_known_from_others() {
        let told = refusal(&OtherDialect { theirs: 99 });
        assert!(not_understood(&told).unwrap().contains("newer"));
        assert!(not_understood(&Status::unimplemented("")).unwrap().contains("older"));
        assert_eq!(not_understood(&Status::failed_precondition("something else")), None);
    }
}
