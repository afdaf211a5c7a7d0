//! `KEY=VALUE` pairs.

use std::collections::BTreeMap;

use crate::cli::error::usage;

/// Reads labels; `KEY` alone has an empty value, and a later one wins.
///
/// # Errors
/// For one without a key.
pub(crate) fn labels(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    texts.iter().map(|text| label(text)).collect()
}

fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(usage(format!("failed to use {text:?} as a label: write KEY=VALUE")));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Takes away the labels of these keys, then adds the others.
///
/// # Errors
/// For a label without a key.
pub(crate) fn edit_labels(
    current: &mut BTreeMap<String, String>,
    remove: &[String],
    add: &[String],
) -> anyhow::Result<()> {
    current.retain(|key, _| !remove.contains(key));
    current.extend(labels(add)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_label_is_a_key_and_perhaps_a_value() {
        let read = labels(&texts(&["a=1", "b", "c=x=y", "a=2"])).unwrap();
        let pairs: Vec<(&str, &str)> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "2"), ("b", ""), ("c", "x=y")]);
        assert!(labels(&texts(&["=1"])).is_err());
    }

    #[test]
    fn a_label_may_be_replaced_in_one_go() {
        let mut current = labels(&texts(&["a=1", "b=2"])).unwrap();
        edit_labels(&mut current, &texts(&["a", "b"]), &texts(&["b=3"])).unwrap();
        assert_eq!(current, labels(&texts(&["b=3"])).unwrap());
    }
}
