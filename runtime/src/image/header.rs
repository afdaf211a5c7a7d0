//! One member's description in a tar archive: the 512-byte header (POSIX ustar and GNU) and the extended headers before it.

use tar::Header;

use super::archive::{MemberPath, Refusal, check_symlink, keeps_xattr};

/// A member as the archive describes it, its paths already checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) path: MemberPath,
    pub(crate) kind: Kind,
    /// Bytes of content that follow; only files have any.
    pub(crate) size: u64,
    pub(crate) attributes: Attributes,
}

/// Owner, rights, time and extended attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    /// Seconds since 1970, and nanoseconds; nothing leaves the time alone.
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// Bytes of all extended attributes.
    pub(crate) fn xattr_bytes(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Longest value of an extended attribute. *Source:* the kernel's `XATTR_SIZE_MAX`.
const XATTR_BYTES_MAX: usize = 64 << 10;
/// Longest name of one. *Source:* the kernel's `XATTR_NAME_MAX`.
const XATTR_NAME_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(MemberPath),
    Fifo,
    /// A character device 0/0, which is how overlayfs itself writes a whiteout.
    OverlayWhiteout,
}

/// What a header block turns out to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Block {
    /// All zero: the archive's end.
    End,
    /// A member, or an extension of the next one; the size of what follows, and the kind.
    Entry { kind: u8, size: u64 },
}

/// Looks at a header without its extensions.
pub(crate) fn classify(block: &[u8; 512]) -> Result<Block, Refusal> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(Block::End);
    }
    let header = Header::from_byte_slice(block);
    if header.cksum().ok() != Some(checksum(block)) {
        return Err(Refusal::Header);
    }
    let kind = block[156];
    // Links and directories have no content, whatever their size says.
    let size = if matches!(kind, b'1'..=b'6') { 0 } else { header.entry_size().map_err(|_| Refusal::Header)? };
    Ok(Block::Entry { kind, size })
}

/// The sum of all bytes, those of the checksum itself counted as spaces (POSIX pax, "ustar Interchange Format").
fn checksum(block: &[u8; 512]) -> u32 {
    let counted = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
    block.iter().enumerate().map(counted).sum()
}

/// What the extended headers before a member say about it; it overrides the header.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Extensions {
    /// Takes a GNU long path.
    pub(crate) fn set_path(&mut self, content: &[u8]) {
        self.path = Some(until_zero(content).to_vec());
    }

    /// Takes a GNU long link target.
    pub(crate) fn set_link(&mut self, content: &[u8]) {
        self.link = Some(until_zero(content).to_vec());
    }

    /// Takes the records of a pax header: `LENGTH KEY=VALUE\n`, the length counting itself. Values may hold any byte.
    pub(crate) fn add_pax(&mut self, mut content: &[u8]) -> Result<(), Refusal> {
        while !content.is_empty() && content[0] != 0 {
            let (record, rest) = split_record(content).ok_or(Refusal::Extension)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(Refusal::Extension)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            content = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(owner(number(value)?)?),
            b"gid" => self.gid = Some(owner(number(value)?)?),
            b"mtime" => self.mtime = Some(moment(value)?),
            _ if key.starts_with(b"GNU.sparse.") => return Err(Refusal::Kind('S')),
            _ => self.add_xattr(key, value)?,
        }
        Ok(())
    }

    fn add_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let Some(name) = key.strip_prefix(b"SCHILY.xattr.").filter(|name| keeps_xattr(name)) else { return Ok(()) };
        if name.len() > XATTR_NAME_MAX || name.contains(&0) || value.len() > XATTR_BYTES_MAX {
            return Err(Refusal::Attribute);
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    /// The size of the member's content.
    pub(crate) fn size_or(&self, header: u64) -> u64 {
        self.size.unwrap_or(header)
    }

    /// The name for messages, before any check.
    pub(crate) fn name(&self, block: &[u8; 512]) -> Vec<u8> {
        self.path.clone().unwrap_or_else(|| Header::from_byte_slice(block).path_bytes().into_owned())
    }

    /// Joins header and extensions to a checked member.
    pub(crate) fn member(self, block: &[u8; 512], size: u64) -> Result<Member, Refusal> {
        let header = Header::from_byte_slice(block);
        let name = self.name(block);
        let path = MemberPath::parse(&name)?;
        let kind = kind(header, &path, self.link.as_deref(), name.ends_with(b"/"))?;
        let size = if kind == Kind::File { size } else { 0 };
        Ok(Member { path, kind, size, attributes: self.attributes(header)? })
    }

    fn attributes(self, header: &Header) -> Result<Attributes, Refusal> {
        let id = |own: Option<u32>, raw: std::io::Result<u64>| match own {
            Some(id) => Ok(id),
            None => owner(raw.map_err(|_| Refusal::Header)?),
        };
        let mtime = match self.mtime {
            Some(mtime) => mtime,
            // A time before 1970 is written in two's complement, which the header's reader shows as a huge number.
            None => (header.mtime().map_err(|_| Refusal::Header)?.cast_signed(), 0),
        };
        let mode = header.mode().map_err(|_| Refusal::Header)? & 0o7777;
        let (uid, gid) = (id(self.uid, header.uid())?, id(self.gid, header.gid())?);
        Ok(Attributes { uid, gid, mode, mtime: Some(mtime), xattrs: self.xattrs })
    }
}

