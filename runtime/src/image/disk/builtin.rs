//! Makes `skep/hello`: an image whose only program is our own executable, so that a fresh node can run something without a registry.
#![expect(clippy::disallowed_methods, reason = "driver: copies the executable")]

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tar::{EntryType, Header};

use super::super::archive::Budget;
use super::super::catalogue::Stamp;
use super::super::config::{Document, ImageConfig, rfc3339};
use super::super::error::ImageError;
use super::tally::Tally;
use super::unpack::{BUFFER_BYTES, unpack};

/// The name by which it is asked for.
pub(crate) const NAME: &str = "skep/hello:latest";

/// What the executable is like now, without reading it.
///
/// # Errors
/// When it is not there.
pub(crate) fn stamp(executable: &Path) -> Result<Stamp, ImageError> {
    let stamped = fs::metadata(executable).and_then(|metadata| stamp_of(&metadata));
    stamped.map_err(|error| ImageError::disk("make skep/hello of", executable, error))
}

fn stamp_of(metadata: &fs::Metadata) -> io::Result<Stamp> {
    Ok(Stamp {
        size_bytes: metadata.size(),
        mtime_seconds: metadata.mtime(),
        mtime_nanoseconds: metadata.mtime_nsec(),
        inode: metadata.ino(),
        boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
    })
}

/// What was made.
pub(crate) struct Made {
    pub(crate) document: Document,
    pub(crate) file_bytes: u64,
    pub(crate) stamp: Stamp,
}

/// Fills an empty directory. The executable is copied by the kernel (sharing its blocks where the file system can) and hashed as
/// the tar that would hold it, so that the layer has a true digest. The same executable always gives the same image.
///
/// # Errors
/// When the executable cannot be read or the disk is full.
pub(crate) fn make(executable: &Path, directory: &Path) -> Result<Made, ImageError> {
    let failed = |error| ImageError::disk("make skep/hello of", executable, error);
    let mut source = File::open(executable).map_err(failed)?;
    let stamp = source.metadata().and_then(|metadata| stamp_of(&metadata)).map_err(failed)?;
    let mtime = u64::try_from(stamp.mtime_seconds).unwrap_or(0);
    let surroundings = surroundings(mtime).map_err(failed)?;
    let limits = super::super::archive::Limits::DEFAULT;
    let unpacked = unpack(&surroundings[..], directory, &mut Budget::new(&limits))?;
    let copied = copy_executable(&mut source, &directory.join("skep"), mtime);
    let file_bytes =
        copied.map_err(|error| ImageError::disk("copy skep/hello to", directory, error))? + unpacked.file_bytes;
    let diff_id = hash(&surroundings, executable, &stamp, mtime).map_err(failed)?;
    Ok(Made { document: Document::of_one_layer(config(), diff_id, rfc3339(mtime)), file_bytes, stamp })
}

fn config() -> ImageConfig {
    ImageConfig {
        entrypoint: vec!["/skep".to_owned(), "hello".to_owned()],
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/".to_owned()],
        exposed_ports: vec!["80/tcp".to_owned()],
        ..ImageConfig::default()
    }
}

/// The tar of everything but the executable.
fn surroundings(mtime: u64) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let directories = [("./", 0o755), ("etc/", 0o755), ("tmp/", 0o1777)];
    for (path, mode) in directories {
        tar.append(&header(path, EntryType::Directory, mode, 0, mtime)?, io::empty())?;
    }
    let files = [
        ("etc/passwd", "root:x:0:0:root:/:/skep\nnobody:x:65534:65534:nobody:/:/skep\n"),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ];
    for (path, text) in files {
        tar.append(&header(path, EntryType::Regular, 0o644, text.len() as u64, mtime)?, text.as_bytes())?;
    }
    tar.into_inner()
}

fn header(path: &str, kind: EntryType, mode: u32, size: u64, mtime: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_cksum();
    Ok(header)
}

/// Not synced: a copy that a power loss tore is made anew, since its stamp names the boot it was made in.
fn copy_executable(source: &mut File, to: &Path, mtime: u64) -> io::Result<u64> {
    let mut copy = File::create_new(to)?;
    let bytes = io::copy(source, &mut copy)?;
    copy.set_permissions(Permissions::from_mode(0o755))?;
    copy.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))?;
    Ok(bytes)
}

/// The digest of the surroundings' tar with the executable before its end mark.
fn hash(surroundings: &[u8], executable: &Path, stamp: &Stamp, mtime: u64) -> io::Result<super::super::digest::Digest> {
    const END_MARK: usize = 1024;
    let content = File::open(executable)?.take(stamp.size_bytes);
    let header = header("skep", EntryType::Regular, 0o755, stamp.size_bytes, mtime)?;
    let padding =
        usize::try_from(stamp.size_bytes.next_multiple_of(512) - stamp.size_bytes).expect("padding is below 512");
    let tail = [0; 512 + END_MARK];
    let members = &surroundings[..surroundings.len() - END_MARK];
    let tar = members.chain(&header.as_bytes()[..]).chain(content).chain(&tail[..padding + END_MARK]);
    let mut hashed = BufReader::with_capacity(BUFFER_BYTES, Tally::new(tar, true));
    io::copy(&mut hashed, &mut io::sink())?;
    let (_, digest) = hashed.into_inner().finish()?;
    Ok(digest.expect("asked for above"))
}
