//! Faults put into the log's files by hand.

use std::fs;
use std::path::{Path, PathBuf};

use raft::eraftpb::{Entry, HardState};

use super::super::{Birth, RaftDir};
use super::*;

fn saved(index: u64) -> Saved {
    let hard_state = HardState { term: 1, vote: 1, commit: index - 1, ..HardState::default() };
    let data = vec![u8::try_from(index).unwrap(); 20].into();
    Saved { hard_state, entries: vec![Entry { index, term: 1, data, ..Entry::default() }] }
}

/// A log of so many records in its first file, as a crash leaves it.
fn written(path: &Path, records: u64) -> PathBuf {
    let dir = RaftDir::open(path, Birth::Found, None).unwrap();
    let mut wal = Wal::begin(&dir, Past::read(&dir, false).unwrap()).unwrap();
    (1..=records).for_each(|index| wal.append(&dir, &saved(index)).unwrap());
    wal.active.path.clone()
}

fn read(path: &Path) -> Result<Vec<Saved>, RaftError> {
    let dir = RaftDir::open(path, Birth::Found, None).unwrap();
    Past::read(&dir, false).map(|past| past.saved)
}

fn expected(records: u64) -> Vec<Saved> {
    (1..=records).map(saved).collect()
}

/// Offsets at which the records begin, and where the last one ends.
fn bounds(file: &Path) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let header = Header::decode(&bytes).unwrap();
    let scan = segment::scan(&bytes, &header, None).unwrap();
    let starts = scan.records.iter().map(|(_, body)| body.start - record::HEADER_LEN);
    starts.chain([scan.end]).collect()
}

#[test]
fn what_was_appended_is_read_back_over_many_starts() {
    let temp = tempfile::tempdir().unwrap();
    for round in 0..5u64 {
        let dir = RaftDir::open(temp.path(), Birth::Found, None).unwrap();
        let past = Past::read(&dir, false).unwrap();
        assert_eq!(past.saved, expected(round * 3));
        let mut wal = Wal::begin(&dir, past).unwrap();
        (1..=3).for_each(|step| wal.append(&dir, &saved(round * 3 + step)).unwrap());
        assert_eq!(wal.files(), usize::try_from(round).unwrap() + 1);
    }
}

#[test]
fn a_last_record_cut_at_any_byte_is_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let file = written(temp.path(), 3);
    let (bytes, bounds) = (fs::read(&file).unwrap(), bounds(&file));
    let (start, end) = (bounds[2], bounds[3]);
    for cut in start..end {
        for zeros in [0, 4096] {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            fs::write(&file, &torn).unwrap();
            let found = read(temp.path()).unwrap();
            // What follows the body is padding: without it the record is whole.
            assert!(found == expected(2) || (found == expected(3) && cut + 8 > end), "cut at {cut}, {zeros} zeros");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_middle_is_refused_and_in_the_last_record_drops_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = written(temp.path(), 3);
    let (mut bytes, bounds) = (fs::read(&file).unwrap(), bounds(&file));
    bytes.truncate(bounds[3] + 512);
    let body_end = |record: usize| {
        let scan = segment::scan(&bytes, &Header::decode(&bytes).unwrap(), None).unwrap();
        scan.records[record].1.end
    };
    for bit in 0..body_end(2) * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &flipped).unwrap();
        let at = bit / 8;
        match read(temp.path()) {
            Ok(found) if at >= bounds[2] => assert_eq!(found, expected(2), "bit {bit}"),
            Ok(found) => {
                let padding = (0..2).any(|record| (body_end(record)..bounds[record + 1]).contains(&at));
                assert!(padding && found == expected(3), "bit {bit} was not seen");
            }
            Err(RaftError::Damaged { path, offset }) => {
                let begin = if at < HEADER_LEN { 0 } else { bounds.iter().rev().copied().find(|&b| b <= at).unwrap() };
                assert_eq!((path, offset), (file.clone(), begin), "bit {bit}");
                assert!(at < bounds[2], "bit {bit} of the last record is no reason to refuse");
            }
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
    assert_eq!(fs::read_dir(temp.path().join("wal")).unwrap().count(), 1, "nothing was changed");
}

#[test]
fn damage_in_a_file_with_a_successor_is_refused_wherever_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let file = written(temp.path(), 2);
    let second = written_on(temp.path());
    let bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 20;
    let mut flipped = bytes.clone();
    flipped[last] ^= 1;
    fs::write(&file, &flipped).unwrap();
    assert!(matches!(read(temp.path()), Err(RaftError::Damaged { .. })), "its last record was read at the last start");
    fs::write(&file, &bytes).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(matches!(read(temp.path()), Err(RaftError::Missing { .. })), "the first file is gone");
    drop(second);
}

