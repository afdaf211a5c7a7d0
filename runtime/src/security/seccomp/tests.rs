//! Runs filters in a small interpreter, so that the answers are checked and not the shape.

use proptest::prelude::*;

use super::*;

fn run(program: &[Instruction], architecture: u32, number: u32, argument: u32) -> u32 {
    let (mut at, mut value) = (0, 0);
    loop {
        let i = program[at];
        let condition = match i.code {
            LOAD => {
                value = [(AT_NUMBER, number), (AT_ARCHITECTURE, architecture), (AT_ARGUMENT, argument)]
                    .iter()
                    .find(|(offset, _)| *offset == i.operand)
                    .unwrap()
                    .1;
                at += 1;
                continue;
            }
            RETURN => return i.operand,
            JUMP => {
                at += 1 + i.operand as usize;
                continue;
            }
            JUMP_EQUAL => value == i.operand,
            JUMP_AT_LEAST => value >= i.operand,
            JUMP_SET => value & i.operand != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += 1 + usize::from(if condition { i.jump_true } else { i.jump_false });
    }
}

fn ask(program: &[Instruction], number: libc::c_long, argument: u32) -> u32 {
    run(program, ARCHITECTURE, u32::try_from(number).unwrap(), argument)
}

const DENIED: u32 = ERRNO | 1;
const NO_SUCH_CALL: u32 = ERRNO | 38;

#[test]
fn default_profile_lets_work_through_and_keeps_mounts_out() {
    let program = filter(CapabilitySet::default());
    let cases = [
        (libc::SYS_read, 0, ALLOW),
        (libc::SYS_execve, 0, ALLOW),
        (libc::SYS_chroot, 0, ALLOW),
        (libc::SYS_mount, 0, DENIED),
        (libc::SYS_unshare, 0, DENIED),
        (libc::SYS_io_uring_setup, 0, DENIED),
        (libc::SYS_bpf, 0, DENIED),
        (libc::SYS_clone3, 0, NO_SUCH_CALL),
        (libc::SYS_clone, libc::SIGCHLD as u32, ALLOW),
        (libc::SYS_clone, libc::CLONE_NEWUSER as u32, DENIED),
        (libc::SYS_personality, 0x8, ALLOW),
        (libc::SYS_personality, 0x40000, DENIED),
        (libc::SYS_personality, 0xffff_ffff, ALLOW),
        (libc::SYS_socket, 2, ALLOW),
        (libc::SYS_socket, 39, ALLOW),
        (libc::SYS_socket, 40, DENIED),
        (libc::SYS_socket, 38, DENIED),
        (crate::security::syscalls::IO_PGETEVENTS, 0, ALLOW),
        (libc::SYS_keyctl, 0, DENIED),
        (libc::SYS_userfaultfd, 0, DENIED),
        (libc::SYS_pidfd_getfd, 0, DENIED),
        (libc::SYS_process_madvise, 0, DENIED),
        (NEWEST + 1, 0, NO_SUCH_CALL),
        (0x4000_0000, 0, NO_SUCH_CALL),
    ];
    for (number, argument, expected) in cases {
        assert_eq!(ask(&program, number, argument), expected, "call {number} with {argument:#x}");
    }
}

#[test]
fn capabilities_open_their_calls() {
    let add = ["SYS_ADMIN".to_owned()];
    let program = filter(CapabilitySet::tweaked(&add, &[]).unwrap());
    for number in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_clone3, libc::SYS_setns] {
        assert_eq!(ask(&program, number, 0), ALLOW);
    }
    assert_eq!(ask(&program, libc::SYS_clone, libc::CLONE_NEWUSER as u32), ALLOW);
    assert_eq!(ask(&program, libc::SYS_reboot, 0), DENIED);
}

#[test]
fn foreign_architecture_gets_no_call() {
    let program = filter(CapabilitySet::ALL);
    assert_eq!(run(&program, 0x4000_0003, 1, 0), NO_SUCH_CALL);
}

#[test]
fn program_stays_short() {
    assert!(filter(CapabilitySet::default()).len() < 250, "{}", filter(CapabilitySet::default()).len());
}

proptest! {
    #[test]
    fn search_agrees_with_the_table(number in 0u32..600, bits in 0u64..(1 << 41)) {
        let names: Vec<String> = (0..41).filter(|b| bits & (1 << b) != 0).filter_map(name).collect();
        let capabilities = CapabilitySet::tweaked(&names, &["ALL".to_owned()]).unwrap();
        let table = verdicts(capabilities);
        let expected = match table.iter().find(|(n, _)| *n == number).map(|(_, v)| *v) {
            Some(Verdict::Errno(e)) => ERRNO | u32::from(e),
            Some(_) => ALLOW,
            None if i64::from(number) > NEWEST => NO_SUCH_CALL,
            None => DENIED,
        };
        prop_assert_eq!(run(&filter(capabilities), ARCHITECTURE, number, 0), expected);
    }
}

fn name(bit: u64) -> Option<String> {
    let names = ["SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_PTRACE", "SYS_TIME", "SYSLOG", "BPF"];
    names.get(usize::try_from(bit).ok()?).map(|n| (*n).to_owned())
}
