//! Records of log files, and how a stream of bytes becomes lines.
//!
//! A record is, in little endian: length of the bytes (4), time in Unix milliseconds (8), flags (1), the bytes, the length again (4).

/// Longest line kept in one record, bytes: Docker's bound. A longer line becomes several records, all but the last marked partial.
pub const LINE_MAX: usize = 16 * 1024;

/// Bytes before a record's own.
pub const HEADER: usize = 13;
/// Bytes after them.
pub const TRAILER: usize = 4;

const FLAG_STDERR: u8 = 1;
const FLAG_PARTIAL: u8 = 2;

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the container, Unix milliseconds.
    pub at_ms: u64,
    /// Where it was printed.
    pub stream: Stream,
    /// Its bytes, without the newline.
    pub bytes: Vec<u8>,
    /// Whether the line goes on in the next record of the same stream, or ended without a newline.
    pub partial: bool,
}

/// What a reader finds at a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record of so many bytes in all.
    Record(LogLine, usize),
    /// Not all of a record yet.
    Short,
    /// Bytes that are no record.
    Damaged,
}

/// Appends the record to `out`.
///
/// # Panics
/// When `bytes` are more than [`LINE_MAX`].
pub fn encode(out: &mut Vec<u8>, at_ms: u64, stream: Stream, bytes: &[u8], partial: bool) {
    let length = u32::try_from(bytes.len()).expect("lines are cut at LINE_MAX").to_le_bytes();
    let stderr = if stream == Stream::Stderr { FLAG_STDERR } else { 0 };
    out.extend_from_slice(&length);
    out.extend_from_slice(&at_ms.to_le_bytes());
    out.push(stderr | if partial { FLAG_PARTIAL } else { 0 });
    out.extend_from_slice(bytes);
    out.extend_from_slice(&length);
}

/// Reads the record at the start of `bytes`.
///
/// # Panics
/// Never: the slices' lengths are checked first.
#[must_use]
pub fn decode(bytes: &[u8]) -> Found {
    let Some(head) = bytes.get(..HEADER) else { return Found::Short };
    let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
    let flags = head[12];
    if length > LINE_MAX || flags & !(FLAG_STDERR | FLAG_PARTIAL) != 0 {
        return Found::Damaged;
    }
    let total = HEADER + length + TRAILER;
    let Some(record) = bytes.get(..total) else { return Found::Short };
    if record[..4] != record[total - TRAILER..] {
        return Found::Damaged;
    }
    let at_ms = u64::from_le_bytes(head[4..12].try_into().expect("eight bytes"));
    let stream = if flags & FLAG_STDERR == 0 { Stream::Stdout } else { Stream::Stderr };
    let text = record[HEADER..HEADER + length].to_vec();
    Found::Record(LogLine { at_ms, stream, bytes: text, partial: flags & FLAG_PARTIAL != 0 }, total)
}

/// Start of the last record in `bytes`, if they end with a whole one.
#[must_use]
pub fn last_record(bytes: &[u8]) -> Option<usize> {
    let trailer = bytes.len().checked_sub(TRAILER)?;
    let length = u32::from_le_bytes(bytes[trailer..].try_into().ok()?) as usize;
    let start = trailer.checked_sub(length.checked_add(HEADER)?)?;
    matches!(decode(&bytes[start..]), Found::Record(_, total) if start + total == bytes.len()).then_some(start)
}

/// Cuts one stream into lines. Holds at most [`LINE_MAX`] bytes.
#[derive(Debug)]
pub struct Splitter {
    stream: Stream,
    held: Vec<u8>,
}

impl Splitter {
    /// An empty one.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, held: Vec::new() }
    }

    /// Takes bytes as they came and appends the records that are whole by now to `out`.
    pub fn push(&mut self, mut bytes: &[u8], at_ms: u64, out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.take(&bytes[..end], at_ms, out);
            let line = std::mem::take(&mut self.held);
            encode(out, at_ms, self.stream, &line, false);
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, at_ms, out);
    }

    /// Holds `bytes`, none of which is a newline, and lets go of what is too long to hold.
    fn take(&mut self, mut bytes: &[u8], at_ms: u64, out: &mut Vec<u8>) {
        while self.held.len() + bytes.len() > LINE_MAX {
            let (fits, rest) = bytes.split_at(LINE_MAX - self.held.len());
            self.held.extend_from_slice(fits);
            encode(out, at_ms, self.stream, &self.held, true);
            self.held.clear();
            bytes = rest;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The stream has ended: what is held becomes a last record, marked partial because no newline ended it.
    pub fn finish(&mut self, at_ms: u64, out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            let line = std::mem::take(&mut self.held);
            encode(out, at_ms, self.stream, &line, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(mut bytes: &[u8]) -> Vec<LogLine> {
        let mut lines = Vec::new();
        while let Found::Record(line, total) = decode(bytes) {
            lines.push(line);
            bytes = &bytes[total..];
        }
        assert!(bytes.is_empty());
        lines
    }

    #[test]
    fn lines_are_split_at_newlines_across_reads() {
        let (mut splitter, mut out) = (Splitter::new(Stream::Stderr), Vec::new());
        splitter.push(b"one\ntw", 1, &mut out);
        splitter.push(b"o\n\nrest", 2, &mut out);
        splitter.finish(3, &mut out);
        let seen: Vec<(u64, &str, bool)> = lines(&out)
            .iter()
            .map(|l| (l.at_ms, std::str::from_utf8(&l.bytes).unwrap().to_owned().leak() as &str, l.partial))
            .collect();
        assert_eq!(seen, [(1, "one", false), (2, "two", false), (2, "", false), (3, "rest", true)]);
    }

    #[test]
    fn long_line_becomes_partial_records() {
        let (mut splitter, mut out) = (Splitter::new(Stream::Stdout), Vec::new());
        splitter.push(&vec![b'x'; 2 * LINE_MAX + 5], 1, &mut out);
        splitter.push(b"\n", 2, &mut out);
        let seen: Vec<(usize, bool)> = lines(&out).iter().map(|l| (l.bytes.len(), l.partial)).collect();
        assert_eq!(seen, [(LINE_MAX, true), (LINE_MAX, true), (5, false)]);
    }

    #[test]
    fn line_of_exactly_the_bound_is_whole() {
        let (mut splitter, mut out) = (Splitter::new(Stream::Stdout), Vec::new());
        splitter.push(&vec![b'x'; LINE_MAX], 1, &mut out);
        splitter.push(b"\n", 1, &mut out);
        assert_eq!(lines(&out).iter().map(|l| (l.bytes.len(), l.partial)).collect::<Vec<_>>(), [(LINE_MAX, false)]);
    }

    #[test]
    fn torn_record_is_short_and_garbage_is_damaged() {
        let mut out = Vec::new();
        encode(&mut out, 1, Stream::Stdout, b"hello", false);
        assert_eq!(decode(&out[..out.len() - 1]), Found::Short);
        assert_eq!(last_record(&out), Some(0));
        assert_eq!(last_record(&out[..out.len() - 1]), None);
        assert_eq!(decode(&[0xff; 40]), Found::Damaged);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_back_its_bytes(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let (mut splitter, mut out) = (Splitter::new(Stream::Stdout), Vec::new());
            chunks.iter().for_each(|chunk| splitter.push(chunk, 7, &mut out));
            splitter.finish(7, &mut out);
            let mut back = Vec::new();
            for line in lines(&out) {
                back.extend_from_slice(&line.bytes);
                if !line.partial {
                    back.push(b'\n');
                }
            }
            prop_assert_eq!(back, chunks.concat());
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
            let _ = last_record(&bytes);
        }
    }
}
