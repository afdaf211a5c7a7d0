//! Turns the table of system calls into a filter program: ranges of numbers with the same answer, found by binary search.

use super::CapabilitySet;
use super::syscalls::{NEWEST, REFUSED, UNKNOWN, Verdict, verdicts};

/// One instruction of classic BPF. *Source:* `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the condition holds.
    pub jump_true: u8,
    /// Instructions to skip if it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`: number, architecture, first argument's lower and upper half (little endian).
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;
const AT_ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// The kernel's name of the architecture that this was built for. *Source:* `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
pub const ARCHITECTURE: u32 = 0xC000_003E;
/// The kernel's name of the architecture that this was built for. *Source:* `linux/audit.h`.
#[cfg(target_arch = "aarch64")]
pub const ARCHITECTURE: u32 = 0xC000_00B7;

/// Numbers from `from` up to the next range have one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: u32,
    verdict: Verdict,
}

/// The filter for a container with these capabilities.
#[must_use]
pub fn filter(capabilities: CapabilitySet) -> Vec<Instruction> {
    let ranges = ranges(&verdicts(capabilities), u32::try_from(NEWEST).unwrap_or(u32::MAX - 1));
    let mut program = vec![
        instruction(LOAD, AT_ARCHITECTURE),
        branch(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        answer(UNKNOWN),
        instruction(LOAD, AT_NUMBER),
    ];
    program.extend(search(&ranges));
    program
}

fn ranges(table: &[(u32, Verdict)], newest: u32) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut push = |from, verdict| {
        if ranges.last().map(|r| r.verdict) != Some(verdict) {
            ranges.push(Range { from, verdict });
        }
    };
    let mut next = 0;
    for (number, verdict) in table {
        if *number > next {
            push(next, REFUSED);
        }
        push(*number, *verdict);
        next = number + 1;
    }
    if next <= newest {
        push(next, REFUSED);
    }
    // This takes the x32 numbers of x86_64 as well: they start at 0x40000000.
    push(next.max(newest + 1), UNKNOWN);
    ranges
}

/// A tree of comparisons: the left half follows at once, the right half after it.
fn search(ranges: &[Range]) -> Vec<Instruction> {
    if let [only] = ranges {
        return leaf(only.verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (left, right) = (search(low), search(high));
    let mut program = match u8::try_from(left.len()) {
        Ok(skip) => vec![branch(JUMP_AT_LEAST, high[0].from, skip, 0)],
        // Conditional jumps reach 255 instructions; past that an unconditional one carries on.
        Err(_) => vec![
            branch(JUMP_AT_LEAST, high[0].from, 0, 1),
            instruction(JUMP, u32::try_from(left.len()).unwrap_or(u32::MAX)),
        ],
    };
    program.extend(left);
    program.extend(right);
    program
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow | Verdict::Errno(_) => vec![answer(verdict)],
        Verdict::NoneOf(bits) => {
            let test = branch(JUMP_SET, bits, 1, 0);
            vec![instruction(LOAD, AT_ARGUMENT), test, answer(Verdict::Allow), answer(REFUSED)]
        }
        Verdict::Neither([one, other]) => {
            let tests = [branch(JUMP_EQUAL, one, 2, 0), branch(JUMP_EQUAL, other, 1, 0)];
            [&[instruction(LOAD, AT_ARGUMENT)], &tests[..], &[answer(Verdict::Allow), answer(REFUSED)]].concat()
        }
        Verdict::OneOf(values) => one_of(values),
    }
}

/// The kernel reads these arguments as 32 bits, so the upper half need not be looked at.
fn one_of(values: &[u32]) -> Vec<Instruction> {
    let mut program = vec![instruction(LOAD, AT_ARGUMENT)];
    for (index, value) in values.iter().enumerate() {
        // Behind the remaining comparisons and the refusal stands the permission.
        let skip = u8::try_from(values.len() - index).expect("the lists have five entries");
        program.push(branch(JUMP_EQUAL, *value, skip, 0));
    }
    program.extend([answer(REFUSED), answer(Verdict::Allow)]);
    program
}

fn answer(verdict: Verdict) -> Instruction {
    match verdict {
        Verdict::Errno(number) => instruction(RETURN, ERRNO | u32::from(number)),
        _ => instruction(RETURN, ALLOW),
    }
}

fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

fn branch(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests;