/// The number of a user or group. The largest of 32 bits means "leave it as it is" to the kernel, which would be root.
fn owner(number: u64) -> Result<u32, Refusal> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX).ok_or(Refusal::Number)
}

fn kind(header: &Header, path: &MemberPath, link: Option<&[u8]>, slash: bool) -> Result<Kind, Refusal> {
    let target = || link.map(<[u8]>::to_vec).or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    match header.as_bytes()[156] {
        // Archives older than POSIX write a directory as a file whose name ends in a slash.
        b'0' | 0 if slash => Ok(Kind::Directory),
        b'0' | b'7' | 0 => Ok(Kind::File),
        b'1' => MemberPath::parse(&target().ok_or(Refusal::Header)?).map(Kind::HardLink).map_err(link_refusal),
        b'2' => symlink(path, target().ok_or(Refusal::Header)?),
        b'3' if is_whiteout(header) => Ok(Kind::OverlayWhiteout),
        b'3' | b'4' => Err(Refusal::Device),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        other => Err(Refusal::Kind(char::from(other))),
    }
}

fn symlink(path: &MemberPath, target: Vec<u8>) -> Result<Kind, Refusal> {
    check_symlink(path, &target)?;
    Ok(Kind::Symlink(target))
}

/// A hard link's target is a path in the archive, so one that would leave it is a link out.
fn link_refusal(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Absolute | Refusal::Climbs => Refusal::LinkOut,
        other => other,
    }
}

fn is_whiteout(header: &Header) -> bool {
    matches!((header.device_major(), header.device_minor()), (Ok(Some(0)), Ok(Some(0))))
}

fn split_record(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = content.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = number(&content[..space]).ok()?;
    let record = content.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, &content[length..]))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::Number)?;
    text.parse().map_err(|_| Refusal::Number)
}

/// `SECONDS[.FRACTION]`, perhaps negative; the fraction always counts forward.
fn moment(text: &[u8]) -> Result<(i64, u32), Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::Number)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = number(whole.as_bytes())?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = number(digits.as_bytes())?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Ok((seconds.checked_sub(1).ok_or(Refusal::Number)?, 1_000_000_000 - nanoseconds)),
        _ => Ok((seconds, nanoseconds)),
    }
}

