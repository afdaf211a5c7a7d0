//! A wrong command line in one sentence, as every other error is told. Pure.

use std::error::Error;
use std::ffi::OsString;
use std::num::ParseIntError;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Lets flags take the next word whatever it begins with, as Docker's do: `--replicas -1` is then a wrong number and no unknown
/// flag, and `--args "-c x"` needs no trick.
pub(crate) fn greedy(command: Command) -> Command {
    let command = command.mut_args(|flag| {
        let takes_a_word = !flag.is_positional() && flag.get_action().takes_values();
        if takes_a_word { flag.allow_hyphen_values(true) } else { flag }
    });
    command.mut_subcommands(greedy)
}

/// The sentence for what clap found wrong with `words`, the command line without the program's name.
pub(crate) fn sentence(error: &clap::Error, tree: &Command, words: &[OsString]) -> String {
    let path = path(tree, words);
    let text = |kind| error.get(kind).map(plain).unwrap_or_default();
    let arg = text(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::ValueValidation => format!("failed to set {}: {}", flag(&arg), reason(error)),
        ErrorKind::InvalidValue => {
            let known = text(ContextKind::ValidValue);
            let given = text(ContextKind::InvalidValue);
            let given = if given.is_empty() { String::new() } else { format!(", not {given:?}") };
            let known = if known.is_empty() { "a value".to_owned() } else { known };
            format!("failed to set {}: it takes {known}{given}", flag(&arg))
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            let meant = meant(&text(ContextKind::SuggestedArg));
            format!("failed to run {path}: it has no flag {arg};{meant} `{path} --help` lists those it has")
        }
        ErrorKind::UnknownArgument => {
            format!("failed to run {path}: {arg:?} is one argument too many; `{path} --help` tells what it takes")
        }
        ErrorKind::InvalidSubcommand => {
            let (wrong, meant) = (text(ContextKind::InvalidSubcommand), meant(&text(ContextKind::SuggestedSubcommand)));
            format!(
                "failed to run {path} {wrong}: there is no such command;{meant} `{path} --help` lists those there are"
            )
        }
        ErrorKind::MissingRequiredArgument => {
            format!("failed to run {path}: {arg} is missing; `{path} --help` tells what it takes")
        }
        ErrorKind::ArgumentConflict => conflict(&path, &arg, &text(ContextKind::PriorArg)),
        _ => format!("failed to run {path}: {}; `{path} --help` tells what it takes", first_line(error)),
    }
}

fn conflict(path: &str, arg: &str, prior: &str) -> String {
    if prior == arg {
        return format!("failed to run {path}: {} is given more than once", flag(arg));
    }
    format!("failed to run {path}: {} cannot go together with {}", flag(arg), flag(prior))
}

/// The command that the words lead to, as in `skep service create`.
fn path(tree: &Command, words: &[OsString]) -> String {
    let mut names = vec![tree.get_name()];
    let mut command = tree;
    for word in words {
        if let Some(deeper) = word.to_str().and_then(|word| command.find_subcommand(word)) {
            names.push(deeper.get_name());
            command = deeper;
        }
    }
    names.join(" ")
}

/// A flag without the name of its value.
fn flag(arg: &str) -> &str {
    arg.split([' ', '=', '[']).next().unwrap_or(arg)
}

fn meant(suggestion: &str) -> String {
    if suggestion.is_empty() { String::new() } else { format!(" did you mean {suggestion}?") }
}

/// Why a value is wrong, in our words where it was found by ours.
fn reason(error: &clap::Error) -> String {
    let given = error.get(ContextKind::InvalidValue).map(plain).unwrap_or_default();
    let Some(source) = error.source() else { return format!("{given:?} cannot be read") };
    if source.is::<ParseIntError>() {
        return format!("{given:?} is no whole number");
    }
    let text = source.to_string();
    let range = text.split_once(" is not in ").and_then(|(_, range)| range.split_once("..="));
    range.map_or(text.clone(), |(least, most)| format!("{given} is no number from {least} to {most}"))
}

fn plain(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(list) => match list.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
            _ => list.concat(),
        },
        other => other.to_string(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Arguments;

    fn told(line: &[&str]) -> String {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        let tree = greedy(Arguments::command());
        let error = tree.clone().try_get_matches_from([&["skep".into()], words.as_slice()].concat()).unwrap_err();
        sentence(&error, &tree, &words)
    }

    #[test]
    fn each_mistake_is_one_sentence() {
        let cases: [(&[&str], &str); 12] = [
            (
                &["service", "create", "--replicas", "-1", "x"],
                "failed to set --replicas: -1 is no number from 0 to 4294967295",
            ),
            (
                &["service", "create", "--replicas", "many", "x"],
                "failed to set --replicas: \"many\" is no whole number",
            ),
            (
                &["service", "create", "--mode", "swarm", "x"],
                "failed to set --mode: it takes replicated or global, not \"swarm\"",
            ),
            (
                &["service", "create", "--limit-cpu", "-1", "x"],
                "failed to set --limit-cpu: read the number of cpus \"-1\": give a decimal with at most 9 digits after the \
                 point, such as 0.5",
            ),
            (
                &["service", "create", "--nam", "x"],
                "failed to run skep service create: it has no flag --nam; did you mean --name? `skep service create --help` \
                 lists those it has",
            ),
            (
                &["service", "create"],
                "failed to run skep service create: <IMAGE>... is missing; `skep service create --help` tells what it takes",
            ),
            (
                &["service", "foo"],
                "failed to run skep service foo: there is no such command; `skep service --help` lists those there are",
            ),
            (
                &["image", "tag", "a", "b", "c"],
                "failed to run skep image tag: \"c\" is one argument too many; `skep image tag --help` tells what it takes",
            ),
            (
                &["service", "rm", "--timeout", "1s", "--timeout", "2s", "x"],
                "failed to run skep service rm: --timeout is given more than once",
            ),
            (
                &["service", "create", "--detach=maybe", "x"],
                "failed to set --detach: it takes true or false, not \"maybe\"",
            ),
            (&["service", "ls", "--filter"], "failed to set --filter: it takes a value"),
            (
                &["service", "rm", "--timeout", "-3s", "x"],
                "failed to set --timeout: read the duration \"-3s\": give numbers with units of ms, s, m or h, such as 1m30s, \
                 none of them negative, and less than 292 years in all",
            ),
        ];
        for (line, wanted) in cases {
            assert_eq!(told(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn a_flag_takes_the_next_word_whatever_it_begins_with() {
        let words = ["skep", "service", "update", "--args", "-c x", "--env-rm", "-A", "web"];
        assert!(greedy(Arguments::command()).try_get_matches_from(words).is_ok());
    }
}
