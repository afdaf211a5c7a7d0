//! Small steps that every conversion takes.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ConvertError;
use crate::model::moment::millis;
use crate::model::{Meta, Moment};
use crate::pb;

/// Longest span that a spec may name: a year. Longer is a typing error.
const SPAN_MS_MAX: u64 = 366 * 24 * 3600 * 1000;

/// Takes a part that must be there.
///
/// # Errors
/// [`ConvertError::Missing`].
pub fn required<T>(part: Option<T>, message: &'static str, field: &'static str) -> Result<T, ConvertError> {
    part.ok_or(ConvertError::Missing { message, field })
}

/// A moment where zero means none.
#[must_use]
pub fn moment(ms: u64) -> Option<Moment> {
    (ms != 0).then_some(Moment(ms))
}

/// Zero for none.
pub(super) fn moment_ms(moment: Option<Moment>) -> u64 {
    moment.map_or(0, |m| m.0)
}

/// A span of at most a year.
pub(super) fn span(ms: u64, field: &'static str) -> Result<Duration, ConvertError> {
    span_in(ms, field, 0..=SPAN_MS_MAX)
}

/// A span within its bounds.
pub(super) fn span_in(ms: u64, field: &'static str, bounds: RangeInclusive<u64>) -> Result<Duration, ConvertError> {
    if bounds.contains(&ms) {
        return Ok(Duration::from_millis(ms));
    }
    Err(ConvertError::Span { field, ms, min_ms: *bounds.start(), max_ms: *bounds.end() })
}

/// A span in the largest unit that holds it whole, as a user would write it.
pub(super) fn span_text(ms: u64) -> String {
    let units = [(24 * 3_600_000, " days"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

/// A span as milliseconds.
pub(super) fn span_ms(span: Duration) -> u64 {
    millis(span)
}

/// A number within its bounds.
pub(super) fn in_range(value: u64, field: &'static str, min: u64, max: u64) -> Result<u64, ConvertError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(ConvertError::Range { field, value, min, max }) }
}

/// A port from `min`.
pub(super) fn port(value: u32, field: &'static str, min: u64) -> Result<u16, ConvertError> {
    let value = in_range(value.into(), field, min, u16::MAX.into())?;
    Ok(u16::try_from(value).expect("checked against the largest port"))
}

/// Reads meta and the id's bytes.
pub(super) fn meta(part: Option<pb::Meta>, message: &'static str) -> Result<(Vec<u8>, Meta), ConvertError> {
    let part = required(part, message, "meta")?;
    let meta = Meta { version: part.version, created_at: Moment(part.created_at), updated_at: Moment(part.updated_at) };
    Ok((part.id, meta))
}

/// Writes meta with the id's bytes.
pub(super) fn meta_out(id: Vec<u8>, meta: &Meta) -> Option<pb::Meta> {
    Some(pb::Meta { id, version: meta.version, created_at: meta.created_at.0, updated_at: meta.updated_at.0 })
}

/// Collects conversions of a list.
pub(super) fn each<A, B>(items: Vec<A>) -> Result<Vec<B>, ConvertError>
where
    B: TryFrom<A, Error = ConvertError>,
{
    items.into_iter().map(B::try_from).collect()
}

/// The error for an enum value that this version does not know.
pub(super) fn unknown(message: &'static str, field: &'static str, value: i32) -> ConvertError {
    ConvertError::Unknown { message, field, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_out_of_bounds_is_told_as_a_user_would_write_it() {
        let told = |ms| span_in(ms, "the heartbeat period", 100..=600_000).unwrap_err().to_string();
        assert_eq!(told(99), "use 99ms as the heartbeat period: it must be between 100ms and 10m");
        assert_eq!(told(3_600_000), "use 1h as the heartbeat period: it must be between 100ms and 10m");
        assert_eq!(span_in(100, "x", 100..=200), Ok(Duration::from_millis(100)));
        let year = span(u64::MAX, "the restart delay").unwrap_err().to_string();
        assert!(year.ends_with("as the restart delay: it must be between 0ms and 366 days"), "{year}");
    }
}
