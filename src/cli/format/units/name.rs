//! Ids and names: short, sorted, cut.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// The first 12 characters of an id, without the `sha256:` in front.
pub(crate) fn short_id(id: &str) -> &str {
    let bare = id.split_once(':').map_or(id, |(_, bare)| bare);
    bare.char_indices().nth(12).map_or(bare, |(end, _)| &bare[..end])
}

/// Cuts `text` to `width` characters, the last of which is then `…`.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// The order of names in which `web.2` stands before `web.10`: runs of digits compare as numbers.
///
/// Names that differ only in leading zeros keep the order of their bytes, so that this is a total order.
pub(crate) fn natural_cmp(left: &str, right: &str) -> Ordering {
    let (mut lefts, mut rights) = (left.chars().peekable(), right.chars().peekable());
    loop {
        let order = match (lefts.peek(), rights.peek()) {
            (None, None) => return left.cmp(right),
            (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => {
                compare_numbers(&number(&mut lefts), &number(&mut rights))
            }
            _ => lefts.next().cmp(&rights.next()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes a run of digits without its leading zeros; as text, since it may be longer than any integer.
fn number(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        if digit != '0' || !digits.is_empty() {
            digits.push(digit);
        }
    }
    digits
}

fn compare_numbers(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_lose_their_algorithm_and_their_end() {
        let cases = [
            ("sha256:46f84241957dd0561a24f07d", "46f84241957d"),
            ("46f84241957dd0561a24f07d", "46f84241957d"),
            ("short", "short"),
            ("", ""),
            ("ääääääääääääää", "ääääääääääää"),
        ];
        for (id, short) in cases {
            assert_eq!(short_id(id), short);
        }
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        let cases = [("hello", 5, "hello"), ("hello!", 5, "hell…"), ("hello", 1, "…"), ("hello", 0, ""), ("", 0, "")];
        for (text, width, cut) in cases {
            assert_eq!(ellipsis(text, width), cut);
        }
    }

    #[test]
    fn numbers_in_names_sort_as_numbers() {
        let mut names = ["web.10", "web.2", "api", "web", "web.02", "web.2a", "Web.1", "web.99999999999999999999999"];
        names.sort_by(|left, right| natural_cmp(left, right));
        let sorted = ["Web.1", "api", "web", "web.02", "web.2", "web.2a", "web.10", "web.99999999999999999999999"];
        assert_eq!(names, sorted);
    }

    proptest! {
        #[test]
        fn the_order_is_antisymmetric(left in "[a0-9.]{0,12}", right in "[a0-9.]{0,12}") {
            prop_assert_eq!(natural_cmp(&left, &right), natural_cmp(&right, &left).reverse());
            prop_assert_eq!(natural_cmp(&left, &right) == Ordering::Equal, left == right);
        }
    }
}
