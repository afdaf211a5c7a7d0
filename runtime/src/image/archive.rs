//! What an archive may hold: the checks that keep a hostile one inside its directory and inside its limits.

use std::fmt;

/// What is wrong with an archive or a member of it. Completes "it was refused because …" after a colon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A path from `/`.
    #[error("its path starts with /, but members must stay below the root")]
    Absolute,
    /// A path with `..`.
    #[error("its path has a .., but members must stay below the root")]
    Climbs,
    /// A byte, length or depth that no file system takes.
    #[error("its path is empty, too long, too deep or has a zero byte")]
    BadPath,
    /// A link that leads out.
    #[error("it is a link out of the root")]
    LinkOut,
    /// A hard link to nothing.
    #[error("it is a hard link to something that does not come before it in the archive, or to a directory")]
    LinkTarget,
    /// A path through a symbolic link.
    #[error("its path goes through a symbolic link of the same archive")]
    ThroughLink,
    /// A path through a file.
    #[error("its path goes through something that is not a directory")]
    ThroughFile,
    /// A second member of that name.
    #[error("the archive has it twice")]
    Duplicate,
    /// A device.
    #[error(
        "it is a device node, which images must not hold; leave it out (tar --exclude=./dev/*), containers get their own /dev"
    )]
    Device,
    /// A kind that is not known.
    #[error("its kind ({0:?}) is not supported; make the archive without sparse or multi-volume members")]
    Kind(char),
    /// A number that cannot be read.
    #[error("its header is damaged")]
    Header,
    /// A number beyond what the kernel takes.
    #[error("its owner, size or time is out of range")]
    Number,
    /// An extended attribute that is too large or malformed.
    #[error("it has an extended attribute that is malformed or larger than the file system takes")]
    Attribute,
    /// Extended headers that cannot be read.
    #[error("its extended header is damaged or larger than 1 MiB")]
    Extension,
    /// The end came too early.
    #[error("it ends too early: it was cut short or is no archive")]
    Truncated,
    /// More bytes than allowed.
    #[error("it unpacks to more than {0} bytes")]
    TooManyBytes(u64),
    /// More bytes than its compressed size makes believable.
    #[error("it unpacks to more than {0} times its size: it looks like a compression bomb")]
    Bomb(u64),
    /// More members than allowed.
    #[error("it has more than {0} members or directories")]
    TooManyMembers(u64),
    /// More layers than allowed.
    #[error("it has more than {0} layers")]
    TooManyLayers(usize),
    /// More metadata than allowed.
    #[error("its metadata is larger than {0} bytes")]
    TooMuchMetadata(u64),
}

/// How much one import or load may ask of the machine. Each is a bound at which the whole operation is refused.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Unpacked bytes of one layer.
    pub(crate) layer_bytes: u64,
    /// Unpacked bytes of all layers of one archive.
    pub(crate) image_bytes: u64,
    /// Members of all layers, implied directories included.
    pub(crate) members: u64,
    /// Bytes of all that is remembered: names and attributes of directories until their times can be set, members and links of a
    /// saved image.
    pub(crate) name_bytes: u64,
    /// Unpacked bytes for each compressed one, once `bomb_free_bytes` are exceeded.
    pub(crate) ratio: u64,
    /// Bytes that any archive may unpack to, whatever its ratio.
    pub(crate) bomb_free_bytes: u64,
    /// Bytes of one JSON document.
    pub(crate) document_bytes: u64,
    /// Bytes of all JSON documents of one archive; they are held in memory.
    pub(crate) documents_bytes: u64,
    /// Layers of one image.
    pub(crate) layers: usize,
}

impl Limits {
    /// The largest images in public use (machine learning) have layers of 5 to 15 GB and some 300,000 files: the first three
    /// leave room for twice that. Text compresses up to 20-fold and zeroed disk images 1,000-fold, so the ratio counts only
    /// past a gigabyte, which every node can bear. Documents are a few KiB in practice; registries stop at 4 MiB.
    /// Docker's builder stops at 127 layers, overlayfs at 500.
    pub(crate) const DEFAULT: Self = Self {
        layer_bytes: 20 << 30,
        image_bytes: 40 << 30,
        members: 1_000_000,
        name_bytes: 64 << 20,
        ratio: 200,
        bomb_free_bytes: 1 << 30,
        document_bytes: 4 << 20,
        documents_bytes: 64 << 20,
        layers: 127,
    };
}

