//! Which gRPC code an error of the local calls gets, and its sentence: the whole chain, told as what failed.

use std::error::Error;

use skep_proto::chain::chain;
use skep_runtime::RuntimeError;
use skep_runtime::image::ImageError;
use tonic::{Code, Status};

/// Longest sentence, characters. Some words in it are an archive's or an image's; the transport takes 16 KiB in all, and a reader less.
const SENTENCE_MAX: usize = 1_000;

/// An error with a code.
fn with_code(code: Code, error: &(dyn Error + 'static)) -> Status {
    Status::new(code, bounded(&format!("failed to {}", chain(error))))
}

fn bounded(sentence: &str) -> String {
    match sentence.char_indices().nth(SENTENCE_MAX) {
        None => sentence.to_owned(),
        Some((end, _)) => format!("{}…", &sentence[..end]),
    }
}

/// Something the caller wrote wrongly.
pub(crate) fn invalid(error: &(dyn Error + 'static)) -> Status {
    with_code(Code::InvalidArgument, error)
}

/// Something about an image.
pub(crate) fn image_status(error: &ImageError) -> Status {
    let code = match error {
        ImageError::NotFound { .. } => Code::NotFound,
        _ => Code::FailedPrecondition,
    };
    with_code(code, error)
}

/// Something about a container.
pub(crate) fn runtime_status(error: &RuntimeError) -> Status {
    let code = match error {
        RuntimeError::NotFound { .. } => Code::NotFound,
        _ => Code::Internal,
    };
    with_code(code, error)
}

/// Something about membership. `anyhow` chains are told like the others.
pub(crate) fn membership_status(error: &anyhow::Error) -> Status {
    let texts: Vec<String> = error.chain().map(told).collect();
    let mut sentence = texts.join(": ");
    if !error.chain().any(|part| part.is::<Status>()) {
        sentence.insert_str(0, "failed to ");
    }
    Status::failed_precondition(sentence)
}

fn told(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<Status>().map_or_else(|| error.to_string(), |status| status.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let long = "ä".repeat(SENTENCE_MAX + 1);
        assert_eq!(bounded(&long).chars().count(), SENTENCE_MAX + 1);
        assert!(bounded(&long).ends_with("ä…"));
    }
}
