//! Writes and reads log files.
#![expect(clippy::disallowed_methods, reason = "driver: owns the log files")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{self, Found, LINE_MAX};
use super::{LogLine, LogQuery, rotate};

/// Appends records; used by the shim, one per container.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    number: u64,
    file: Option<File>,
    size: u64,
}

impl Writer {
    /// Goes on with the newest file of `dir`, which must exist.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        let number = numbers(dir).last().copied().unwrap_or(1);
        let size = fs::metadata(dir.join(rotate::name(number))).map_or(0, |m| m.len());
        Self { dir: dir.to_owned(), number, file: None, size }
    }

    /// Appends whole records in one write. A write that came short is undone, so that the file stays readable.
    ///
    /// # Errors
    /// When the disk refuses; the records are lost, and the next call tries anew.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if rotate::is_full(self.size, records.len() as u64) {
            self.next_file();
        }
        let at = self.size;
        let file = self.file()?;
        match file.write_all_at(records, at) {
            Ok(()) => {
                self.size += records.len() as u64;
                Ok(())
            }
            Err(e) => {
                let _ = file.set_len(at);
                Err(e)
            }
        }
    }

    fn next_file(&mut self) {
        self.number += 1;
        self.file = None;
        self.size = 0;
        if let Some(old) = rotate::outdated(self.number) {
            let _ = fs::remove_file(self.dir.join(rotate::name(old)));
        }
    }

    fn file(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let path = self.dir.join(rotate::name(self.number));
            self.file = Some(OpenOptions::new().create(true).append(false).write(true).truncate(false).open(path)?);
        }
        Ok(self.file.as_ref().expect("opened just now"))
    }
}

