//! Environment variables of a container.

use crate::cli::error::usage;

/// The value of a variable of the client's own environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads `NAME=value` pairs. `NAME` alone is copied from the client's environment, and left out when it is not there;
/// a later one takes the place of an earlier one.
///
/// # Errors
/// For one without a name.
pub(crate) fn variables(texts: &[String], lookup: Lookup<'_>) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for text in texts {
        let name = name(text);
        if name.is_empty() {
            return Err(usage(format!("failed to use {text:?} as a variable: write NAME=VALUE")));
        }
        let value = if text.contains('=') { Some(text.clone()) } else { lookup(name).map(|v| format!("{name}={v}")) };
        if let Some(value) = value {
            put(&mut all, value);
        }
    }
    Ok(all)
}

/// The lines of an env file that name variables; `#` begins a comment.
pub(crate) fn file_lines(text: &str) -> Vec<String> {
    // Docker takes a mark of the byte order for no part of the first name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Takes away the variables of these names, then adds the others in place of those of the same name.
///
/// # Errors
/// For a variable without a name.
pub(crate) fn edit_variables(
    current: &mut Vec<String>,
    remove: &[String],
    add: &[String],
    lookup: Lookup<'_>,
) -> anyhow::Result<()> {
    current.retain(|variable| !remove.iter().any(|gone| gone == name(variable)));
    for variable in variables(add, lookup)? {
        put(current, variable);
    }
    Ok(())
}

/// Replaces in place: the order is what a user sees when inspecting.
fn put(all: &mut Vec<String>, variable: String) {
    match all.iter_mut().find(|other| name(other) == name(&variable)) {
        Some(other) => *other = variable,
        None => all.push(variable),
    }
}

fn name(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn home(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn a_name_alone_is_copied_from_the_client() {
        let read = variables(&texts(&["A=1", "HOME", "GONE", "B=", "A=x=y"]), &home).unwrap();
        assert_eq!(read, ["A=x=y", "HOME=/root", "B="]);
        assert!(variables(&texts(&["=1"]), &home).is_err());
    }

    #[test]
    fn comments_and_empty_lines_of_a_file_are_passed_over() {
        assert_eq!(file_lines("\u{feff}A=1\n\n # not this\r\n  B=2 # kept\nHOME\n"), ["A=1", "B=2 # kept", "HOME"]);
    }

    #[test]
    fn editing_keeps_the_order() {
        let mut current = texts(&["A=1", "B=2", "C=3"]);
        edit_variables(&mut current, &texts(&["A"]), &texts(&["B=9", "D=4"]), &home).unwrap();
        assert_eq!(current, ["B=9", "C=3", "D=4"]);
    }
}
