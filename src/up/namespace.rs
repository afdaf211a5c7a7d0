//! Named network namespaces, as `ip netns` would make them, so that its users can look inside.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` keeps them.
const FOLDER: &str = "/run/netns";

/// The file that holds a namespace.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Makes the namespace unless it is there.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn ensure(name: &str) -> anyhow::Result<()> {
    if enter_file(name).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(FOLDER).with_context(|| format!("make {FOLDER}"))?;
    let target = path(name);
    OpenOptions::new().create(true).append(true).open(&target).with_context(|| format!("make {}", target.display()))?;
    let made = thread::spawn(move || {
        // The thread is new, so nobody else is moved; the mount keeps the namespace when the thread has ended.
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
    });
    let made = made.join().map_err(|_| anyhow!("make network namespace {name}: its thread broke off"))?;
    made.with_context(|| format!("make network namespace {name}"))
}

/// Opens the namespace, if it is one.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn enter_file(name: &str) -> anyhow::Result<File> {
    let path = path(name);
    let file = File::open(&path).with_context(|| format!("open network namespace {name}"))?;
    let kind = nix::sys::statfs::fstatfs(&file).with_context(|| format!("look at {}", path.display()))?;
    if kind.filesystem_type() == nix::sys::statfs::NSFS_MAGIC {
        Ok(file)
    } else {
        Err(anyhow!("open network namespace {name}: {} is not one", path.display()))
    }
}

/// Runs a call inside the namespace, on a thread of its own that ends with it. Processes that it starts stay there.
///
/// # Errors
/// When there is no such namespace, or the call fails.
pub(crate) fn inside<T: Send + 'static>(
    name: &str,
    call: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let file = enter_file(name)?;
    let done = thread::spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        call()
    });
    done.join().map_err(|_| anyhow!("work in network namespace {name}: its thread broke off"))?
}

/// Lets go of the namespace; it ends with its last process.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn remove(name: &str) -> anyhow::Result<()> {
    let path = path(name);
    // Not mounted is as good as unmounted: a killed `up` may have come no further.
    let _ = umount2(&path, MntFlags::MNT_DETACH);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
