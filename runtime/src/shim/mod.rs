//! The shim: one small process per container that makes it, holds it, and outlives the daemon.
//!
//! **What it is.** A clone of the nursery: our own binary, executed anew once a daemon (`skep shim`), single-threaded, without an
//! async runtime, which does nothing but clone itself when the daemon asks. Cloning from the daemon would copy a large address
//! space and fork a process with threads; executing the binary for each shim would take as long again as all that the shim does,
//! and memory that clones share. The shim clones the container's init, reads its output into log files, waits for it, and writes
//! down how it ended.
//!
//! **Input**: the bundle, the first thing that the daemon says on the connection. **Output**: files in the container's run directory,
//! because files are what a daemon finds that was killed and came back:
//! - `state`: who the shim and the init are (process id and start time), rewritten when the program starts;
//! - `exit`: how the program ended, put there by one rename before the shim ends;
//! - `shim.sock`: where it takes commands ([`protocol`]). The daemon that ordered it has a socket pair on top, whose end came with the order.
//!
//! **How to find it**: it is the parent of the container's first process, is called `skep:shim`, and its working directory is the
//! container's run directory.
//!
//! **Life.** [`stages`] lists what shim and init do, in order, and why in that order. The init stops before the program is
//! executed and waits for the word; then only `execve` is left to do, so that starting is one round trip.
//!
//! **Crash.** Daemon gone before the container was made: the shim sees its socket close and takes the half-made container with
//! it. Daemon gone later: nothing happens, output goes on into the files. Nursery killed: shims go on, and the next order finds it
//! gone and starts another. Shim killed: the init gets SIGKILL from the kernel
//! (parent death signal); a program that changed its user has lost that signal, so the daemon kills the init too.
//!
//! **Why not fork in the daemon, or one shim for many containers?** The first ties every container to the daemon's life, the
//! second ties them to each other's.
//!
//! Read next: [`stages`], [`protocol`], then [`run`].

pub mod protocol;
pub mod run;
pub mod stages;
pub mod sys;

pub use run::main;
