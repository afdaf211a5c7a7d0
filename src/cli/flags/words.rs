//! One text into words, as a shell would cut it: what `--entrypoint` and `--args` take.

use crate::cli::error::usage;

/// Cuts at blanks outside of quotes. In double quotes a backslash keeps its meaning before `"`, `\`, `$` and a backquote
/// only, in single quotes nowhere.
///
/// # Errors
/// When a quote is not closed, or nothing follows a backslash.
pub(crate) fn words(text: &str) -> anyhow::Result<Vec<String>> {
    split(text).ok_or_else(|| usage(format!("failed to read the words of {text:?}: a quote or backslash is left open")))
}

fn split(text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => all.extend(word.take()),
            '\'' => single(&mut letters, word.get_or_insert_default())?,
            '"' => double(&mut letters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(letters.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    all.extend(word);
    Some(all)
}

fn single(letters: &mut impl Iterator<Item = char>, word: &mut String) -> Option<()> {
    loop {
        match letters.next()? {
            '\'' => return Some(()),
            other => word.push(other),
        }
    }
}

fn double(letters: &mut impl Iterator<Item = char>, word: &mut String) -> Option<()> {
    loop {
        match letters.next()? {
            '"' => return Some(()),
            '\\' => {
                let escaped = letters.next()?;
                if !matches!(escaped, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_does() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("sleep 1000", &["sleep", "1000"]),
            ("  sh  -c 'echo a b' ", &["sh", "-c", "echo a b"]),
            (r#"echo "a \"b\" \n""#, &["echo", r#"a "b" \n"#]),
            (r"a\ b", &["a b"]),
            ("'' x", &["", "x"]),
            ("a'b'\"c\"", &["abc"]),
            (r"'a\'", &[r"a\"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(words(text).unwrap(), wanted, "{text}");
        }
        for bad in ["'", "\"a", "a\\"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(list in proptest::collection::vec("[^']{0,9}", 0..5)) {
            let quoted: Vec<String> = list.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(words(&quoted.join(" ")).unwrap(), list);
        }
    }
}
