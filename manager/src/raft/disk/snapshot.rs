//! Snapshot files: written beside the running log, renamed when durable, read at a start, and sent to members that need one.
#![expect(clippy::disallowed_methods, reason = "driver: owns the snapshot files")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::eraftpb::SnapshotMetadata;

use super::super::error::RaftError;
use super::super::record::{self, Found, frame, framed_len, read_at};
use super::super::seal::{FileKey, Keys};
use super::super::snapshot::{Frame, HEADER_LEN, Header, index_of, name};
use super::{RaftDir, list, random, sync_dir};
use crate::store::{Past, Rebuild, State};

/// Frames are a few hundred kilobytes: one buffer of that size makes one write of each.
const BUFFER_BYTES: usize = 512 << 10;

/// A snapshot as found at a start.
#[derive(Debug)]
pub(in super::super) struct Loaded {
    pub(in super::super) about: SnapshotMetadata,
    pub(in super::super) state: State,
    pub(in super::super) bytes: u64,
}

/// Writes a snapshot and makes it durable under its name; gives its size. On an error nothing of it stays.
pub(in super::super) fn write(dir: &RaftDir, about: &SnapshotMetadata, past: Past) -> Result<u64, RaftError> {
    let temporary = dir.snap().join(name(about.index)).with_extension("tmp");
    let written = write_file(dir, &temporary, about, past);
    let bytes = written.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    let path = temporary.with_extension("snap");
    fs::rename(&temporary, &path).map_err(RaftError::file("rename", &temporary))?;
    sync_dir(&dir.snap())?;
    Ok(bytes)
}

fn write_file(dir: &RaftDir, path: &Path, about: &SnapshotMetadata, past: Past) -> Result<u64, RaftError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(RaftError::file("create", path))?;
    let header = Header { index: about.index, salt: random() };
    let key = dir.keys().file_key(&header.salt);
    let frames = std::iter::once(Frame::About(about.clone())).chain(past.map(Frame::Chunk)).chain([Frame::End]);
    let bytes = write_frames(&file, &header, &key, frames).map_err(RaftError::file("write", path))?;
    file.sync_all().map_err(RaftError::file("sync", path))?;
    Ok(bytes)
}

fn write_frames(
    file: &File,
    header: &Header,
    key: &FileKey,
    frames: impl Iterator<Item = Frame>,
) -> std::io::Result<u64> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut bytes = HEADER_LEN;
    out.write_all(&header.encode())?;
    for (ordinal, content) in (0..).zip(frames) {
        let mut body = content.encode();
        key.seal(ordinal, &mut body);
        let framed = frame(ordinal, &body);
        bytes += framed.len();
        out.write_all(&framed)?;
    }
    out.flush()?;
    Ok(bytes as u64)
}

/// Reads the newest snapshot; `None` when there is none yet.
pub(in super::super) fn read_newest(dir: &RaftDir) -> Result<Option<Loaded>, RaftError> {
    let newest = list(&dir.snap())?.iter().filter_map(|name| index_of(name)).max();
    newest.map(|index| Reader::open(dir, index)?.read()).transpose()
}

/// Deletes all snapshots older than this one. Files that are being written are left alone.
pub(in super::super) fn delete_older(dir: &RaftDir, index: u64) -> Result<(), RaftError> {
    delete(&dir.snap(), |name| index_of(name).is_some_and(|there| there < index))
}

/// Deletes what a crash left half written.
pub(super) fn delete_unfinished(snap: &Path) -> Result<(), RaftError> {
    delete(snap, |name| index_of(name).is_none())
}

fn delete(snap: &Path, goes: impl Fn(&str) -> bool) -> Result<(), RaftError> {
    for name in list(snap)?.iter().filter(|name| goes(name)) {
        let path = snap.join(name);
        fs::remove_file(&path).map_err(RaftError::file("delete", &path))?;
    }
    sync_dir(snap)
}

/// Gives a snapshot that came whole from another member its name.
pub(in super::super) fn adopt(dir: &RaftDir, received: &Path, index: u64) -> Result<(), RaftError> {
    let path = dir.snap().join(name(index));
    fs::rename(received, &path).map_err(RaftError::file("rename", received))?;
    sync_dir(&dir.snap())
}

/// Removes one that is not needed. If that fails, the next start does it.
pub(in super::super) fn discard(received: &Path) {
    drop(fs::remove_file(received));
}

/// The frames of a snapshot's file, opened, for another member, whose key is another.
pub(in super::super) fn frames(
    dir: &RaftDir,
    index: u64,
) -> Result<impl Iterator<Item = Result<Vec<u8>, RaftError>> + use<>, RaftError> {
    let mut reader = Some(Reader::open(dir, index)?);
    Ok(std::iter::from_fn(move || {
        let body = reader.as_mut()?.body();
        let ends = body.as_ref().map_or(true, |body| matches!(Frame::decode(body), Some(Frame::End)));
        if ends {
            reader = None;
        }
        Some(body)
    }))
}

/// A snapshot on its way in: each frame is sealed with our key and becomes part of a state.
#[derive(Debug)]
pub(in super::super) struct Intake {
    path: PathBuf,
    out: BufWriter<File>,
    key: FileKey,
    /// What the directory's files were under when it began.
    keys: Arc<Keys>,
    index: u64,
    ordinal: u64,
    bytes: u64,
    rebuild: Rebuild,
    ended: bool,
}