fn until_zero(content: &[u8]) -> &[u8] {
    content.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(kind: u8, name: &str) -> [u8; 512] {
        let mut header = Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(0);
        header.set_mode(0o104_755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        header.as_mut_bytes()[156] = kind;
        header.set_cksum();
        *header.as_bytes()
    }

    #[test]
    fn damaged_header_is_told_by_its_checksum() {
        let mut bytes = block(b'0', "a");
        assert_eq!(classify(&bytes), Ok(Block::Entry { kind: b'0', size: 0 }));
        bytes[0] ^= 1;
        assert_eq!(classify(&bytes), Err(Refusal::Header));
        assert_eq!(classify(&[0; 512]), Ok(Block::End));
    }

    #[test]
    fn pax_records_override_the_header() {
        let mut extensions = Extensions::default();
        extensions.add_pax(b"12 path=b/c\n9 uid=70\n13 mtime=1.5\n26 SCHILY.xattr.user.a=\n\0\n").unwrap();
        assert_eq!(extensions.size_or(3), 3);
        let member = extensions.member(&block(b'0', "a"), 3).unwrap();
        assert_eq!((member.path.joined(), member.size), (&b"b/c"[..], 3));
        assert_eq!((member.attributes.uid, member.attributes.gid, member.attributes.mode), (70, 8, 0o4755));
        assert_eq!(member.attributes.mtime, Some((1, 500_000_000)));
        assert_eq!(member.attributes.xattrs, [(b"user.a".to_vec(), b"\n\0".to_vec())]);
    }

    #[test]
    fn attributes_beyond_the_kernels_are_refused_and_foreign_ones_forgotten() {
        let mut extensions = Extensions::default();
        let long = vec![b'v'; XATTR_BYTES_MAX + 1];
        assert_eq!(extensions.set(b"SCHILY.xattr.user.x", &long), Err(Refusal::Attribute));
        assert_eq!(extensions.set(&[&b"SCHILY.xattr.user."[..], &[b'n'; 251]].concat(), b""), Err(Refusal::Attribute));
        extensions.set(b"SCHILY.xattr.trusted.overlay.opaque", &long).unwrap();
        extensions.set(b"SCHILY.xattr.user.x", b"1").unwrap();
        let member = extensions.member(&block(b'0', "a"), 0).unwrap();
        assert_eq!((member.attributes.xattrs.len(), member.attributes.xattr_bytes()), (1, 7));
    }

    #[test]
    fn owner_that_the_kernel_takes_for_none_is_refused() {
        for key in [&b"uid"[..], b"gid"] {
            assert_eq!(Extensions::default().set(key, b"4294967295"), Err(Refusal::Number));
        }
        assert_eq!((owner(4_294_967_294), owner(4_294_967_295)), (Ok(4_294_967_294), Err(Refusal::Number)));
    }

    #[test]
    fn times_before_1970_count_forward_from_a_whole_second() {
        assert_eq!(moment(b"-1.25"), Ok((-2, 750_000_000)));
        assert_eq!(moment(b"1600000000.123456789123"), Ok((1_600_000_000, 123_456_789)));
        assert_eq!(moment(b"x"), Err(Refusal::Number));
    }

    #[test]
    fn devices_sparse_files_and_unknown_kinds_are_refused() {
        let refusal = |kind| Extensions::default().member(&block(kind, "a"), 0).unwrap_err();
        assert_eq!(refusal(b'4'), Refusal::Device);
        assert_eq!(refusal(b'S'), Refusal::Kind('S'));
        assert_eq!(Extensions::default().add_pax(b"22 GNU.sparse.major=1\n"), Err(Refusal::Kind('S')));
    }

    #[test]
    fn hard_links_out_of_the_root_are_refused() {
        let mut extensions = Extensions::default();
        extensions.set_link(b"../x\0");
        assert_eq!(extensions.member(&block(b'1', "a"), 0).unwrap_err(), Refusal::LinkOut);
    }

    proptest! {
        #[test]
        fn no_pax_content_panics(content in "([0-9]{1,3} [a-zA-Z.]{0,9}=?[a-z0-9.-]{0,9}\n?){0,4}|\\PC{0,30}") {
            let _ = Extensions::default().add_pax(content.as_bytes());
        }
    }
}