/// What is left of the [`Limits`] during one import or load.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    pub(crate) limits: &'a Limits,
    image_bytes_left: u64,
    members_left: u64,
    name_bytes_left: u64,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            image_bytes_left: limits.image_bytes,
            members_left: limits.members,
            name_bytes_left: limits.name_bytes,
        }
    }

    /// Bytes that the next layer may unpack to.
    pub(crate) fn layer_bytes(&self) -> u64 {
        self.limits.layer_bytes.min(self.image_bytes_left)
    }

    /// Counts the bytes of a layer that was unpacked.
    pub(crate) fn spend_bytes(&mut self, bytes: u64) {
        self.image_bytes_left = self.image_bytes_left.saturating_sub(bytes);
    }

    /// Counts a member.
    pub(crate) fn spend_member(&mut self) -> Result<(), Refusal> {
        let left = self.members_left.checked_sub(1);
        self.members_left = left.ok_or(Refusal::TooManyMembers(self.limits.members))?;
        Ok(())
    }

    /// Counts what is remembered of a member.
    pub(crate) fn spend_name(&mut self, name_bytes: usize) -> Result<(), Refusal> {
        let left = self.name_bytes_left.checked_sub(name_bytes as u64);
        self.name_bytes_left = left.ok_or(Refusal::TooMuchMetadata(self.limits.name_bytes))?;
        Ok(())
    }
}

/// Longest path in bytes, as the kernel's `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;
/// Longest name in bytes, as `NAME_MAX` of the usual file systems.
const NAME_BYTES_MAX: usize = 255;
/// Deepest path. Real trees stop near 30; each level costs an open directory while unpacking, and descriptors are 1,024 a process.
const DEPTH_MAX: usize = 128;

/// A path that cannot leave the directory it is applied to: no `..`, no leading `/`, only names. The root itself has none. Kept as
/// one piece: an archive may have a million, and a list of their names takes many times their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct MemberPath {
    joined: Vec<u8>,
}

/// The names of a checked path, outermost first.
pub(crate) fn names(joined: &[u8]) -> impl Iterator<Item = &[u8]> {
    joined.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

impl MemberPath {
    /// Checks the path of a member. `./a//b/.` is `a/b`.
    pub(crate) fn parse(path: &[u8]) -> Result<Self, Refusal> {
        if path.first() == Some(&b'/') {
            return Err(Refusal::Absolute);
        }
        if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains(&0) {
            return Err(Refusal::BadPath);
        }
        let parts: Vec<&[u8]> = names(path).filter(|name| *name != b".").collect();
        if parts.contains(&&b".."[..]) {
            return Err(Refusal::Climbs);
        }
        if parts.len() > DEPTH_MAX || parts.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(Refusal::BadPath);
        }
        Ok(Self::of(&parts))
    }

    /// The path of names that are checked.
    pub(crate) fn of(names: &[&[u8]]) -> Self {
        Self { joined: names.join(&b'/') }
    }

    /// The directory that holds it, as written, and its name there; nothing for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.joined.is_empty() {
            return None;
        }
        let slash = self.joined.iter().rposition(|byte| *byte == b'/');
        Some(slash.map_or((&b""[..], &self.joined[..]), |at| (&self.joined[..at], &self.joined[at + 1..])))
    }

    /// All names, outermost first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        names(&self.joined)
    }

    /// As written in an archive.
    pub(crate) fn joined(&self) -> &[u8] {
        &self.joined
    }
}

impl fmt::Debug for MemberPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", String::from_utf8_lossy(&self.joined))
    }
}

/// Checks where a symbolic link leads when read inside the container. An absolute target starts at the container's own root, so
/// it stays inside; a relative one must not climb above it, else it would mean something else to whoever looks from outside.
pub(crate) fn check_symlink(link: &MemberPath, target: &[u8]) -> Result<(), Refusal> {
    if target.is_empty() || target.len() >= PATH_BYTES_MAX || target.contains(&0) {
        return Err(Refusal::BadPath);
    }
    if target[0] == b'/' {
        return Ok(());
    }
    let mut depth = link.names().count().saturating_sub(1);
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => depth = depth.checked_sub(1).ok_or(Refusal::LinkOut)?,
            _ => depth += 1,
        }
    }
    Ok(())
}

/// What a name means in a layer (OCI image specification, "Layer Filesystem Changeset").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role<'a> {
    /// Just a name.
    Plain,
    /// This sibling of the layers below is gone.
    Whiteout(&'a [u8]),
    /// Everything that the layers below have in this directory is gone.
    Opaque,
    /// Book-keeping of a storage driver that nobody needs any more.
    Ignored,
}

