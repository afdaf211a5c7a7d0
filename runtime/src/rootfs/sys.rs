//! Carries the plan out, in the container's init: single-threaded, in its own mount namespace, still privileged.
#![expect(clippy::disallowed_methods, reason = "driver: makes mounts and files")]

use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, makedev, mknodat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, getcwd, pivot_root};

use super::mounts::{FILES, Restrict, takes_single_layers};
use super::{Overlay, Step};

/// Keeps what happens in here from the machine: nothing that is mounted from now on is seen outside.
///
/// # Errors
/// The kernel's refusal.
pub fn make_private() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
}

/// Bytes of all generated files. The container can write into them: beyond this it is told that the device is full. The memory counts
/// as the container's.
const FILES_SPACE: &str = "mode=755,size=4m";

/// Makes the generated files in a filesystem of their own in memory, over `dir`, and opens them as mounts that can be attached
/// after the pivot. They go with the container, and neither the machine's disk nor its memory pays for what is written into them.
///
/// # Errors
/// The kernel's refusal.
pub fn make_files(dir: &Path, contents: &[String]) -> io::Result<Vec<OwnedFd>> {
    let space = CString::new(FILES_SPACE)?;
    mount("tmpfs", dir, "tmpfs", flags(Restrict { no_exec: true, no_dev: true, read_only: false }), Some(&*space))?;
    let make = |(at, text): (&&str, &String)| {
        let path = dir.join(at.trim_start_matches("/etc/"));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.write_all(text.as_bytes())?;
        // Every user of the container may read it, whatever this process's umask.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(open_tree(CWD, &path, flags)?)
    };
    FILES.iter().zip(contents).map(make).collect()
}

/// Mounts the overlay on its target and makes it the root; the old root is gone afterwards.
///
/// # Errors
/// The kernel's refusal.
pub fn enter(overlay: &Overlay) -> io::Result<()> {
    // The release is asked instead of trying: a kernel that does not know the new way logs an error for each try.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if takes_single_layers(&release) {
        mount_layers(overlay)?
    } else {
        mount_in_one_call(overlay)?
    }
    chdir(&overlay.target)?;
    pivot_root(".", ".")?;
    // The old root lies on top of the new one now; taking it off uncovers the new one.
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

fn mount_layers(overlay: &Overlay) -> io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in overlay.layers.iter().rev() {
        fsconfig_set_string(context.as_fd(), "lowerdir+", layer)?;
    }
    fsconfig_set_string(context.as_fd(), "upperdir", &overlay.upper)?;
    fsconfig_set_string(context.as_fd(), "workdir", &overlay.work)?;
    fsconfig_set_flag(context.as_fd(), "volatile")?;
    fsconfig_create(context.as_fd())?;
    let tree = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(move_mount(tree.as_fd(), "", CWD, &overlay.target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Longest option string that the old call takes: a page less its final zero. Beyond it the kernel would cut layers off.
const OPTIONS_MAX: usize = 4095;

/// The old call, for kernels without `lowerdir+`. Layers are named from their common parent to fit into its 4 KiB; if they still
/// do not, they get shorter names.
fn mount_in_one_call(overlay: &Overlay) -> io::Result<()> {
    let parent = overlay.layers.last().and_then(|l| l.parent()).unwrap_or(Path::new("/"));
    chdir(parent)?;
    let short = |layer: &PathBuf| escaped(layer.strip_prefix(parent).unwrap_or(layer));
    let names: Vec<Vec<u8>> = overlay.layers.iter().rev().map(short).collect();
    let mut options = one_call_options(overlay, &names);
    if options.len() > OPTIONS_MAX {
        options = one_call_options(overlay, &number_layers(overlay)?);
    }
    let options = CString::new(options)?;
    Ok(mount("overlay", &overlay.target, "overlay", MountFlags::empty(), Some(options.as_c_str()))?)
}

fn one_call_options(overlay: &Overlay, layers: &[Vec<u8>]) -> Vec<u8> {
    let (upper, work) = (escaped(&overlay.upper), escaped(&overlay.work));
    [b"volatile,lowerdir=".as_slice(), &layers.join(&b':'), b",upperdir=", &upper, b",workdir=", &work].concat()
}

/// Makes links to the layers that have numbers for names, highest layer first, and enters their directory: a filesystem in memory
/// beneath the root's mount point, so that it goes with the old root.
fn number_layers(overlay: &Overlay) -> io::Result<Vec<Vec<u8>>> {
    mount("tmpfs", &overlay.target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
    chdir(&overlay.target)?;
    let layers = overlay.layers.iter().rev().enumerate();
    layers
        .map(|(number, layer)| {
            let name = number.to_string();
            symlink(layer, &name)?;
            Ok(name.into_bytes())
        })
        .collect()
}

/// Commas and colons separate options and layers.
fn escaped(path: &Path) -> Vec<u8> {
    let special = |b: &u8| matches!(b, b',' | b':' | b'\\');
    path.as_os_str().as_bytes().iter().flat_map(|b| special(b).then_some(b'\\').into_iter().chain([*b])).collect()
}

/// Carries one step out; `files` are those of [`open_files`].
///
/// # Errors
/// The kernel's refusal.
pub fn perform(step: &Step, files: &[OwnedFd]) -> io::Result<()> {
    match step {
        Step::Mount { kind, at, options, restrict } => mount_filesystem(kind, at, options, *restrict),
        Step::Device { at, numbers } => make_device(at, *numbers),
        Step::Link { at, to } => Ok(symlink(to, at)?),
        Step::Parameter { at, value } => set_parameter(at, value),
        Step::File { at, read_only } => attach_file(at, *read_only, files),
        Step::Freeze { at } => freeze(at),
        Step::Seal { at } => Ok(mount_remount(*at, SEALED, "")?),
        Step::Mask { at } => mask(at),
    }
}

/// Makes the root itself read-only; what is mounted in it stays as it is.
///
/// # Errors
/// The kernel's refusal.
pub fn freeze_root() -> io::Result<()> {
    Ok(mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "")?)
}

/// Mounts on a directory and on nothing else. Through a link of the image the mount would lie elsewhere, and the steps that hide
/// and freeze parts of it, which go by its path, would miss it: with a `/proc` that leads to `/`, the kernel's own parameters would
/// be open to the container at `/..`.
fn mount_filesystem(kind: &str, at: &str, options: &str, restrict: Restrict) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Ok(found) if !found.is_dir() => {
            return Err(io::Error::other("the image has a link or a file there, where a directory must be"));
        }
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => make_directory(Path::new(at))?,
        Err(e) => return Err(e),
    }
    let text = CString::new(options)?;
    let data = (!options.is_empty()).then_some(text.as_c_str());
    Ok(mount(kind, at, kind, flags(restrict), data)?)
}

