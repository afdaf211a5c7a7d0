//! Dockerfile lines that `image import --change` lays over an imported image's configuration.

use super::ImageConfig;

/// A line that is no change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "apply the change {line:?}: {reason}; known are CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER and WORKDIR"
)]
pub struct ChangeError {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The configuration that the lines, in order, make of an empty one.
///
/// # Errors
/// With the first line that is not understood.
pub fn apply(lines: &[String]) -> Result<ImageConfig, ChangeError> {
    let mut config = ImageConfig::default();
    for line in lines {
        apply_line(&mut config, line.trim()).map_err(|reason| ChangeError { line: line.clone(), reason })?;
    }
    Ok(config)
}

fn apply_line(config: &mut ImageConfig, line: &str) -> Result<(), &'static str> {
    let (word, rest) = line.split_once(char::is_whitespace).ok_or("it has no argument")?;
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = command(rest)?,
        "ENTRYPOINT" => config.entrypoint = command(rest)?,
        "ENV" => config.env.push(pair(rest)?),
        "EXPOSE" => config.exposed_ports.extend(rest.split_whitespace().map(port)),
        "LABEL" => {
            let text = pair(rest)?;
            let (key, value) = text.split_once('=').ok_or("it needs KEY=VALUE")?;
            config.labels.insert(key.to_owned(), value.to_owned());
        }
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "USER" => config.user = Some(rest.to_owned()),
        "WORKDIR" => config.working_dir = Some(rest.to_owned()),
        _ => return Err("its instruction is not known"),
    }
    Ok(())
}

/// The JSON form as it stands, the other one for a shell, as Docker does.
fn command(text: &str) -> Result<Vec<String>, &'static str> {
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|_| "its JSON is not a list of strings");
    }
    Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// `KEY=VALUE`, or the older `KEY VALUE`; one pair of quotes round the value goes.
fn pair(text: &str) -> Result<String, &'static str> {
    let split = text.split_once('=').or_else(|| text.split_once(char::is_whitespace));
    let (key, value) = split.ok_or("it needs KEY=VALUE")?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    if key.is_empty() { Err("it needs KEY=VALUE") } else { Ok(format!("{key}={unquoted}")) }
}

fn port(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("{text}/tcp") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn each_instruction_sets_its_part() {
        let config = apply(&lines(&[
            r#"CMD ["sleep", "1"]"#,
            "entrypoint /run me",
            "ENV A=\"b c\"",
            "ENV D e",
            "EXPOSE 80 53/udp",
            "LABEL k=v",
            "STOPSIGNAL SIGINT",
            "USER nobody",
            "WORKDIR /srv",
        ]))
        .unwrap();
        assert_eq!(config.cmd, ["sleep", "1"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "/run me"]);
        assert_eq!(config.env, ["A=b c", "D=e"]);
        assert_eq!(config.exposed_ports, ["80/tcp", "53/udp"]);
        assert_eq!(config.labels.get("k").map(String::as_str), Some("v"));
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!((config.user.as_deref(), config.working_dir.as_deref()), (Some("nobody"), Some("/srv")));
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused_by_name() {
        for bad in ["FROM x", "CMD", "CMD [1]", "ENV", "LABEL =x"] {
            assert!(apply(&lines(&[bad])).unwrap_err().to_string().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
