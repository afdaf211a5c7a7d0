//! The write-ahead log's files: recovered at start, then appended to with one sync for each record.
#![expect(clippy::disallowed_methods, reason = "driver: owns the log's files")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::error::RaftError;
use super::super::record::{self, BODY_LEN_MAX, framed_len};
use super::super::saved::Saved;
use super::super::seal::{FileKey, TAG_LEN};
use super::super::segment::{self, HEADER_LEN, Header, Scan};
use super::{RaftDir, list, random, sync_dir};

/// A file that is longer gets a successor. Small enough that a snapshot soon frees whole files, large enough that the cost of a new one
/// (two syncs) vanishes among thousands of records.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How far ahead zeros are written. A record then overwrites blocks that the file has already, and its sync need not commit a new
/// size through the file system's journal: half the bytes to the device. One record in some thousand pays a millisecond for it.
const ZEROS: u64 = 1 << 20;

/// The buffer in which records are made is kept up to this size; larger ones are rare and their memory is better given back.
const BUFFER_KEPT_MAX: usize = 1 << 20;

/// A file that is no longer written to.
#[derive(Debug)]
struct Closed {
    path: PathBuf,
    last_index: u64,
    /// It is under another key than files that are begun now.
    is_old: bool,
}

/// The file that is written to.
#[derive(Debug)]
struct Active {
    file: File,
    path: PathBuf,
    key: FileKey,
    sequence: u64,
    /// End of the last record.
    end: u64,
    /// Zeros reach to here.
    zeroed: u64,
    last_index: u64,
    /// As in [`Closed`].
    is_old: bool,
}

/// The log's files.
#[derive(Debug)]
pub(in super::super) struct Wal {
    dir: PathBuf,
    closed: Vec<Closed>,
    active: Active,
    /// Ordinal of the next record; that of the last durable one is one less.
    next: u64,
    /// Where records are made: fresh memory for each would cost more than its encryption.
    buffer: Vec<u8>,
}

/// One file as recovered.
#[derive(Debug)]
struct Recovered {
    path: PathBuf,
    header: Header,
    bytes: Vec<u8>,
    scan: Scan,
}

/// The log as it was found. Nothing on disk has changed yet.
#[derive(Debug)]
pub(in super::super) struct Past {
    files: Vec<Recovered>,
    closed: Vec<Closed>,
    next: u64,
    /// What was saved, in order.
    pub(in super::super) saved: Vec<Saved>,
}

impl Past {
    /// Reads and checks all files. Without a snapshot the log must be there from its first record on.
    pub(in super::super) fn read(dir: &RaftDir, has_snapshot: bool) -> Result<Self, RaftError> {
        let files = recover(&dir.wal())?;
        if let Some(first) = files.first().filter(|first| first.header.first != 0 && !has_snapshot) {
            let before = first.header.sequence.saturating_sub(1);
            return Err(RaftError::Missing { path: dir.wal().join(segment::name(before)) });
        }
        let mut past = Self { files: Vec::new(), closed: Vec::new(), next: 0, saved: Vec::new() };
        for file in files {
            past.add(dir, file)?;
        }
        Ok(past)
    }

    fn add(&mut self, dir: &RaftDir, mut file: Recovered) -> Result<(), RaftError> {
        let (records, is_old) = read(dir, &file)?;
        let last_index = records.iter().map(Saved::last_index).max().unwrap_or(0);
        self.closed.push(Closed { path: file.path.clone(), last_index, is_old });
        self.next = file.header.first + records.len() as u64;
        self.saved.extend(records);
        file.bytes = Vec::new();
        self.files.push(file);
        Ok(())
    }
}

impl Wal {
    /// Begins a new file behind what was found.
    pub(in super::super) fn begin(dir: &RaftDir, past: Past) -> Result<Self, RaftError> {
        if let Some(last) = past.files.last() {
            cut(last)?;
        }
        let sequence = past.files.last().map_or(0, |file| file.header.sequence + 1);
        let active = Active::create(dir, sequence, past.next)?;
        Ok(Self { dir: dir.wal(), closed: past.closed, active, next: past.next, buffer: Vec::new() })
    }

    /// Makes one record durable. After an error the file's state is unknown: call [`Wal::reopen`] before the next one.
    pub(in super::super) fn append(&mut self, dir: &RaftDir, saved: &Saved) -> Result<(), RaftError> {
        let mut record = std::mem::take(&mut self.buffer);
        record.clear();
        record.extend([0; record::HEADER_LEN]);
        saved.encode_into(&mut record);
        let body = record.len() - record::HEADER_LEN + TAG_LEN;
        assert!(body <= BODY_LEN_MAX, "batches are cut far below what a record takes");
        if self.active.end > HEADER_LEN as u64 && self.active.end + framed_len(body) as u64 > SEGMENT_BYTES {
            self.reopen(dir)?;
        }
        self.active.key.seal_from(record::HEADER_LEN, self.next, &mut record);
        record::finish(self.next, &mut record);
        self.active.write(&record)?;
        self.active.last_index = self.active.last_index.max(saved.last_index());
        self.next += 1;
        if record.capacity() <= BUFFER_KEPT_MAX {
            self.buffer = record;
        }
        Ok(())
    }

    /// Goes on in a new file from the last durable record. What a failed write left in the old one does not count any more, because
    /// the new header says which ordinal comes next.
    pub(in super::super) fn reopen(&mut self, dir: &RaftDir) -> Result<(), RaftError> {
        let active = Active::create(dir, self.active.sequence + 1, self.next)?;
        let before = std::mem::replace(&mut self.active, active);
        self.closed.push(Closed { path: before.path, last_index: before.last_index, is_old: before.is_old });
        Ok(())
    }

