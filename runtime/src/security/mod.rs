//! What a container's program may do: Docker's default profile, which its images were tried under.
//!
//! **Owns** the capability set ([`capability`]), the system call filter ([`syscalls`] says what, [`seccomp`] how) and the
//! lookup of users ([`user`]). All of it is pure; [`sys`] hands the results to the kernel, in the container's init.
//!
//! **Order.** Bounding set, then filter, then user, then capability sets. Loading a filter without `no_new_privs` takes
//! `CAP_SYS_ADMIN`, so it comes before that is given away; what follows it (setuid, capset, prctl, execve) passes the filter.
//! `no_new_privs` is not set, as in Docker: it would stop `sudo` and `ping` in images that carry them.
//!
//! **The filter is ours**, not a library's: a linear chain over some 350 system calls takes the kernel 0.8 ms to check and
//! convert at each load, a binary search over ranges of numbers 0.04 ms, and it is shorter at each call too.
//!
//! **Not covered**: other instruction sets of the same machine (32-bit programs on x86_64) get `ENOSYS` for everything.
//!
//! Read next: [`syscalls`].

pub mod capability;
pub mod seccomp;
pub mod sys;
pub mod syscalls;
pub mod user;

pub use capability::{CapabilitySet, UnknownCapability};
pub use user::{Identity, UnknownUser};
