//! Amounts that no machine has, and those that nothing could run with.

use skep_proto::model::Resources;

use super::invalid::Invalid;

/// A thousandth of a CPU: the least that the kernel's scheduler can keep to.
const NANO_CPUS_MIN: u64 = 1_000_000;
/// A million CPUs: more is a typing error, and sums of reservations stay far from overflow.
const NANO_CPUS_MAX: u64 = 1_000_000 * NANO_CPUS_ONE;
/// One CPU.
const NANO_CPUS_ONE: u64 = 1_000_000_000;
/// Docker's least memory: below it not even a shell starts.
const MEMORY_MIN: u64 = 4 << 20;
/// A pebibyte: more is a typing error, and sums stay far from overflow.
const MEMORY_MAX: u64 = 1 << 50;
/// What the kernel can count.
const PIDS_MAX: u64 = 4_194_304;

pub(super) fn resources(part: &Resources) -> Result<(), Invalid> {
    let Resources { nano_cpus, memory_bytes, pids } = *part;
    if !fits(nano_cpus, NANO_CPUS_MIN, NANO_CPUS_MAX) {
        return number("a CPU limit or reservation", cpus(nano_cpus), "between 0.001 and 1000000 CPUs");
    }
    if !fits(memory_bytes, MEMORY_MIN, MEMORY_MAX) {
        return number("a memory limit or reservation", bytes(memory_bytes), "between 4 MiB and 1 PiB");
    }
    if !fits(pids, 1, PIDS_MAX) {
        return number("a limit of processes", pids.to_string(), "between 1 and 4194304");
    }
    Ok(())
}

/// A reservation stays below the limit.
pub(super) fn within(reserved: &Resources, limit: &Resources) -> Result<(), Invalid> {
    let over = |reserved: u64, limit: u64| limit != 0 && reserved > limit;
    if over(reserved.nano_cpus, limit.nano_cpus) {
        return Err(Invalid::OverLimit { reserved: cpus(reserved.nano_cpus), limit: cpus(limit.nano_cpus) });
    }
    if over(reserved.memory_bytes, limit.memory_bytes) {
        let (reserved, limit) = (bytes(reserved.memory_bytes), bytes(limit.memory_bytes));
        return Err(Invalid::OverLimit { reserved, limit });
    }
    Ok(())
}

fn number(field: &'static str, value: String, rule: &'static str) -> Result<(), Invalid> {
    Err(Invalid::Number { field, value, rule })
}

/// Zero is "none" and always fine.
fn fits(value: u64, min: u64, max: u64) -> bool {
    value == 0 || (min..=max).contains(&value)
}

/// As in `0.5 CPUs`, exactly.
fn cpus(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / NANO_CPUS_ONE, nanos % NANO_CPUS_ONE);
    format!("{} CPUs", text.trim_end_matches('0').trim_end_matches('.'))
}

/// In the largest unit that holds it whole.
fn bytes(amount: u64) -> String {
    let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(power, _)| amount != 0 && amount.is_multiple_of(1 << power));
    whole.map_or_else(|| format!("{amount} bytes"), |(power, unit)| format!("{} {unit}", amount >> power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(nano_cpus: u64, memory_bytes: u64, pids: u64) -> Result<(), Invalid> {
        resources(&Resources { nano_cpus, memory_bytes, pids })
    }

    #[test]
    fn resources_have_a_least_and_a_most() {
        assert_eq!(all(NANO_CPUS_MIN, MEMORY_MIN, 1), Ok(()));
        assert_eq!(all(NANO_CPUS_MAX, MEMORY_MAX, PIDS_MAX), Ok(()));
        assert_eq!(all(0, 0, 0), Ok(()), "none");
        assert!(all(NANO_CPUS_MIN - 1, 0, 0).is_err());
        assert!(all(NANO_CPUS_MAX + 1, 0, 0).is_err());
        assert!(all(0, MEMORY_MIN - 1, 0).is_err());
        assert!(all(0, u64::MAX, 0).is_err());
        assert!(all(0, 0, PIDS_MAX + 1).is_err());
    }

    #[test]
    fn amounts_are_told_with_their_units() {
        let told = |refused: Result<(), Invalid>| refused.unwrap_err().to_string();
        let cpu = "use 0.0001 CPUs as a CPU limit or reservation: it must be between 0.001 and 1000000 CPUs";
        assert_eq!(told(all(100_000, 0, 0)), cpu);
        let memory = "use 1 KiB as a memory limit or reservation: it must be between 4 MiB and 1 PiB";
        assert_eq!(told(all(0, 1024, 0)), memory);
        assert!(told(all(0, 5, 0)).starts_with("use 5 bytes as"));
    }

    #[test]
    fn a_reservation_above_the_limit_is_refused() {
        let memory = |memory_bytes| Resources { memory_bytes, ..Resources::default() };
        let cpu = |nano_cpus| Resources { nano_cpus, ..Resources::default() };
        let told = within(&memory(64 << 20), &memory(32 << 20)).unwrap_err().to_string();
        assert_eq!(told, "reserve 64 MiB with a limit of 32 MiB: a task cannot be promised more than it may use");
        let told = within(&cpu(NANO_CPUS_ONE), &cpu(NANO_CPUS_ONE / 2)).unwrap_err().to_string();
        assert!(told.starts_with("reserve 1 CPUs with a limit of 0.5 CPUs"), "{told}");
        assert_eq!(within(&memory(MEMORY_MIN), &memory(MEMORY_MIN)), Ok(()));
        assert_eq!(within(&memory(MEMORY_MIN), &memory(0)), Ok(()), "no limit");
    }
}