/// One start without a write.
fn written_on(path: &Path) -> PathBuf {
    let dir = RaftDir::open(path, Birth::Found, None).unwrap();
    Wal::begin(&dir, Past::read(&dir, false).unwrap()).unwrap().active.path
}

#[test]
fn a_gap_between_files_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let first = written(temp.path(), 1);
    let second = written_on(temp.path());
    written_on(temp.path());
    fs::remove_file(&second).unwrap();
    let Err(RaftError::Missing { path }) = read(temp.path()) else { panic!("a gap was not seen") };
    assert_eq!(path, second);
    drop(first);
}

#[test]
fn a_file_that_was_only_being_made_is_passed_over() {
    let temp = tempfile::tempdir().unwrap();
    written(temp.path(), 2);
    for (len, byte, passes) in [(0, 0, true), (10, 0xff, true), (4096, 0, true), (4096, 0xff, false)] {
        let path = temp.path().join("wal").join(segment::name(1));
        fs::write(&path, vec![byte; len]).unwrap();
        assert_eq!(read(temp.path()).is_ok(), passes, "{len} bytes of {byte}");
    }
}

#[test]
fn what_a_failed_write_left_does_not_count() {
    let temp = tempfile::tempdir().unwrap();
    let dir = RaftDir::open(temp.path(), Birth::Found, None).unwrap();
    let mut wal = Wal::begin(&dir, Past::read(&dir, false).unwrap()).unwrap();
    wal.append(&dir, &saved(1)).unwrap();
    // The record reaches the file, but its sync is said to have failed: the writer goes on as if it had not been written.
    let before = wal.next;
    wal.append(&dir, &saved(9)).unwrap();
    wal.next = before;
    wal.reopen(&dir).unwrap();
    wal.append(&dir, &saved(2)).unwrap();
    drop((wal, dir));
    assert_eq!(read(temp.path()).unwrap(), expected(2));
}

#[test]
fn a_missing_or_wrong_key_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let file = written(temp.path(), 2);
    let key = temp.path().join("key");
    let mut bytes = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(matches!(RaftDir::open(temp.path(), Birth::Found, None), Err(RaftError::Key { .. })));
    bytes[0] ^= 1;
    fs::write(&key, &bytes).unwrap();
    assert!(matches!(read(temp.path()), Err(RaftError::Key { .. })));
    assert!(!fs::read(&file).unwrap().windows(20).any(|window| window == [1; 20]), "entries are not readable");
}

#[test]
fn only_files_that_a_snapshot_covers_are_deleted() {
    let temp = tempfile::tempdir().unwrap();
    let dir = RaftDir::open(temp.path(), Birth::Found, None).unwrap();
    let mut wal = Wal::begin(&dir, Past::read(&dir, false).unwrap()).unwrap();
    for index in 1..=4 {
        wal.append(&dir, &saved(index)).unwrap();
        wal.reopen(&dir).unwrap();
    }
    wal.compact(2).unwrap();
    assert_eq!(wal.files(), 3);
    drop((wal, dir));
    let dir = RaftDir::open(temp.path(), Birth::Found, None).unwrap();
    assert_eq!(Past::read(&dir, true).unwrap().saved, [saved(3), saved(4)]);
    assert!(matches!(Past::read(&dir, false), Err(RaftError::Missing { .. })), "without the snapshot it is half a log");
}

#[test]
fn one_process_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    let _held = RaftDir::open(temp.path(), Birth::Found, None).unwrap();
    assert!(matches!(RaftDir::open(temp.path(), Birth::Found, None), Err(RaftError::Locked { .. })));
}
