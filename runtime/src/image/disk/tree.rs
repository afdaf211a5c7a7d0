//! Writes a layer below one directory and nowhere else.
//!
//! Every directory is opened by one name from its parent's descriptor, never following a link, and nothing that exists is ever
//! replaced but whiteouts. So no member can reach outside, and a directory once opened stays what it was.
//! Owner, rights and times of directories are set last: what is made in them would change their times, and a set-group bit or a
//! default access list would leak into what is made in them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::archive::{Budget, MemberPath, Refusal, names};
use super::super::error::ImageError;
use super::super::header::{Attributes, Kind, Member};

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const CREATE_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Rights of directories that no member describes, as Docker gives them.
const IMPLIED_DIRECTORY_MODE: u32 = 0o755;
/// Says that a directory hides what the layers below have in it (kernel: Documentation/filesystems/overlayfs.rst).
const OPAQUE: (&str, &[u8]) = ("trusted.overlay.opaque", b"y");

/// The directory under construction.
pub(crate) struct Tree {
    root_path: PathBuf,
    root: OwnedFd,
    /// The directories from below the root to the one last used.
    open: Vec<(Vec<u8>, OwnedFd)>,
    directories: BTreeMap<MemberPath, Attributes>,
    /// Bytes of all files.
    pub(crate) file_bytes: u64,
}

/// Why a step failed: by the member's fault or the machine's.
enum Fault {
    Refused(Refusal),
    Machine(Errno),
    Input(io::Error),
    Output(io::Error),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EXIST => Self::Refused(Refusal::Duplicate),
            other => Self::Machine(other),
        }
    }
}

