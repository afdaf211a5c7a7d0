//! Points in time as a user names them.

use jiff::Timestamp;
use skep_proto::model::Moment;

use crate::cli::error::usage;
use crate::cli::format::units::parse_duration;

/// Reads `--since`: a time such as `2026-01-02T13:23:37Z`, a Unix time in seconds, or a span back from `now` such as `42m`.
///
/// # Errors
/// For anything else.
pub(crate) fn since(text: &str, now: Moment) -> anyhow::Result<Moment> {
    let read = unix(text).or_else(|| parse_duration(text).ok().map(|span| now - span)).or_else(|| point(text));
    read.ok_or_else(|| {
        usage(format!(
            "failed to use {text:?} as a time: give a span as in 42m, a Unix time, or a time as in 2026-01-02T13:23:37Z"
        ))
    })
}

fn unix(text: &str) -> Option<Moment> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = whole.parse().ok()?;
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(Moment(seconds.checked_mul(1000)?.checked_add(millis)?))
}

fn point(text: &str) -> Option<Moment> {
    // A day alone and a time without a zone are taken as UTC: nothing else is the same on every machine.
    let spellings = [text.to_owned(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    let read = spellings.iter().find_map(|text| text.parse::<Timestamp>().ok())?;
    u64::try_from(read.as_millisecond()).ok().map(Moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_spelling() {
        let now = Moment(1_767_360_217_000);
        let cases = [
            ("1m30s", 1_767_360_127_000),
            ("1767360217", 1_767_360_217_000),
            ("1767360217.25", 1_767_360_217_250),
            ("2026-01-02T13:23:37Z", 1_767_360_217_000),
            ("2026-01-02T14:23:37+01:00", 1_767_360_217_000),
            ("2026-01-02T13:23:37", 1_767_360_217_000),
            ("2026-01-02", 1_767_312_000_000),
        ];
        for (text, ms) in cases {
            assert_eq!(since(text, now).unwrap(), Moment(ms), "{text}");
        }
        for bad in ["", "yesterday", "-1", "2026-13-01"] {
            assert!(since(bad, now).is_err(), "{bad}");
        }
    }
}