    /// The same after the key was replaced.
    pub(in super::super) fn reopen_anew(&mut self, dir: &RaftDir) -> Result<(), RaftError> {
        self.active.is_old = true;
        self.closed.iter_mut().for_each(|file| file.is_old = true);
        self.reopen(dir)
    }

    /// Some of what is there is under an old key.
    pub(in super::super) fn has_old(&self) -> bool {
        self.active.is_old || self.closed.iter().any(|file| file.is_old)
    }

    /// How many files there are.
    pub(in super::super) fn files(&self) -> usize {
        self.closed.len() + 1
    }

    /// Deletes the oldest files as far as a durable snapshot holds all their entries. The caller has appended a record since, so that
    /// the hard state is in a file that stays. Oldest first, so that a crash leaves no gap.
    pub(in super::super) fn compact(&mut self, snapshot_index: u64) -> Result<(), RaftError> {
        let covered = self.closed.iter().take_while(|file| file.last_index <= snapshot_index).count();
        for file in self.closed.drain(..covered) {
            fs::remove_file(&file.path).map_err(RaftError::file("delete", &file.path))?;
        }
        if covered > 0 { sync_dir(&self.dir) } else { Ok(()) }
    }
}

impl Active {
    fn create(dir: &RaftDir, sequence: u64, first: u64) -> Result<Self, RaftError> {
        let path = dir.wal().join(segment::name(sequence));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(RaftError::file("create", &path))?;
        let header = Header { sequence, first, salt: random() };
        let mut bytes = vec![0; usize::try_from(ZEROS).expect("a megabyte fits an address")];
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).map_err(RaftError::file("write", &path))?;
        sync_dir(&dir.wal())?;
        let key = dir.keys().file_key(&header.salt);
        Ok(Self { file, path, key, sequence, end: HEADER_LEN as u64, zeroed: ZEROS, last_index: 0, is_old: false })
    }

    fn write(&mut self, record: &[u8]) -> Result<(), RaftError> {
        let end = self.end + record.len() as u64;
        self.write_zeros(end)?;
        self.file.write_all_at(record, self.end).map_err(RaftError::file("write", &self.path))?;
        self.file.sync_data().map_err(RaftError::file("sync", &self.path))?;
        self.end = end;
        Ok(())
    }

    /// Writes zeros behind a record that reaches beyond those that are there.
    fn write_zeros(&mut self, end: u64) -> Result<(), RaftError> {
        if end <= self.zeroed {
            return Ok(());
        }
        let zeroed = end.next_multiple_of(ZEROS);
        let zeros = vec![0; usize::try_from(zeroed - end).expect("at most a megabyte")];
        self.file.write_all_at(&zeros, end).map_err(RaftError::file("write", &self.path))?;
        self.zeroed = zeroed;
        Ok(())
    }
}

/// Reads and checks all files. A last one that was only being made is left out; the next one made takes its name.
fn recover(dir: &Path) -> Result<Vec<Recovered>, RaftError> {
    let sequences: Vec<u64> = list(dir)?.iter().filter_map(|name| segment::sequence_of(name)).collect();
    let mut files: Vec<Recovered> = Vec::new();
    let mut limit = None;
    // Backwards, because a file's header says where the one before it ends.
    for (place, &sequence) in sequences.iter().enumerate().rev() {
        if sequences.get(place + 1).is_some_and(|&after| after != sequence + 1) {
            return Err(RaftError::Missing { path: dir.join(segment::name(sequence + 1)) });
        }
        let path = dir.join(segment::name(sequence));
        let bytes = fs::read(&path).map_err(RaftError::file("read", &path))?;
        let header = Header::decode(&bytes).filter(|header| header.sequence == sequence);
        let Some(header) = header else {
            if place + 1 == sequences.len() && segment::is_stillborn(&bytes) {
                continue;
            }
            return Err(RaftError::Damaged { path, offset: 0 });
        };
        let scan = segment::scan(&bytes, &header, limit)
            .map_err(|damage| RaftError::Damaged { path: path.clone(), offset: damage.offset })?;
        limit = Some(header.first);
        files.push(Recovered { path, header, bytes, scan });
    }
    files.reverse();
    Ok(files)
}

/// Decrypts a file's records. Also tells whether they are under an old key; one that has none is under no key yet.
fn read(dir: &RaftDir, file: &Recovered) -> Result<(Vec<Saved>, bool), RaftError> {
    let Some((ordinal, body)) = file.scan.records.first() else { return Ok((Vec::new(), false)) };
    let opens = |key: &FileKey| key.open(*ordinal, &mut file.bytes[body.clone()].to_vec()).is_some();
    let candidates = dir.keys().candidates(&file.header.salt);
    let place = candidates.iter().position(opens).ok_or_else(|| dir.wrong_key())?;
    let key = &candidates[place];
    let read = |(ordinal, body): &(u64, std::ops::Range<usize>)| {
        let mut bytes = file.bytes[body.clone()].to_vec();
        // The checksum was right, so this is what was written; it does not open because the key is another.
        let plain = key.open(*ordinal, &mut bytes).ok_or_else(|| dir.wrong_key())?;
        Saved::decode(plain).ok_or_else(|| RaftError::Damaged { path: file.path.clone(), offset: body.start })
    };
    let records: Result<_, _> = file.scan.records.iter().map(read).collect();
    Ok((records?, place > 0))
}

/// Cuts zeros and a torn write off the last file: it is never written to again, and small files are what many restarts leave.
fn cut(last: &Recovered) -> Result<(), RaftError> {
    let file = OpenOptions::new().write(true).open(&last.path).map_err(RaftError::file("open", &last.path))?;
    file.set_len(last.scan.end as u64).and_then(|()| file.sync_all()).map_err(RaftError::file("cut", &last.path))
}

#[cfg(test)]
mod tests;
