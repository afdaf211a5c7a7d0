//! The root filesystem of a container: what is mounted where, in which order, and why in that order.
//!
//! **Owns** nothing on the machine: every mount lives in the container's own mount namespace and is gone with its last
//! process, even if everything else of the runtime was killed. Input: layer directories, a writable layer, the texts of three
//! generated files. Output: [`mounts::plan`], a list of [`Step`]s that [`sys`] carries out inside the container's init.
//!
//! **An image is not trusted.** Its `/etc` or `/proc` may be a symbolic link to anywhere. So every step but the very first runs
//! after `pivot_root`, when any path ends inside the container; what comes from the machine is opened before and attached
//! by file descriptor after.
//!
//! **The writable layer is volatile** (overlayfs `volatile`): the kernel does not write it out at unmount or at `fsync`. A
//! container does not survive a reboot, so its layer need not either, and a container's end does not wait for the disk.
//!
//! **Layers go in one call each** (`fsconfig` `lowerdir+`), because the option string of the old call ends at 4 KiB, some thirty
//! layers. Where the kernel lacks that (before 6.5), relative names keep the string short, and where they do not, links that
//! are numbers.
//!
//! Read next: [`mounts`].

pub mod mounts;
pub mod sys;

pub use mounts::{Overlay, RootView, Step, plan};
