//! Amounts as people write and read them: byte sizes, CPUs, durations, ids and names.
//!
//! *In*: exact numbers (bytes, billionths of a CPU, [`std::time::Duration`]) or the user's text. *Out*: the other one.
//!
//! *Invariants*: reading is exact, without a float in between, so that `0.1` CPU is 100,000,000 and never one less; what
//! [`go_duration`] writes, [`parse_duration`] reads back to the nanosecond; every amount that is read fits 63 bits, the
//! range of Docker's API.
//!
//! *Where to read next*: [`duration`], [`size`], [`name`].

mod duration;
mod name;
mod size;

pub(crate) use duration::{ago, go_duration, human_duration, parse_duration};
pub(crate) use name::{ellipsis, natural_cmp, short_id};
pub(crate) use size::{binary_size, decimal_size, parse_cpus, parse_size};

/// Takes `1.5`, `.5` or `2` apart into its digits before and after the point; at least one digit must be there.
fn split_decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let some = !whole.is_empty() || !fraction.is_empty();
    (some && digits(whole) && digits(fraction)).then_some((whole, fraction))
}

/// `whole.fraction` times `unit`, cut to a whole number; `None` beyond 63 bits.
fn scale(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    // 18 digits after the point are finer than one part in the largest unit, and their product fits 128 bits.
    let fraction = &fraction[..fraction.len().min(18)];
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = u128::from(whole) * u128::from(unit) + u128::from(part) * u128::from(unit) / power;
    i64::try_from(total).ok().and_then(|total| u64::try_from(total).ok())
}
