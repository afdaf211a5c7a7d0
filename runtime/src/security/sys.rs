//! Hands capabilities, identity and filter to the kernel, for the calling thread, which must be the process's only one.
#![expect(unsafe_code, reason = "loading a seccomp filter has no safe wrapper")]

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet as KernelSet, CapabilitySets};

use super::seccomp::Instruction;
use super::{CapabilitySet, Identity};

/// Highest capability number that the kernel may know of; the call tells where it really ends.
const CAPABILITIES_MAX: u32 = 63;

/// Takes every capability out of the bounding set that is not in `keep`, so that no program can gain it.
///
/// # Errors
/// The kernel's refusal.
pub fn limit_bounding_set(keep: CapabilitySet) -> io::Result<()> {
    for number in (0..=CAPABILITIES_MAX).filter(|n| keep.bits() & (1 << n) == 0) {
        let single = KernelSet::from_bits_retain(1 << number);
        match thread::remove_capability_from_bounding_set(single) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Becomes `identity`: groups, then group, then user, because the last takes the right to do the others.
///
/// # Errors
/// The kernel's refusal.
pub fn become_user(identity: &Identity) -> io::Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    thread::set_thread_groups(&groups)?;
    let gid = Gid::from_raw(identity.gid);
    thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(identity.uid);
    thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Sets effective and permitted to `keep` as far as the process still has them; inheritable and ambient end up empty.
///
/// # Errors
/// The kernel's refusal.
pub fn limit_capabilities(keep: CapabilitySet) -> io::Result<()> {
    let now = thread::capabilities(None)?;
    let kept = now.permitted & KernelSet::from_bits_retain(keep.bits());
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: KernelSet::empty() };
    thread::set_capabilities(None, sets)?;
    thread::clear_ambient_capability_set()?;
    Ok(())
}

/// Loads the filter. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// The kernel's refusal.
pub fn load_filter(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `header` points at `length` instructions laid out as the kernel's `sock_filter`; the kernel copies them.
    let code = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            0 as libc::c_long,
            &raw const header,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
