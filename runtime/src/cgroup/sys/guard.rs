//! Hands the device program to the kernel.
#![expect(unsafe_code, reason = "loading and attaching a program has no safe wrapper")]
#![expect(clippy::disallowed_methods, reason = "driver: opens cgroupfs")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::c_long;

use super::{CgroupError, Group, make_dir};
use crate::cgroup::devices::ALLOWED;
use crate::cgroup::program::{Instruction, program};

/// Commands and constants of `bpf`. *Source:* bpf(2), `linux/bpf.h`.
const LOAD: c_long = 5;
const ATTACH: c_long = 8;
const KIND_CGROUP_DEVICE: u32 = 15;
const PLACE_CGROUP_DEVICE: u32 = 6;
/// Beside programs of the groups above, which are asked too.
const ALLOW_MULTI: u32 = 2;

/// Asked for by the kernel; the program calls nothing that would need a particular one.
const LICENCE: &std::ffi::CStr = c"Apache-2.0";

/// The program in the kernel, loaded once: that takes ten times as long as attaching it.
#[derive(Debug)]
pub struct DeviceGuard(OwnedFd);

/// The beginning of `union bpf_attr` for [`LOAD`]; what a kernel knows beyond it is zero.
#[repr(C)]
struct Load {
    kind: u32,
    length: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The same for [`ATTACH`].
#[repr(C)]
struct Attach {
    group: RawFd,
    program: RawFd,
    place: u32,
    flags: u32,
}

impl DeviceGuard {
    /// Loads the program.
    ///
    /// # Errors
    /// [`CgroupError::LoadGuard`]: the kernel is older than 4.15, or was built without `CONFIG_CGROUP_BPF`.
    pub fn load() -> Result<Self, CgroupError> {
        Self::loaded(&program(&ALLOWED)).map_err(|source| CgroupError::LoadGuard { source })
    }

    fn loaded(program: &[Instruction]) -> io::Result<Self> {
        let load = Load {
            kind: KIND_CGROUP_DEVICE,
            length: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            instructions: program.as_ptr().addr() as u64,
            licence: LICENCE.as_ptr().addr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: 0,
            name: *b"skep_devices\0\0\0\0",
        };
        // SAFETY: `load` is laid out as the kernel reads it and, like what it points at, outlives the call, which copies.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const load, size_of::<Load>()) };
        let fd = answer(fd)?;
        // SAFETY: the kernel has just made that descriptor, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Puts the program on a v2 group, which is made if it is not there. The group keeps it for as long as it exists.
    ///
    /// # Errors
    /// [`CgroupError::Make`] or [`CgroupError::AttachGuard`].
    pub fn attach(&self, group: &Group) -> Result<(), CgroupError> {
        make_dir(&group.dir)?;
        self.attach_to(group).map_err(|source| CgroupError::AttachGuard { dir: group.dir.clone(), source })
    }

    fn attach_to(&self, group: &Group) -> io::Result<()> {
        let dir = File::open(&group.dir)?;
        let (group, program) = (dir.as_raw_fd(), self.0.as_raw_fd());
        let attach = Attach { group, program, place: PLACE_CGROUP_DEVICE, flags: ALLOW_MULTI };
        // SAFETY: `attach` is laid out as the kernel reads it and outlives the call; both descriptors are open.
        let code = unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const attach, size_of::<Attach>()) };
        answer(code).map(drop)
    }
}

fn answer(code: c_long) -> io::Result<RawFd> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(code).expect("descriptors are small")) }
}
