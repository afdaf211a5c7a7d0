//! Sizes in bytes, and CPUs.

use super::decimal::{scale, split_decimal};
use crate::cli::format::error::FormatError;

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size as `image ls` shows it, in powers of 1000 with three digits: `12.3MB`.
///
/// Docker prints 999,900 bytes as `1e+03kB`; we go on to `1MB`.
pub(crate) fn decimal_size(bytes: u64) -> String {
    sized(bytes, 1000.0, 3, DECIMAL)
}

/// A size as `stats` and limits show it, in powers of 1024 with four digits: `1.5GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    sized(bytes, 1024.0, 4, BINARY)
}

fn sized(bytes: u64, base: f64, digits: usize, units: [&str; 7]) -> String {
    // A float is exact enough: it carries 15 digits, and we print four.
    let mut amount = bytes as f64;
    let mut text = String::new();
    for unit in units {
        let shown = significant(amount, digits);
        text = format!("{shown}{unit}");
        // The rounded text decides, so that no unit ever shows its whole base.
        if shown.parse::<f64>().is_ok_and(|shown| shown < base) {
            break;
        }
        amount /= base;
    }
    text
}

/// At most `digits` digits in all, and no zeros at the end of a fraction.
fn significant(amount: f64, digits: usize) -> String {
    let before = format!("{amount:.0}").len();
    let text = format!("{amount:.*}", digits.saturating_sub(before));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Reads a size in bytes: `512m`, `1.5g`, `4GiB`, `100k`, `1024`. Units are powers of 1024, in either case.
///
/// # Errors
/// [`FormatError::ReadSize`] for anything else, and beyond 63 bits.
pub(crate) fn parse_size(text: &str) -> Result<u64, FormatError> {
    read_size(text).ok_or_else(|| FormatError::ReadSize { text: text.to_owned() })
}

fn read_size(text: &str) -> Option<u64> {
    let length = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(length);
    let (whole, fraction) = split_decimal(number)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match letter {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    scale(whole, fraction, 1 << power)
}

/// Reads a number of CPUs into billionths, exactly: `0.5` is 500,000,000.
///
/// # Errors
/// [`FormatError::ReadCpus`] for anything but digits with one point, for more than nine digits after it that are not
/// zero, and beyond 63 bits.
pub(crate) fn parse_cpus(text: &str) -> Result<u64, FormatError> {
    let read = || {
        let (whole, fraction) = split_decimal(text)?;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 9 { None } else { scale(whole, fraction, 1_000_000_000) }
    };
    read().ok_or_else(|| FormatError::ReadCpus { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimal_sizes_are_dockers() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1kB"),
            (1_500, "1.5kB"),
            (1_986_104, "1.99MB"),
            (12_300_000, "12.3MB"),
            (142_000_000, "142MB"),
            (999_900, "1MB"),
            (1_000_000_000, "1GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(decimal_size(bytes), text);
        }
    }

    #[test]
    fn binary_sizes_are_dockers() {
        let cases = [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1KiB"),
            (1_610_612_736, "1.5GiB"),
            (536_870_912, "512MiB"),
            (25_276_502_016, "23.54GiB"),
            (1_048_575, "1MiB"),
            (u64::MAX, "16EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(binary_size(bytes), text);
        }
    }

    #[test]
    fn sizes_are_read_in_every_spelling() {
        let cases = [
            ("0", 0),
            ("1024", 1_024),
            ("32b", 32),
            ("100k", 102_400),
            ("100KB", 102_400),
            ("512m", 536_870_912),
            ("1.5g", 1_610_612_736),
            ("4GiB", 4_294_967_296),
            ("4 gib", 4_294_967_296),
            (".5k", 512),
            ("1.k", 1_024),
            ("1t", 1 << 40),
            ("2P", 2 << 50),
            ("0.1", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_are_refused() {
        for text in
            ["", ".", "k", "-1", "1e3", "1kk", "1ib", "1bb", "1x", "1  k", "1.2.3", "8192p", "99999999999999999999"]
        {
            assert_eq!(parse_size(text), Err(FormatError::ReadSize { text: text.to_owned() }), "{text}");
        }
    }

    #[test]
    fn cpus_are_exact() {
        let cases = [
            ("0", 0),
            ("0.5", 500_000_000),
            (".25", 250_000_000),
            ("2", 2_000_000_000),
            ("0.1", 100_000_000),
            ("1.000000001", 1_000_000_001),
            ("1.5000000000000", 1_500_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_cpus(text), Ok(nanos), "{text}");
        }
        for text in ["", ".", "-1", "1e2", "0.0000000001", "half", "1/2", "9999999999999"] {
            assert_eq!(parse_cpus(text), Err(FormatError::ReadCpus { text: text.to_owned() }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn plain_bytes_read_back(bytes in 0..i64::MAX as u64) {
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn binary_text_reads_back_within_its_digits(bytes in 0..4_u64 << 50) {
            let read = parse_size(&binary_size(bytes)).unwrap();
            prop_assert!(read.abs_diff(bytes) <= bytes / 999, "{} became {}", bytes, read);
        }

        #[test]
        fn cpus_read_back(nanos in 0..1_000_000_000_000_u64) {
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(parse_cpus(&text), Ok(nanos));
        }

        #[test]
        fn reading_never_panics(text in ".{0,40}") {
            let _ = (parse_size(&text), parse_cpus(&text));
        }
    }
}
