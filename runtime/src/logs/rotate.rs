//! When a log goes on in a new file, and which files go.

/// Size at which a file is full, bytes. Ten MiB is what an operator can still open in an editor.
pub const FILE_MAX: u64 = 10 * 1024 * 1024;

/// Files kept for one container. Three times ten MiB bounds a thousand containers to 30 GB; past it the oldest lines go.
pub const FILES_MAX: u64 = 3;

/// Name of the file with that number.
#[must_use]
pub fn name(number: u64) -> String {
    format!("{number:08}.log")
}

/// Number of the file with that name, if it is a log file.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

/// Whether `adding` bytes more would overfill a file of `size`. A file takes at least one batch.
#[must_use]
pub fn is_full(size: u64, adding: u64) -> bool {
    size > 0 && size + adding > FILE_MAX
}

/// The file to remove when number `newest` is begun.
#[must_use]
pub fn outdated(newest: u64) -> Option<u64> {
    newest.checked_sub(FILES_MAX).filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_match() {
        assert_eq!(number(&name(7)), Some(7));
        assert_eq!(number("other"), None);
    }

    #[test]
    fn oldest_goes_when_there_are_too_many() {
        assert_eq!([1, 2, 3, 4, 9].map(outdated), [None, None, None, Some(1), Some(6)]);
    }

    #[test]
    fn full_file_takes_no_more_but_an_empty_one_takes_anything() {
        assert!(is_full(FILE_MAX, 1));
        assert!(!is_full(FILE_MAX - 1, 1));
        assert!(!is_full(0, FILE_MAX + 1));
    }
}
