//! Decimal numbers without floats.

/// Takes `1.5`, `.5` or `2` apart into its digits before and after the point; at least one digit must be there.
pub(super) fn split_decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let some = !whole.is_empty() || !fraction.is_empty();
    (some && digits(whole) && digits(fraction)).then_some((whole, fraction))
}

/// `whole.fraction` times `unit`, cut to a whole number; `None` beyond 63 bits.
pub(super) fn scale(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    // 18 digits after the point are finer than one part in the largest unit, and their product fits 128 bits.
    let fraction = &fraction[..fraction.len().min(18)];
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = u128::from(whole) * u128::from(unit) + u128::from(part) * u128::from(unit) / power;
    i64::try_from(total).ok().and_then(|total| u64::try_from(total).ok())
}