fn numbers(dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut numbers: Vec<u64> = entries.filter_map(|e| rotate::number(e.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

/// Bytes read at once: holds any record whole, with room for many small ones.
const CHUNK: usize = 64 * 1024;
const _: () = assert!(CHUNK > LINE_MAX + frame::HEADER + frame::TRAILER);

/// Reads from a place on; used by anyone, any number at once.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    query: LogQuery,
    number: u64,
    file: Option<File>,
    at: u64,
    /// Where a reader that does not follow ends: what is printed while it reads is not for it, or it might never end.
    until: Option<(u64, u64)>,
}

impl Reader {
    /// Starts where the query's tail begins; ends, unless it follows, with what is there now.
    #[must_use]
    pub fn open(dir: &Path, query: LogQuery) -> Self {
        let numbers = numbers(dir);
        let first = numbers.first().copied().unwrap_or(1);
        let end = end(dir, &numbers);
        let (number, at) = tail_start(dir, &numbers, &query, end).unwrap_or((first, 0));
        let until = (!query.follow).then_some(end);
        Self { dir: dir.to_owned(), query, number, file: None, at, until }
    }

    /// The next wanted lines, at most what one read holds. Empty: nothing more is there now.
    pub fn next_lines(&mut self) -> Vec<LogLine> {
        while self.until.is_none_or(|until| (self.number, self.at) < until) {
            // Looked up before the read: if there is a successor now, what the read finds is all that this file will have.
            let successor = numbers(&self.dir).into_iter().find(|n| *n > self.number);
            let (lines, used) = self.read_chunk();
            self.at += used as u64;
            let wanted: Vec<LogLine> = lines.into_iter().filter(|line| self.query.wants(line)).collect();
            match successor {
                _ if !wanted.is_empty() => return wanted,
                _ if used > 0 => {}
                None => return Vec::new(),
                Some(next) => (self.number, self.file, self.at) = (next, None, 0),
            }
        }
        Vec::new()
    }

    /// Lines of one chunk, and how many bytes they take.
    fn read_chunk(&mut self) -> (Vec<LogLine>, usize) {
        // Opened anew until the file is there: the writer makes it with the first line.
        if self.file.is_none() {
            self.file = File::open(self.dir.join(rotate::name(self.number))).ok();
        }
        let rest = self.until.filter(|(number, _)| *number == self.number).map(|(_, end)| end - self.at);
        let rest = rest.and_then(|rest| usize::try_from(rest).ok()).unwrap_or(CHUNK);
        let mut chunk = vec![0; rest.min(CHUNK)];
        let length = self.file.as_ref().and_then(|f| f.read_at(&mut chunk, self.at).ok()).unwrap_or(0);
        parse(&chunk[..length])
    }
}

/// Whole records at the start of `bytes`, and how many bytes they take.
fn parse(bytes: &[u8]) -> (Vec<LogLine>, usize) {
    let (mut lines, mut used) = (Vec::new(), 0);
    while let Found::Record(line, total) = frame::decode(&bytes[used..]) {
        lines.push(line);
        used += total;
    }
    (lines, used)
}

/// Where the newest file ends at present.
fn end(dir: &Path, numbers: &[u64]) -> (u64, u64) {
    let newest = numbers.last().copied().unwrap_or(1);
    (newest, fs::metadata(dir.join(rotate::name(newest))).map_or(0, |m| m.len()))
}

/// Where the last `tail` wanted lines begin, walking back over the files.
fn tail_start(dir: &Path, numbers: &[u64], query: &LogQuery, newest: (u64, u64)) -> Option<(u64, u64)> {
    let (mut start, mut missing) = (None, query.tail?);
    for number in numbers.iter().rev() {
        let mut bytes = fs::read(dir.join(rotate::name(*number))).unwrap_or_default();
        if *number == newest.0 {
            bytes.truncate(usize::try_from(newest.1).unwrap_or(usize::MAX));
        }
        let mut end = whole_length(&bytes);
        while missing > 0
            && let Some(at) = frame::last_record(&bytes[..end])
        {
            let wanted = matches!(frame::decode(&bytes[at..]), Found::Record(line, _) if query.wants(&line));
            missing -= usize::from(wanted);
            end = at;
        }
        start = Some((*number, end as u64));
        if missing == 0 {
            break;
        }
    }
    start
}

/// Length without a torn end.
fn whole_length(bytes: &[u8]) -> usize {
    if frame::last_record(bytes).is_some() { bytes.len() } else { parse(bytes).1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;

    fn record(text: &str, at_ms: u64, stream: Stream) -> Vec<u8> {
        let mut out = Vec::new();
        frame::encode(&mut out, at_ms, stream, text.as_bytes(), false);
        out
    }

    fn texts(reader: &mut Reader) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let lines = reader.next_lines();
            if lines.is_empty() {
                return all;
            }
            all.extend(lines.into_iter().map(|l| String::from_utf8(l.bytes).unwrap()));
        }
    }

    fn written(count: usize) -> (tempfile::TempDir, Writer) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path());
        for n in 0..count {
            let stream = if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            writer.append(&record(&n.to_string(), n as u64, stream)).unwrap();
        }
        (dir, writer)
    }

    #[test]
    fn tail_counts_only_wanted_lines() {
        let (dir, _writer) = written(10);
        let query = LogQuery { tail: Some(2), stderr: false, ..LogQuery::default() };
        assert_eq!(texts(&mut Reader::open(dir.path(), query)), ["6", "8"]);
        let query = LogQuery { since_ms: 7, ..LogQuery::default() };
        assert_eq!(texts(&mut Reader::open(dir.path(), query)), ["7", "8", "9"]);
        let none = LogQuery { tail: Some(0), ..LogQuery::default() };
        assert!(texts(&mut Reader::open(dir.path(), none)).is_empty());
        let more = LogQuery { tail: Some(99), ..LogQuery::default() };
        assert_eq!(texts(&mut Reader::open(dir.path(), more)).len(), 10);
    }

    #[test]
    fn reader_follows_across_files_and_writer_keeps_three() {
        let (dir, mut writer) = written(1);
        let mut reader = Reader::open(dir.path(), LogQuery { follow: true, ..LogQuery::default() });
        assert_eq!(texts(&mut reader), ["0"]);
        let mut expected = Vec::new();
        for n in 0..5 {
            writer.next_file();
            writer.append(&record(&format!("file {n}"), 1, Stream::Stdout)).unwrap();
            expected.push(format!("file {n}"));
            assert_eq!(texts(&mut reader), [format!("file {n}")]);
        }
        assert_eq!(numbers(dir.path()), [4, 5, 6]);
        assert_eq!(texts(&mut Reader::open(dir.path(), LogQuery::default())), &expected[2..]);
    }

    #[test]
    fn a_reader_that_does_not_follow_ends_with_what_was_there() {
        let (dir, mut writer) = written(2);
        let mut reader = Reader::open(dir.path(), LogQuery::default());
        writer.append(&record("later", 9, Stream::Stdout)).unwrap();
        writer.next_file();
        writer.append(&record("much later", 10, Stream::Stdout)).unwrap();
        assert_eq!(texts(&mut reader), ["0", "1"]);
    }

    #[test]
    fn tail_reaches_into_the_file_before() {
        let (dir, mut writer) = written(3);
        writer.next_file();
        writer.append(&record("last", 9, Stream::Stdout)).unwrap();
        let query = LogQuery { tail: Some(2), ..LogQuery::default() };
        assert_eq!(texts(&mut Reader::open(dir.path(), query)), ["2", "last"]);
    }

    #[test]
    fn torn_last_record_is_left_out() {
        let (dir, _writer) = written(3);
        let path = dir.path().join(rotate::name(1));
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&record("torn", 9, Stream::Stdout)[..15]);
        fs::write(&path, bytes).unwrap();
        let query = LogQuery { tail: Some(1), ..LogQuery::default() };
        assert_eq!(texts(&mut Reader::open(dir.path(), query)), ["2"]);
        assert_eq!(texts(&mut Reader::open(dir.path(), LogQuery::default())), ["0", "1", "2"]);
    }

    #[test]
    fn writer_goes_on_after_a_restart() {
        let (dir, writer) = written(2);
        drop(writer);
        Writer::open(dir.path()).append(&record("again", 5, Stream::Stdout)).unwrap();
        assert_eq!(texts(&mut Reader::open(dir.path(), LogQuery::default())), ["0", "1", "again"]);
    }
}