fn flags(restrict: Restrict) -> MountFlags {
    let mut flags = MountFlags::NOSUID;
    flags.set(MountFlags::NOEXEC, restrict.no_exec);
    flags.set(MountFlags::NODEV, restrict.no_dev);
    flags.set(MountFlags::RDONLY, restrict.read_only);
    flags
}

fn make_device(at: &str, (major, minor): (u32, u32)) -> io::Result<()> {
    // The umask is zero here, so the node is open to everyone as it should be.
    Ok(mknodat(CWD, at, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?)
}

fn set_parameter(at: &str, value: &str) -> io::Result<()> {
    match fs::write(at, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn attach_file(at: &str, read_only: bool, files: &[OwnedFd]) -> io::Result<()> {
    let Some(file) = FILES.iter().position(|f| *f == at).and_then(|i| files.get(i)) else { return Ok(()) };
    let attach = || {
        move_mount(
            file.as_fd(),
            "",
            CWD,
            at,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
        )
    };
    match attach() {
        Err(Errno::NOENT) => {
            make_empty(Path::new(at))?;
            attach()?;
        }
        Err(Errno::INVAL) => return Err(io::Error::other("the image has a directory there, where a file must be")),
        other => other?,
    }
    if read_only { Ok(mount_remount(at, MountFlags::BIND | MountFlags::RDONLY, "")?) } else { Ok(()) }
}

/// Makes a directory that the image lacks, with those above it, for its owner alone to write: there is no umask that would see to it.
fn make_directory(at: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(at)
}

/// Makes a mount point. A dangling link of the image is replaced.
fn make_empty(at: &Path) -> io::Result<()> {
    if let Some(parent) = at.parent() {
        make_directory(parent)?;
    }
    let create = || OpenOptions::new().create(true).append(true).mode(0o644).open(at);
    match create() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::remove_file(at)?;
            create().map(drop)
        }
        other => other.map(drop),
    }
}

const SEALED: MountFlags = MountFlags::BIND
    .union(MountFlags::RDONLY)
    .union(MountFlags::NOSUID)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NODEV);

fn freeze(at: &str) -> io::Result<()> {
    match mount_bind_recursive(at, at) {
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(()) => Ok(mount_remount(at, SEALED, "")?),
    }
}

/// Asks what is there before it tries: a mount of a file on a directory fails only when it was made already, and unmaking it waits for
/// every processor.
fn mask(at: &str) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(found) if found.is_dir() => Ok(mount("tmpfs", at, "tmpfs", SEALED - MountFlags::BIND, c"size=0k")?),
        _ => Ok(rustix::mount::mount_bind("/dev/null", at)?),
    }
}

/// Makes the working directory if it is missing, owned by whom the program runs as, and goes there.
///
/// # Errors
/// The kernel's refusal, as when it is a file.
pub fn enter_workdir(path: &str, owner: (u32, u32)) -> io::Result<()> {
    let path = Path::new(OsStr::from_bytes(path.as_bytes()));
    if !path.exists() {
        fs::create_dir_all(path)?;
        std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1))?;
    }
    chdir(path)?;
    // A path through /proc could lead to a directory of the machine that a descriptor is still open on. The kernel gives what lies
    // outside the root no path from `/`. Source: CVE-2024-21626.
    match getcwd(Vec::new())?.as_bytes().first() {
        Some(b'/') => Ok(()),
        _ => Err(io::Error::other("it lies outside the container")),
    }
}

/// Reads a file of the container's root for the lookup of users, at most `bound` bytes. Missing ones are empty.
#[must_use]
pub fn read_text(path: &str, bound: u64) -> String {
    let mut bytes = Vec::new();
    if let Some(file) = open_own(path) {
        let _ = file.take(bound).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Opens a regular file of the image itself. A link of it may lead to a file of another filesystem, such as the kernel's log, that
/// this process, which still has all its rights, must not read for it; and a pipe there would keep it waiting for ever.
fn open_own(path: &str) -> Option<fs::File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let file = fs::File::from(openat2(CWD, path, flags, Mode::empty(), resolve).ok()?);
    file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
}

/// Opens what the program reads as its standard input: the container's own device, not the machine's, whose rights the program
/// could change through the descriptor.
///
/// # Errors
/// The kernel's refusal.
pub fn open_input() -> io::Result<fs::File> {
    fs::File::open("/dev/null")
}
