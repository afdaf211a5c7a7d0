//! Durations: in words for people, and in Go's notation for flags and `inspect`.

use super::decimal::{scale, split_decimal};
use crate::cli::format::error::FormatError;
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Go's units with their nanoseconds. The longer name stands before its own end, so that `ms` is not read as `s`.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
];

/// A duration in Docker's words: `Less than a second`, `About a minute`, `3 weeks`.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Hours are rounded to the nearest one, as Docker does: 90 minutes are 2 hours.
    let hours = (seconds + 1_800) / 3_600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1_440) => format!("{} weeks", hours / 24 / 7),
        (.., 1_440..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3_600 / 24 / 365),
    }
}

/// An age in Docker's words: `About a minute ago`.
pub(crate) fn ago(age: Duration) -> String {
    format!("{} ago", human_duration(age))
}

/// A duration as Go prints it: `1h0m0s`, `2.5s`, `100ms`, `0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    match (duration.as_secs(), nanos) {
        (0, 0) => "0s".to_owned(),
        (0, 1..1_000) => format!("{nanos}ns"),
        (0, 1_000..1_000_000) => format!("{}µs", decimal(nanos.into(), 1_000, 3)),
        (0, _) => format!("{}ms", decimal(nanos.into(), 1_000_000, 6)),
        (seconds, _) => {
            let rest = format!("{}s", decimal(seconds % 60 * NANOS_PER_SECOND + u64::from(nanos), NANOS_PER_SECOND, 9));
            match (seconds / 3_600, seconds / 60 % 60) {
                (0, 0) => rest,
                (0, minutes) => format!("{minutes}m{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
            }
        }
    }
}

/// `amount / unit` with up to `digits` digits after the point, and no zeros at the end.
fn decimal(amount: u64, unit: u64, digits: usize) -> String {
    let text = format!("{}.{:0digits$}", amount / unit, amount % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a duration in Go's notation: `1m30s`, `100ms`, `1.5h`, `0`.
///
/// # Errors
/// [`FormatError::ReadDuration`] for anything else, a negative duration, and one of more than 292 years;
/// [`FormatError::TooFine`] for one that would be cut to nothing, since we count in milliseconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, FormatError> {
    let duration = read(text).ok_or_else(|| FormatError::ReadDuration { text: text.to_owned() })?;
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        return Err(FormatError::TooFine { text: text.to_owned() });
    }
    Ok(duration)
}

fn read(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos = 0_u64;
    loop {
        let (part, after) = read_part(rest)?;
        nanos = nanos.checked_add(part).filter(|sum| i64::try_from(*sum).is_ok())?;
        rest = after;
        if rest.is_empty() {
            return Some(Duration::from_nanos(nanos));
        }
    }
}

/// Reads one number with its unit; gives its nanoseconds and what follows.
fn read_part(text: &str) -> Option<(u64, &str)> {
    let length = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, after) = text.split_at(length);
    let (whole, fraction) = split_decimal(number)?;
    let (name, unit) = UNITS.iter().find(|(name, _)| after.starts_with(name))?;
    Some((scale(whole, fraction, *unit)?, &after[name.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn human_words_are_dockers() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (2, "2 seconds"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3_599, "59 minutes"),
            (3_600, "About an hour"),
            (5_399, "About an hour"),
            (5_400, "2 hours"),
            (47 * 3_600, "47 hours"),
            (48 * 3_600, "2 days"),
            (13 * 86_400, "13 days"),
            (14 * 86_400, "2 weeks"),
            (21 * 86_400, "3 weeks"),
            (59 * 86_400, "8 weeks"),
            (60 * 86_400, "2 months"),
            (729 * 86_400, "24 months"),
            (730 * 86_400, "2 years"),
        ];
        for (seconds, words) in cases {
            assert_eq!(human_duration(Duration::from_secs(seconds)), words, "{seconds} s");
        }
        assert_eq!(human_duration(Duration::from_millis(999)), "Less than a second");
        assert_eq!(ago(Duration::from_secs(300)), "5 minutes ago");
    }

    #[test]
    fn durations_print_as_in_go() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_100_000, "1.1ms"),
            (2_500_000_000, "2.5s"),
            (90_000_000_000, "1m30s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (7_776_000_000_000_000, "2160h0m0s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn durations_read_as_in_go() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("0h0m1s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("10000us", 10_000_000),
            ("10000µs", 10_000_000),
            ("1.0000000000000000000009s", 1_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_refused() {
        for text in ["", "+", "5", "-5s", "s", ".s", "1x", "1s2", "1 s", "10000000h", "99999999999999999999s", "1..5s"]
        {
            assert_eq!(parse_duration(text), Err(FormatError::ReadDuration { text: text.to_owned() }), "{text}");
        }
    }

    #[test]
    fn less_than_a_millisecond_is_refused_and_not_taken_for_nothing() {
        for text in ["1ns", "999us", "0.0009s"] {
            assert_eq!(parse_duration(text), Err(FormatError::TooFine { text: text.to_owned() }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos in 1_000_000..i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&go_duration(duration)), Ok(duration));
        }

        #[test]
        fn reading_never_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