impl Tree {
    /// Starts in an empty directory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn new(root_path: &Path) -> Result<Self, ImageError> {
        let opened = rustix::fs::open(root_path, OPEN_DIRECTORY, Mode::empty());
        let root = opened.map_err(|errno| ImageError::disk("open the layer directory", root_path, errno))?;
        let directories = BTreeMap::from([(MemberPath::default(), implied())]);
        Ok(Self { root_path: root_path.to_owned(), root, open: Vec::new(), directories, file_bytes: 0 })
    }

    /// Adds a member of any kind that is no whiteout by its name.
    ///
    /// # Errors
    /// When the member is refused, its content cannot be read, or the disk is full.
    pub(crate) fn add(
        &mut self,
        member: Member,
        content: impl BufRead,
        budget: &mut Budget<'_>,
    ) -> Result<(), ImageError> {
        let path = member.path.clone();
        self.make(member, content, budget).map_err(|fault| self.error(&path, fault))
    }

    /// Hides a name of the layers below, unless this layer has it itself.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn add_whiteout(
        &mut self,
        path: &MemberPath,
        hidden: &[u8],
        budget: &mut Budget<'_>,
    ) -> Result<(), ImageError> {
        self.make_whiteout(path, hidden, budget).map_err(|fault| self.error(path, fault))
    }

    /// Hides all that the layers below have in the member's directory.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn add_opaque(&mut self, path: &MemberPath, budget: &mut Budget<'_>) -> Result<(), ImageError> {
        self.make_opaque(path, budget).map_err(|fault| self.error(path, fault))
    }

    /// Gives the directories their owners, rights and times, innermost first, since setting a child's needs its parent's rights.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn finish(mut self) -> Result<u64, ImageError> {
        let directories = std::mem::take(&mut self.directories);
        for (path, attributes) in directories.iter().rev() {
            self.finish_directory(path, attributes).map_err(|fault| self.error(path, fault))?;
        }
        Ok(self.file_bytes)
    }

    fn finish_directory(&mut self, path: &MemberPath, attributes: &Attributes) -> Result<(), Fault> {
        self.enter(path.joined(), None)?;
        describe(self.current(), attributes)
    }

    fn error(&self, path: &MemberPath, fault: Fault) -> ImageError {
        match fault {
            Fault::Refused(refusal) => ImageError::member(path.joined(), refusal),
            Fault::Machine(errno) => ImageError::disk("unpack a layer into", &self.root_path, errno),
            Fault::Output(source) => ImageError::disk("unpack a layer into", &self.root_path, source),
            Fault::Input(source) => ImageError::input(source),
        }
    }

    fn make(&mut self, member: Member, content: impl BufRead, budget: &mut Budget<'_>) -> Result<(), Fault> {
        let Some((parents, name)) = member.path.split() else {
            return self.describe_root(member);
        };
        if let Kind::HardLink(target) = &member.kind {
            return self.make_hard_link(target, parents, name, budget);
        }
        self.enter(parents, Some(budget))?;
        match &member.kind {
            Kind::File => self.make_file(name, member.size, &member.attributes, content),
            Kind::Directory => self.make_directory(&member.path, name, member.attributes, budget),
            Kind::Symlink(target) => self.make_symlink(name, target, &member.attributes),
            Kind::Fifo => self.make_fifo(name, &member.attributes),
            Kind::OverlayWhiteout | Kind::HardLink(_) => Ok(self.node(name, FileType::CharacterDevice)?),
        }
    }

    fn describe_root(&mut self, member: Member) -> Result<(), Fault> {
        if member.kind != Kind::Directory {
            return Err(Refusal::BadPath.into());
        }
        self.directories.insert(member.path, member.attributes);
        Ok(())
    }

    fn make_file(
        &mut self,
        name: &[u8],
        size: u64,
        attributes: &Attributes,
        content: impl BufRead,
    ) -> Result<(), Fault> {
        self.clear_whiteout(name)?;
        let fd = rustix::fs::openat(self.current(), name, CREATE_FILE, Mode::from_raw_mode(0o600))?;
        let mut file = std::fs::File::from(fd);
        copy(content, &mut file)?;
        self.file_bytes += size;
        describe(file.as_fd(), attributes)
    }

    /// A directory may be described twice (archives that were appended to do so); the last description counts.
    fn make_directory(
        &mut self,
        path: &MemberPath,
        name: &[u8],
        attributes: Attributes,
        budget: &mut Budget<'_>,
    ) -> Result<(), Fault> {
        let hides = self.clear_whiteout(name)?;
        budget.spend_name(path.joined().len() + attributes.xattr_bytes())?;
        if !self.directories.contains_key(path) {
            rustix::fs::mkdirat(self.current(), name, Mode::RWXU)?;
        }
        self.directories.insert(path.clone(), attributes);
        if hides {
            // The layer hides the name below and has a directory of its own there: nothing of the lower one may show through.
            self.enter(path.joined(), None)?;
            self.set_opaque()?;
        }
        Ok(())
    }

    fn make_symlink(&mut self, name: &[u8], target: &[u8], attributes: &Attributes) -> Result<(), Fault> {
        self.clear_whiteout(name)?;
        rustix::fs::symlinkat(target, self.current(), name)?;
        self.describe_name(name, attributes)
    }

    fn make_fifo(&mut self, name: &[u8], attributes: &Attributes) -> Result<(), Fault> {
        self.clear_whiteout(name)?;
        self.node(name, FileType::Fifo)?;
        rustix::fs::chmodat(self.current(), name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
        self.describe_name(name, attributes)
    }

    fn make_hard_link(
        &mut self,
        target: &MemberPath,
        parents: &[u8],
        name: &[u8],
        budget: &mut Budget<'_>,
    ) -> Result<(), Fault> {
        let (target_parents, target_name) = target.split().ok_or(Refusal::LinkTarget)?;
        self.enter(target_parents, None)?;
        self.check_link_target(target_name)?;
        let target_directory = rustix::io::fcntl_dupfd_cloexec(self.current(), 0)?;
        self.enter(parents, Some(budget))?;
        self.clear_whiteout(name)?;
        Ok(rustix::fs::linkat(target_directory, target_name, self.current(), name, AtFlags::empty())?)
    }

    fn check_link_target(&self, name: &[u8]) -> Result<(), Fault> {
        match self.kind_of(name)? {
            Some(FileType::RegularFile | FileType::Symlink | FileType::Fifo) => Ok(()),
            _ => Err(Refusal::LinkTarget.into()),
        }
    }

    fn make_whiteout(&mut self, path: &MemberPath, hidden: &[u8], budget: &mut Budget<'_>) -> Result<(), Fault> {
        let (parents, _) = path.split().ok_or(Refusal::BadPath)?;
        self.enter(parents, Some(budget))?;
        match self.kind_of(hidden)? {
            None => Ok(self.node(hidden, FileType::CharacterDevice)?),
            Some(FileType::Directory) => {
                self.enter(&[parents, hidden].join(&b'/'), None)?;
                self.set_opaque()
            }
            Some(_) => Ok(()),
        }
    }

    fn make_opaque(&mut self, path: &MemberPath, budget: &mut Budget<'_>) -> Result<(), Fault> {
        let (parents, _) = path.split().ok_or(Refusal::BadPath)?;
        self.enter(parents, Some(budget))?;
        self.set_opaque()
    }

    fn set_opaque(&self) -> Result<(), Fault> {
        Ok(rustix::fs::fsetxattr(self.current(), OPAQUE.0, OPAQUE.1, XattrFlags::empty())?)
    }

    /// Makes a pipe, or a whiteout: overlayfs takes a character device 0/0 for one.
    fn node(&self, name: &[u8], kind: FileType) -> Result<(), Errno> {
        rustix::fs::mknodat(self.current(), name, kind, Mode::RUSR.union(Mode::WUSR), 0)
    }

    /// Takes away a whiteout that an earlier member left where this one wants to be, and says whether there was one.
    fn clear_whiteout(&self, name: &[u8]) -> Result<bool, Fault> {
        let found = self.kind_of(name)? == Some(FileType::CharacterDevice);
        if found {
            rustix::fs::unlinkat(self.current(), name, AtFlags::empty())?;
        }
        Ok(found)
    }

    fn kind_of(&self, name: &[u8]) -> Result<Option<FileType>, Errno> {
        match rustix::fs::statat(self.current(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Owner and times of what cannot be opened: links and pipes.
    fn describe_name(&self, name: &[u8], attributes: &Attributes) -> Result<(), Fault> {
        let at = self.current();
        if let Some((uid, gid)) = foreign_owner(attributes) {
            rustix::fs::chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let times = timestamps(attributes);
        Ok(times.map_or(Ok(()), |times| rustix::fs::utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW))?)
    }

    fn current(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd())
    }

    /// Goes to a directory, from the nearest one that is open. With a budget it makes what is missing on the way; without, the
    /// directory must be there.
    fn enter(&mut self, path: &[u8], mut budget: Option<&mut Budget<'_>>) -> Result<(), Fault> {
        let names: Vec<&[u8]> = names(path).collect();
        let common = self.open.iter().zip(&names).take_while(|((open, _), name)| open == *name).count();
        self.open.truncate(common);
        for depth in common..names.len() {
            self.step(&names[..=depth], budget.as_deref_mut())?;
        }
        Ok(())
    }

    /// Goes one directory further, to the last of these names.
    fn step(&mut self, names: &[&[u8]], budget: Option<&mut Budget<'_>>) -> Result<(), Fault> {
        let name = *names.last().expect("a step has a name");
        let fd = match (rustix::fs::openat(self.current(), name, OPEN_DIRECTORY, Mode::empty()), budget) {
            (Ok(fd), _) => fd,
            (Err(Errno::NOENT), Some(budget)) => self.imply(names, budget)?,
            (Err(Errno::NOENT), None) => return Err(Refusal::LinkTarget.into()),
            (Err(Errno::NOTDIR | Errno::LOOP), budget) => self.obstacle(names, budget)?,
            (Err(errno), _) => return Err(Fault::Machine(errno)),
        };
        self.open.push((name.to_vec(), fd));
        Ok(())
    }

    /// What stands where a directory should be: a whiteout gives way, a link or file is refused.
    fn obstacle(&mut self, names: &[&[u8]], budget: Option<&mut Budget<'_>>) -> Result<OwnedFd, Fault> {
        let name = names.last().expect("an obstacle has a name");
        match (self.kind_of(name)?, budget) {
            (Some(FileType::CharacterDevice), Some(budget)) => {
                self.clear_whiteout(name)?;
                let fd = self.imply(names, budget)?;
                rustix::fs::fsetxattr(&fd, OPAQUE.0, OPAQUE.1, XattrFlags::empty())?;
                Ok(fd)
            }
            (Some(FileType::Symlink), _) => Err(Refusal::ThroughLink.into()),
            _ => Err(Refusal::ThroughFile.into()),
        }
    }

    /// Makes a directory that members imply by their paths.
    fn imply(&mut self, names: &[&[u8]], budget: &mut Budget<'_>) -> Result<OwnedFd, Fault> {
        let name = *names.last().expect("the root is always there");
        let path = MemberPath::of(names);
        budget.spend_name(path.joined().len())?;
        budget.spend_member()?;
        rustix::fs::mkdirat(self.current(), name, Mode::RWXU)?;
        self.directories.insert(path, implied());
        Ok(rustix::fs::openat(self.current(), name, OPEN_DIRECTORY, Mode::empty())?)
    }
}

/// What a directory gets that no member describes: it is ours, which is root's in the daemon.
fn implied() -> Attributes {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attributes { uid, gid, mode: IMPLIED_DIRECTORY_MODE, ..Attributes::default() }
}

fn copy(mut content: impl BufRead, file: &mut std::fs::File) -> Result<(), Fault> {
    loop {
        let available = content.fill_buf().map_err(Fault::Input)?;
        if available.is_empty() {
            return Ok(());
        }
        file.write_all(available).map_err(Fault::Output)?;
        let count = available.len();
        content.consume(count);
    }
}

/// Sets owner, rights, attributes, times, in this order: a new owner clears set-user bits and capabilities, and all of it but the
/// times touches the times.
fn describe(fd: BorrowedFd<'_>, attributes: &Attributes) -> Result<(), Fault> {
    if let Some((uid, gid)) = foreign_owner(attributes) {
        rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(attributes.mode))?;
    for (name, value) in &attributes.xattrs {
        set_xattr(fd, name, value)?;
    }
    Ok(timestamps(attributes).map_or(Ok(()), |times| rustix::fs::futimens(fd, &times))?)
}

/// A file system that lacks attributes of users loses them, as with every other tool; lost capabilities would break programs.
fn set_xattr(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    match rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) if name != b"security.capability" => Ok(()),
        // No space here is mostly that of the inode, which is small on some file systems.
        Err(Errno::INVAL | Errno::RANGE | Errno::TOOBIG | Errno::NOSPC) => Err(Refusal::Attribute.into()),
        result => Ok(result?),
    }
}

/// The owner, unless it is who we are: then new files have it already, and most files of most images are root's.
fn foreign_owner(attributes: &Attributes) -> Option<(Uid, Gid)> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    let own = uid == rustix::process::geteuid() && gid == rustix::process::getegid();
    (!own).then_some((uid, gid))
}

fn timestamps(attributes: &Attributes) -> Option<Timestamps> {
    let (tv_sec, nanoseconds) = attributes.mtime?;
    let time = rustix::fs::Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Some(Timestamps { last_access: time, last_modification: time })
}
