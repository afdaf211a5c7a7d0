//! Which system calls Docker's default profile lets through, and on which conditions.
//!
//! The table says yes to what it names; everything else gets `EPERM`, and numbers above the newest one it knows get `ENOSYS`
//! so that programs fall back to older calls. io_uring is left out, as in Docker since version 25.

use libc::c_long;

use super::CapabilitySet;

/// Answer to one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it through.
    Allow,
    /// Refuse it with this error number.
    Errno(u16),
    /// Let it through if bits 32 of its first argument have none of these set.
    NoneOf(u32),
    /// Let it through if its first argument is one of these.
    OneOf(&'static [u32]),
    /// Let it through unless its first argument is one of these two.
    Neither([u32; 2]),
}

/// Flags of `clone` that make namespaces: all of them but the user's time. *Source:* clone(2).
const NAMESPACE_FLAGS: u32 = 0x7E02_0000;

/// Personalities that change nothing dangerous: Linux, Linux of 32 bits, the two with `UNAME26`, and the question.
const PERSONALITIES: &[u32] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Addresses of the machine's hypervisor, out of every namespace.
const AF_VSOCK: u32 = 40;
/// The kernel's own ciphers: much code that programs do not need, and where holes were found. *Source:* Docker.
const AF_ALG: u32 = 38;

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// What every other call gets.
pub const REFUSED: Verdict = Verdict::Errno(EPERM);
/// What calls get that are newer than the table.
pub const UNKNOWN: Verdict = Verdict::Errno(ENOSYS);

macro_rules! numbers {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Calls that every container may make, on every architecture.
const COMMON: &[c_long] = numbers!(
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_adjtime
    SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect SYS_copy_file_range
    SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve
    SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fanotify_mark
    SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr
    SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex
    SYS_futex_waitv SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups
    SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid
    SYS_getresuid SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid
    SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch
    SYS_io_cancel SYS_ioctl SYS_io_destroy SYS_io_getevents SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit
    SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat
    SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier
    SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap
    SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink
    SYS_mremap SYS_mseal SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap
    SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv
    SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead
    SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat2
    SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo
    SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_getaffinity
    SYS_sched_getattr SYS_sched_getparam SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam
    SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile
    SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid
    SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_set_robust_list SYS_setsid
    SYS_setsockopt SYS_set_tid_address SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown
    SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync
    SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete
    SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice
    SYS_wait4 SYS_waitid SYS_write SYS_writev
);

/// Calls that only the oldest architecture has, and everyone may make there.
#[cfg(target_arch = "x86_64")]
const NATIVE: &[c_long] = numbers!(
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_getrlimit
    SYS_get_thread_area SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open
    SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_setrlimit
    SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
);
/// Calls of this architecture that everyone may make.
#[cfg(not(target_arch = "x86_64"))]
const NATIVE: &[c_long] = numbers!(SYS_getrlimit SYS_renameat SYS_setrlimit);

/// `io_pgetevents`, which the libc crate does not name on every architecture. *Source:* the kernel's tables of system calls.
#[cfg(target_arch = "x86_64")]
pub const IO_PGETEVENTS: c_long = 333;
/// `io_pgetevents`, which the libc crate does not name on every architecture. *Source:* the kernel's tables of system calls.
#[cfg(not(target_arch = "x86_64"))]
pub const IO_PGETEVENTS: c_long = 292;

/// Calls that the libc crate does not name on every architecture, by their number, which is the same on all: cachestat,
/// fchmodat2, map_shadow_stack, futex_wake, futex_wait, futex_requeue, statmount, listmount, lsm_get_self_attr, lsm_set_self_attr,
/// lsm_list_modules are 451 to 461; of these only what Docker lets through.
const NEWER: &[c_long] = &[IO_PGETEVENTS, 451, 452, 453, 454, 455, 456, 457, 458];

/// The newest call that the table has an opinion on (`mseal`).
pub const NEWEST: c_long = libc::SYS_mseal;

/// What holding a capability adds.
const BY_CAPABILITY: &[(&str, &[c_long])] = &[
    ("DAC_READ_SEARCH", numbers!(SYS_open_by_handle_at)),
    (
        "SYS_ADMIN",
        numbers!(
            SYS_bpf SYS_clone SYS_clone3 SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick SYS_lookup_dcookie
            SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree SYS_perf_event_open SYS_quotactl SYS_quotactl_fd
            SYS_setdomainname SYS_sethostname SYS_setns SYS_syslog SYS_umount2 SYS_unshare
        ),
    ),
    ("SYS_BOOT", numbers!(SYS_reboot)),
    ("SYS_CHROOT", numbers!(SYS_chroot)),
    ("SYS_MODULE", numbers!(SYS_delete_module SYS_finit_module SYS_init_module)),
    ("SYS_PACCT", numbers!(SYS_acct)),
    ("SYS_PTRACE", numbers!(SYS_kcmp SYS_pidfd_getfd SYS_process_madvise SYS_process_vm_readv SYS_process_vm_writev)),
    ("SYS_TIME", numbers!(SYS_settimeofday SYS_clock_settime)),
    ("SYS_TTY_CONFIG", numbers!(SYS_vhangup)),
    ("SYS_NICE", numbers!(SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node)),
    ("SYSLOG", numbers!(SYS_syslog)),
    ("BPF", numbers!(SYS_bpf)),
    ("PERFMON", numbers!(SYS_perf_event_open)),
    #[cfg(target_arch = "x86_64")]
    ("SYS_RAWIO", numbers!(SYS_iopl SYS_ioperm)),
];

/// Every call with an answer of its own, by number, for a container with these capabilities.
#[must_use]
pub fn verdicts(capabilities: CapabilitySet) -> Vec<(u32, Verdict)> {
    let mut table: Vec<(c_long, Verdict)> = vec![
        (libc::SYS_clone, Verdict::NoneOf(NAMESPACE_FLAGS)),
        // Its flags lie in memory, where a filter cannot look: libc falls back to clone.
        (libc::SYS_clone3, UNKNOWN),
        (libc::SYS_personality, Verdict::OneOf(PERSONALITIES)),
        (libc::SYS_socket, Verdict::Neither([AF_ALG, AF_VSOCK])),
    ];
    let granted = BY_CAPABILITY.iter().filter(|(name, _)| capabilities.has(name)).flat_map(|(_, calls)| *calls);
    let allowed: Vec<c_long> = COMMON.iter().chain(NATIVE).chain(NEWER).chain(granted).copied().collect();
    table.retain(|(number, _)| !allowed.contains(number));
    table.extend(allowed.into_iter().map(|number| (number, Verdict::Allow)));
    let numbered = table.into_iter().filter_map(|(number, verdict)| Some((u32::try_from(number).ok()?, verdict)));
    let mut numbered: Vec<(u32, Verdict)> = numbered.collect();
    numbered.sort_unstable_by_key(|(number, _)| *number);
    numbered.dedup_by_key(|(number, _)| *number);
    numbered
}