/// Reads the whiteout prefixes. The remainder of a whiteout is a name like any other and must be checked again.
pub(crate) fn role(name: &[u8]) -> Result<Role<'_>, Refusal> {
    match name.strip_prefix(b".wh.") {
        None => Ok(Role::Plain),
        Some(b".wh..opq") => Ok(Role::Opaque),
        Some(rest) if rest.starts_with(b".wh.") => Ok(Role::Ignored),
        Some(b"" | b"." | b"..") => Err(Refusal::BadPath),
        Some(hidden) => Ok(Role::Whiteout(hidden)),
    }
}

/// Whether an extended attribute of an archive is set on the file. `trusted.*` steers overlayfs itself, `security.selinux` and
/// `security.ima` are the host's own; a layer that carries them loses them.
pub(crate) fn keeps_xattr(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    user || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        let table: [(&[u8], Refusal); 7] = [
            (b"/etc/passwd", Refusal::Absolute),
            (b"../x", Refusal::Climbs),
            (b"a/../../x", Refusal::Climbs),
            (b"a/..", Refusal::Climbs),
            (b"", Refusal::BadPath),
            (b"a\0b", Refusal::BadPath),
            (&[b'x'; 256], Refusal::BadPath),
        ];
        for (path, refusal) in table {
            assert_eq!(MemberPath::parse(path), Err(refusal), "{path:?}");
        }
        assert_eq!(MemberPath::parse(&b"a/".repeat(DEPTH_MAX + 1)), Err(Refusal::BadPath));
    }

    #[test]
    fn dots_and_double_slashes_mean_nothing() {
        assert_eq!(MemberPath::parse(b"./a//b/./").unwrap().joined(), b"a/b");
        assert!(MemberPath::parse(b"./").unwrap().split().is_none());
    }

    #[test]
    fn names_need_not_be_text() {
        assert_eq!(MemberPath::parse(b"a/\xff\xfe").unwrap().joined(), b"a/\xff\xfe");
    }

    #[test]
    fn symlinks_may_climb_up_to_the_root_but_not_above() {
        let link = MemberPath::parse(b"a/b/link").unwrap();
        for inside in ["/etc/passwd", "../x", "../../x", "../b/../../x", "./y/..", "c/../../.."] {
            assert_eq!(check_symlink(&link, inside.as_bytes()), Ok(()), "{inside}");
        }
        for outside in ["../../../x", "../../../../etc/passwd", "c/../../../.."] {
            assert_eq!(check_symlink(&link, outside.as_bytes()), Err(Refusal::LinkOut), "{outside}");
        }
        assert_eq!(check_symlink(&link, b""), Err(Refusal::BadPath));
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        assert_eq!(role(b"a.wh.b"), Ok(Role::Plain));
        assert_eq!(role(b".wh.b"), Ok(Role::Whiteout(b"b")));
        assert_eq!(role(b".wh..wh..opq"), Ok(Role::Opaque));
        assert_eq!(role(b".wh..wh.plnk"), Ok(Role::Ignored));
        for bad in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(role(bad), Err(Refusal::BadPath));
        }
    }

    #[test]
    fn attributes_that_steer_overlayfs_are_dropped() {
        for kept in ["security.capability", "user.mime", "system.posix_acl_access"] {
            assert!(keeps_xattr(kept.as_bytes()), "{kept}");
        }
        for dropped in ["trusted.overlay.redirect", "user.overlay.opaque", "security.selinux", ""] {
            assert!(!keeps_xattr(dropped.as_bytes()), "{dropped}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_path_escapes(path in proptest::collection::vec(proptest::sample::select(b"a./\0\xff".to_vec()), 0..40)) {
            if let Ok(path) = MemberPath::parse(&path) {
                prop_assert!(path.names().all(|name| !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/')));
            }
        }

        #[test]
        fn no_accepted_relative_link_leaves_the_root(depth in 0_usize..4, target in "(\\.\\.|\\.|a|)(/(\\.\\.|\\.|a|)){0,8}") {
            let link = MemberPath::parse(format!("{}link", "d/".repeat(depth)).as_bytes()).unwrap();
            prop_assume!(!target.starts_with('/') && !target.is_empty());
            let lowest = target.split('/').scan(i64::try_from(depth).unwrap(), |at, name| {
                *at += match name { "" | "." => 0, ".." => -1, _ => 1 };
                Some(*at)
            }).min().unwrap();
            prop_assert_eq!(check_symlink(&link, target.as_bytes()).is_ok(), lowest >= 0);
        }
    }
}