impl Intake {
    /// Begins a file for the snapshot of that index.
    pub(in super::super) fn begin(dir: &RaftDir, index: u64) -> Result<Self, RaftError> {
        let salt = random();
        let tag = u64::from_le_bytes(salt[..8].try_into().expect("eight of 32 bytes"));
        let path = dir.snap().join(format!("{}.{tag:016x}.recv", name(index)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(RaftError::file("create", &path))?;
        let header = Header { index, salt };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        out.write_all(&header.encode()).map_err(RaftError::file("write", &path))?;
        let (keys, bytes) = (dir.keys(), HEADER_LEN as u64);
        let key = keys.file_key(&header.salt);
        Ok(Self { path, out, key, keys, index, ordinal: 0, bytes, rebuild: Rebuild::default(), ended: false })
    }

    /// Takes the next frame.
    pub(in super::super) fn add(&mut self, mut body: Vec<u8>) -> Result<(), RaftError> {
        let frame_of = Frame::decode(&body).ok_or_else(|| self.damaged("a frame cannot be read"))?;
        match frame_of {
            Frame::About(about) if self.ordinal == 0 && about.index == self.index => {}
            Frame::Chunk(chunk) if self.ordinal > 0 && !self.ended => {
                self.rebuild.add(chunk).map_err(|_| self.damaged("its objects do not fit together"))?;
            }
            Frame::End if self.ordinal > 0 && !self.ended => self.ended = true,
            _ => return Err(self.damaged("its frames are out of order")),
        }
        self.key.seal(self.ordinal, &mut body);
        let framed = frame(self.ordinal, &body);
        self.out.write_all(&framed).map_err(RaftError::file("write", &self.path))?;
        self.ordinal += 1;
        self.bytes += framed.len() as u64;
        Ok(())
    }

    /// It is whole: makes it durable, though not yet under its name. Gives its path, state and size, and what it is under.
    pub(in super::super) fn finish(mut self) -> Result<(PathBuf, State, u64, Arc<Keys>), RaftError> {
        if !self.ended {
            return Err(self.damaged("it was cut short"));
        }
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(RaftError::file("write", &self.path))?;
        let state = std::mem::take(&mut self.rebuild).finish(self.index);
        Ok((std::mem::take(&mut self.path), state, self.bytes, Arc::clone(&self.keys)))
    }

    fn damaged(&self, why: &'static str) -> RaftError {
        RaftError::Snapshot { path: self.path.clone(), offset: self.bytes, why }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            discard(&self.path);
        }
    }
}

struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// One of these, until the first frame tells which.
    keys: Vec<FileKey>,
    index: u64,
    offset: u64,
    ordinal: u64,
}

impl Reader {
    fn open(dir: &RaftDir, index: u64) -> Result<Self, RaftError> {
        let path = dir.snap().join(name(index));
        let mut file =
            BufReader::with_capacity(BUFFER_BYTES, File::open(&path).map_err(RaftError::file("open", &path))?);
        let mut bytes = [0; HEADER_LEN];
        let read = file.read_exact(&mut bytes).ok();
        let header = read.and_then(|()| Header::decode(&bytes)).filter(|header| header.index == index);
        let damaged = || RaftError::Snapshot { path: path.clone(), offset: 0, why: "its header cannot be read" };
        let keys = dir.keys().candidates(&header.ok_or_else(damaged)?.salt);
        Ok(Self { path, file, keys, index, offset: HEADER_LEN as u64, ordinal: 0 })
    }

    fn read(mut self) -> Result<Loaded, RaftError> {
        let Frame::About(about) = self.frame()? else { return Err(self.damaged("it does not begin as it must")) };
        let mut rebuild = Rebuild::default();
        loop {
            match self.frame()? {
                Frame::Chunk(chunk) => {
                    rebuild.add(chunk).map_err(|_| self.damaged("its objects do not fit together"))?
                }
                Frame::End => break,
                Frame::About(_) => return Err(self.damaged("it begins twice")),
            }
        }
        Ok(Loaded { about, state: rebuild.finish(self.index), bytes: self.offset })
    }

    fn frame(&mut self) -> Result<Frame, RaftError> {
        let body = self.body()?;
        Frame::decode(&body).ok_or_else(|| self.damaged("a frame cannot be read"))
    }

    /// The next frame's body, opened.
    fn body(&mut self) -> Result<Vec<u8>, RaftError> {
        let mut bytes = self.record().ok_or_else(|| self.damaged("a frame cannot be read"))?;
        let Found::Record { body, next } = read_at(&bytes, 0, self.ordinal) else {
            return Err(self.damaged("a frame cannot be read"));
        };
        if self.keys.len() > 1 {
            let ordinal = self.ordinal;
            self.keys.retain(|key| key.open(ordinal, &mut bytes[body.clone()].to_vec()).is_some());
        }
        let key = self.keys.first();
        let opened = key.and_then(|key| key.open(self.ordinal, &mut bytes[body]).map(<[u8]>::to_vec));
        let opened = opened.ok_or_else(|| self.damaged("a frame was not written with this manager's key"))?;
        self.offset += next as u64;
        self.ordinal += 1;
        Ok(opened)
    }

    fn record(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; record::HEADER_LEN];
        self.file.read_exact(&mut bytes).ok()?;
        let (len, _) = record::announced(&bytes)?;
        bytes.resize(framed_len(len), 0);
        self.file.read_exact(&mut bytes[record::HEADER_LEN..]).ok()?;
        Some(bytes)
    }

    fn damaged(&self, why: &'static str) -> RaftError {
        RaftError::Snapshot { path: self.path.clone(), offset: self.offset, why }
    }
}
