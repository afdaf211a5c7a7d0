//! The device rules as a program that the kernel runs whenever a member of a v2 group makes or opens a device node: v2 has no
//! file for rules. *Source:* the kernel's `admin-guide/cgroup-v2.rst`, "Device controller", and `bpf/standardization/instruction-set.rst`.

use super::devices::Rule;

/// One instruction of eBPF. *Source:* `struct bpf_insn` of `linux/bpf.h`, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// The target register in the lower half, the source register in the upper.
    pub registers: u8,
    /// Bytes from the source register's address, or instructions to skip.
    pub offset: i16,
    /// Constant.
    pub operand: i32,
}

const LOAD: u8 = 0x61;
const COPY: u8 = 0xbc;
const COPY_CONSTANT: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNEQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// What the program returns, in this register.
const ANSWER: u8 = 0;
/// Where the question is when the program begins.
const QUESTION: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Offsets in `struct bpf_cgroup_dev_ctx`: the kind of device with the access above it, then the two numbers.
const AT_KIND_AND_ACCESS: i16 = 0;
const AT_MAJOR: i16 = 4;
const AT_MINOR: i16 = 8;

const KIND_BITS: u32 = 16;
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

const DENY: i32 = 0;
const ALLOW: i32 = 1;

/// The program that allows what one of `rules` permits: loads the question into registers, then asks rule after rule.
#[must_use]
pub fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(MAJOR, AT_MAJOR),
        load(MINOR, AT_MINOR),
        load(ACCESS, AT_KIND_AND_ACCESS),
        copy(KIND, ACCESS),
        constant(AND, KIND, (1 << KIND_BITS) - 1),
        constant(SHIFT_RIGHT, ACCESS, KIND_BITS.cast_signed()),
    ];
    program.extend(rules.iter().flat_map(|rule| permission(*rule)));
    program.extend(answer(DENY));
    program
}

/// Conditions, each of which skips to the end of this rule when it does not hold, and the permission.
fn permission(rule: Rule) -> Vec<Instruction> {
    let mut program = vec![Condition::Equal(KIND, if rule.block { BLOCK } else { CHARACTER })];
    program.extend(rule.major.map(|major| Condition::Equal(MAJOR, major.cast_signed())));
    program.extend(rule.minor.map(|minor| Condition::Equal(MINOR, minor.cast_signed())));
    program.push(Condition::Within(rule.access.cast_signed()));
    let mut instructions = answer(ALLOW).to_vec();
    for condition in program.into_iter().rev() {
        let skip = i16::try_from(instructions.len()).expect("a rule has fewer than ten instructions");
        instructions.splice(0..0, condition.instructions(skip));
    }
    instructions
}

enum Condition {
    /// The register has this value.
    Equal(u8, i32),
    /// The access is none but these.
    Within(i32),
}

impl Condition {
    fn instructions(&self, skip: i16) -> Vec<Instruction> {
        let unequal = |register, operand| Instruction { offset: skip, ..constant(JUMP_UNEQUAL, register, operand) };
        match *self {
            Self::Equal(register, value) => vec![unequal(register, value)],
            Self::Within(access) => vec![copy(ANSWER, ACCESS), constant(AND, ANSWER, !access), unequal(ANSWER, 0)],
        }
    }
}

fn answer(value: i32) -> [Instruction; 2] {
    [constant(COPY_CONSTANT, ANSWER, value), constant(EXIT, ANSWER, 0)]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD, registers: register | QUESTION << 4, offset, operand: 0 }
}

fn copy(register: u8, from: u8) -> Instruction {
    Instruction { code: COPY, registers: register | from << 4, offset: 0, operand: 0 }
}

fn constant(code: u8, register: u8, operand: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, operand }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::devices::{ALLOWED, MAKE, READ, WRITE};
    use super::*;

    /// Runs the program in a small interpreter, so that the answers are checked and not the shape.
    fn run(program: &[Instruction], block: bool, access: u32, numbers: (u32, u32)) -> u32 {
        let kind = if block { BLOCK } else { CHARACTER }.cast_unsigned();
        let question = [kind | access << KIND_BITS, numbers.0, numbers.1];
        let (mut at, mut registers) = (0, [0_u32; 6]);
        loop {
            let i = program[at];
            let (target, source) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let operand = i.operand.cast_unsigned();
            at += 1;
            match i.code {
                LOAD => registers[target] = question[usize::try_from(i.offset / 4).unwrap()],
                COPY => registers[target] = registers[source],
                COPY_CONSTANT => registers[target] = operand,
                AND => registers[target] &= operand,
                SHIFT_RIGHT => registers[target] >>= operand,
                JUMP_UNEQUAL if registers[target] != operand => at += usize::try_from(i.offset).unwrap(),
                JUMP_UNEQUAL => {}
                EXIT => return registers[0],
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn standard_nodes_are_open_and_the_machines_are_not() {
        let program = program(&ALLOWED);
        let cases = [
            (false, READ | WRITE, (1, 3), 1),
            (false, READ, (1, 9), 1),
            (false, WRITE, (136, 17), 1),
            (false, READ | WRITE, (5, 2), 1),
            (false, MAKE, (1, 1), 1),
            (true, MAKE, (8, 0), 1),
            (false, READ, (1, 1), 0),
            (true, READ, (8, 0), 0),
            (true, READ, (1, 3), 0),
            (true, MAKE | READ, (8, 0), 0),
            (false, WRITE, (10, 237), 0),
        ];
        for (block, access, numbers, expected) in cases {
            assert_eq!(run(&program, block, access, numbers), expected, "{block} {access} {numbers:?}");
        }
    }

    #[test]
    fn without_rules_nothing_is_allowed() {
        assert_eq!(run(&program(&[]), false, READ, (1, 3)), 0);
    }

    proptest! {
        #[test]
        fn program_agrees_with_the_rules(block: bool, access in 1_u32..8, major in 0_u32..140, minor in 0_u32..12) {
            let fits = |wanted: Option<u32>, number| wanted.is_none_or(|w| w == number);
            let allowed = ALLOWED.iter().any(|rule| {
                rule.block == block && fits(rule.major, major) && fits(rule.minor, minor) && access & !rule.access == 0
            });
            prop_assert_eq!(run(&program(&ALLOWED), block, access, (major, minor)), u32::from(allowed));
        }
    }
}
