//! How a member of an earlier era is told: it is refused, and the refusal names the era that it was refused for.

use skep_proto::model::Era;
use tonic::{Code, Status};

/// The header of the refusal.
const HEADER: &str = "skep-era";

/// The refusal.
pub(super) fn superseded(ours: Era) -> Status {
    let words = "failed to take the message: the cluster was made anew without its sender, which has to join again";
    let mut status = Status::new(Code::FailedPrecondition, words);
    let number = ours.0.to_string().parse().expect("digits are a header");
    status.metadata_mut().insert(HEADER, number);
    status
}

/// The era that a refusal names.
pub(super) fn era_of(status: &Status) -> Option<Era> {
    status.metadata().get(HEADER)?.to_str().ok()?.parse().ok().map(Era)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_era_and_no_other_refusal_does() {
        assert_eq!(era_of(&superseded(Era(7))), Some(Era(7)));
        assert_eq!(era_of(&Status::unavailable("later")), None);
    }
}
