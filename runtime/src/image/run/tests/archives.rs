//! Archives made by hand.

use super::*;

/// The time of every member.
pub(super) const MTIME: i64 = 1_600_000_000;

/// A tar under construction. Names are taken literally, so that hostile ones can be written.
pub(super) struct Tar {
    bytes: Vec<u8>,
    mtime: i64,
}

impl Tar {
    pub(super) fn new() -> Self {
        Self::at(MTIME)
    }

    pub(super) fn at(mtime: i64) -> Self {
        Self { bytes: Vec::new(), mtime }
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.file_mode(name, content, 0o644)
    }

    pub(super) fn file_mode(self, name: &str, content: &[u8], mode: u32) -> Self {
        self.member(name.as_bytes(), b'0', content, |header| header.set_mode(mode))
    }

    pub(super) fn owned(self, name: &str, content: &[u8], mode: u32, owner: (u64, u64)) -> Self {
        self.member(name.as_bytes(), b'0', content, |header| own(header, mode, owner))
    }

    pub(super) fn directory(self, name: &str, mode: u32) -> Self {
        self.member(name.as_bytes(), b'5', b"", |header| header.set_mode(mode))
    }

    pub(super) fn owned_directory(self, name: &str, mode: u32, owner: (u64, u64)) -> Self {
        self.member(name.as_bytes(), b'5', b"", |header| own(header, mode, owner))
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), b'2', b"", |header| header.set_link_name_literal(target).unwrap())
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), b'1', b"", |header| header.set_link_name_literal(target).unwrap())
    }

    pub(super) fn fifo(self, name: &str) -> Self {
        self.member(name.as_bytes(), b'6', b"", |_| ())
    }

    pub(super) fn node(self, name: &str, kind: u8, major: u32, minor: u32) -> Self {
        self.member(name.as_bytes(), kind, b"", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    pub(super) fn pax(self, key: &str, value: &[u8]) -> Self {
        let body = [key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len() + 2;
        while length != body.len() + 1 + length.to_string().len() {
            length += 1;
        }
        let record = [length.to_string().as_bytes(), b" ", &body].concat();
        self.member(b"pax", b'x', &record, |_| ())
    }

    /// Any member; the name may be anything of up to 100 bytes, the header is open to changes before its checksum is made.
    pub(super) fn member(
        mut self,
        name: &[u8],
        kind: u8,
        content: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[156] = kind;
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(self.mtime.cast_unsigned());
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    /// Without the end mark.
    pub(super) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}

fn own(header: &mut tar::Header, mode: u32, (uid, gid): (u64, u64)) {
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(gid);
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Two members in a row, as parallel compressors write them.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [first, second].map(gzip_member).concat()
}

fn gzip_member(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A skippable frame, then two frames.
pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let frame = |part| ruzstd::encoding::compress_to_vec(part, ruzstd::encoding::CompressionLevel::Fastest);
    [skipped, frame(first), frame(second)].concat()
}

/// Nothing if the test cannot run; that is a failure where everything must run.
pub(super) fn root_or_skip(why: &str) -> Option<()> {
    if rustix::process::geteuid().is_root() {
        return Some(());
    }
    assert!(std::env::var_os("SKEP_REQUIRE_ALL").is_none(), "needs root: {why}");
    eprintln!("SKIP needs root: {why}");
    None
}
