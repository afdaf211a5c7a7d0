//! Signal names.

/// Names at the index that is the number minus one. *Source:* signal(7), x86 and ARM.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// First real-time signal that programs may use, and the last.
const REAL_TIME: (i32, i32) = (34, 64);

/// Number of the signal with that name (`SIGTERM`, `term`, `RTMIN+3`) or number.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let index = NAMES.iter().position(|n| *n == bare).and_then(|i| i32::try_from(i + 1).ok());
    index.or_else(|| real_time(bare))
}

fn real_time(bare: &str) -> Option<i32> {
    let number = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(""), _) => REAL_TIME.0,
        (_, Some("")) => REAL_TIME.1,
        (Some(more), _) => REAL_TIME.0.checked_add(more.strip_prefix('+')?.parse().ok()?)?,
        (_, Some(less)) => REAL_TIME.1.checked_sub(less.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals_are_known() {
        let cases =
            [("SIGTERM", 15), ("kill", 9), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("sys", 31), ("RTMAX-1", 63)];
        for (name, expected) in cases {
            assert_eq!(number(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn nonsense_is_no_signal() {
        for name in ["", "SIG", "0", "65", "-1", "RTMIN+99", "RTMIN+x", "TERMINATE"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
