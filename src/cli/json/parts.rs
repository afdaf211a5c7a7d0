//! Small steps that every object takes.

use jiff::Timestamp;
use serde_json::Value;
use skep_proto::model::id::to_text;
use skep_proto::pb;

/// How Go prints a time that is not set.
pub(crate) const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The text of an id; nothing for one that is not set.
pub(crate) fn id_text(bytes: &[u8]) -> String {
    <[u8; 16]>::try_from(bytes).map(|bytes| to_text(u128::from_be_bytes(bytes))).unwrap_or_default()
}

/// Unix milliseconds as Docker prints a time.
pub(crate) fn time(ms: u64) -> String {
    let read = i64::try_from(ms).ok().filter(|ms| *ms != 0).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    read.map_or_else(|| NO_TIME.to_owned(), |time| time.to_string())
}

/// The list, or null when it is empty.
pub(crate) fn or_null<T: Into<Value>>(items: Vec<T>) -> Value {
    if items.is_empty() { Value::Null } else { items.into() }
}

/// The text, or null when it is empty.
pub(crate) fn text_or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// The number, or null when it is zero.
pub(crate) fn number_or_null(number: u64) -> Value {
    if number == 0 { Value::Null } else { number.into() }
}

/// The id of an object.
pub(crate) fn meta_id(meta: Option<&pb::Meta>) -> String {
    meta.map(|meta| id_text(&meta.id)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        assert_eq!(time(1_795_455_292_991), "2026-11-23T17:34:52.991Z");
        assert_eq!(time(1_795_455_292_000), "2026-11-23T17:34:52Z");
        assert_eq!(time(0), NO_TIME);
        assert_eq!(time(u64::MAX), NO_TIME);
    }

    #[test]
    fn ids_are_text() {
        assert_eq!(id_text(&[0; 16]), "0".repeat(25));
        assert_eq!(id_text(&[]), "");
    }
}
