//! `--filter name=value`, as often as the user likes.
//!
//! Values of one name are alternatives, different names must all hold. Labels are the exception, as in Docker: each
//! `label` must be there, since a user who names two labels wants the objects that carry both.

use super::error::FormatError;
use std::collections::BTreeMap;

/// The filters of one command.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filters {
    values: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Reads the values of all `--filter` flags; `known` are the names that the command understands.
    ///
    /// # Errors
    /// [`FormatError::ReadFilter`] for one without `=`, [`FormatError::UnknownFilter`] for a name that is not in `known`.
    pub(crate) fn parse<S: AsRef<str>>(arguments: &[S], known: &[&str]) -> Result<Self, FormatError> {
        let mut filters = Self::default();
        for argument in arguments {
            let text = argument.as_ref();
            let (name, value) =
                text.split_once('=').ok_or_else(|| FormatError::ReadFilter { text: text.to_owned() })?;
            let name = name.trim().to_lowercase();
            if !known.contains(&name.as_str()) {
                return Err(FormatError::UnknownFilter { name, known: known.join(", ") });
            }
            filters.values.entry(name).or_default().push(value.trim().to_owned());
        }
        Ok(filters)
    }

    /// Refuses values of `name` other than `words`, such as a mode that does not exist.
    ///
    /// # Errors
    /// [`FormatError::FilterValue`], which lists the words.
    pub(crate) fn expect_words(&self, name: &str, words: &[&str]) -> Result<(), FormatError> {
        match self.values(name).iter().find(|value| !words.contains(&value.as_str())) {
            None => Ok(()),
            Some(value) => {
                Err(FormatError::FilterValue { name: name.to_owned(), value: value.clone(), known: words.join(" or ") })
            }
        }
    }

    /// Puts another value in the place of one, as an id for a word that stands for it.
    pub(crate) fn replace(&mut self, name: &str, word: &str, value: &str) {
        let given = self.values.get_mut(name).into_iter().flatten();
        given.filter(|given| *given == word).for_each(|given| value.clone_into(given));
    }

    /// What the user wanted of `name`, in the order of the flags; empty when it was not asked for.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether `actual` is one of the values of `name`. Holds when the filter was not given, as do all of these.
    pub(crate) fn is_exact(&self, name: &str, actual: &str) -> bool {
        self.holds(name, |wanted| actual == wanted)
    }

    /// Whether `actual` begins with one of the values of `name`.
    pub(crate) fn is_prefix(&self, name: &str, actual: &str) -> bool {
        self.holds(name, |wanted| actual.starts_with(wanted))
    }

    /// Whether `actual` contains one of the values of `name`.
    pub(crate) fn is_substring(&self, name: &str, actual: &str) -> bool {
        self.holds(name, |wanted| actual.contains(wanted))
    }

    /// Whether `labels` carry every `key` or `key=value` asked for under `name`.
    pub(crate) fn has_labels(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(name).iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|actual| actual == value),
            None => labels.contains_key(wanted),
        })
    }

    fn holds(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().any(|wanted| fits(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["id", "label", "mode", "name"];

    fn filters(arguments: &[&str]) -> Filters {
        Filters::parse(arguments, &KNOWN).unwrap()
    }

    #[test]
    fn values_of_one_name_are_alternatives() {
        let filters = filters(&["name=web", "name=api", "NAME = db "]);
        for (name, holds) in [("web", true), ("api-2", true), ("db", true), ("my-web", false), ("other", false)] {
            assert_eq!(filters.is_prefix("name", name), holds, "{name}");
        }
        assert!(filters.is_substring("name", "my-web"));
        assert!(filters.is_exact("name", "web") && !filters.is_exact("name", "web2"));
    }

    #[test]
    fn a_filter_that_was_not_given_holds() {
        let filters = filters(&[]);
        assert!(filters.is_exact("id", "x") && filters.has_labels("label", &BTreeMap::new()));
    }

    #[test]
    fn every_label_must_be_there() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        let cases: [(&[&str], bool); 6] = [
            (&["label=a"], true),
            (&["label=a=1"], true),
            (&["label=a=2"], false),
            (&["label=a=1", "label=b"], true),
            (&["label=a=1", "label=c"], false),
            (&["label=b="], true),
        ];
        for (arguments, holds) in cases {
            assert_eq!(filters(arguments).has_labels("label", &labels), holds, "{arguments:?}");
        }
    }

    #[test]
    fn unknown_filters_name_the_known_ones() {
        let error = Filters::parse(&["color=red"], &KNOWN).unwrap_err();
        assert_eq!(error.to_string(), "filter by \"color\": this command knows the filters id, label, mode, name");
        let error = Filters::parse(&["name"], &KNOWN).unwrap_err();
        assert_eq!(error, FormatError::ReadFilter { text: "name".to_owned() });
    }

    #[test]
    fn a_word_may_stand_for_a_value() {
        let mut filters = filters(&["name=self", "name=web", "id=self"]);
        filters.replace("name", "self", "api");
        assert!(
            filters.is_exact("name", "api") && filters.is_exact("name", "web") && !filters.is_exact("name", "self")
        );
        assert!(filters.is_exact("id", "self"));
    }

    #[test]
    fn words_are_checked() {
        let filters = filters(&["mode=global", "mode=swarm"]);
        let error = filters.expect_words("mode", &["replicated", "global"]).unwrap_err();
        assert_eq!(error.to_string(), "filter by mode=\"swarm\": it takes replicated or global");
        assert_eq!(filters.expect_words("mode", &["swarm", "global"]), Ok(()));
    }
}
