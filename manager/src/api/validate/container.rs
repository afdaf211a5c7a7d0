//! What a container is given: texts that a node would refuse are refused here, before anything is scheduled.

use std::net::IpAddr;
use std::time::Duration;

use skep_proto::model::ContainerSpec;

use super::image::image;
use super::invalid::Invalid;
use super::labels;

/// Longest hostname that the kernel takes (`HOST_NAME_MAX`, Linux).
const HOSTNAME_LEN_MAX: usize = 64;
/// Longest time between the stop signal and SIGKILL; longer is a typing error.
const STOP_GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Last signal of Linux.
const SIGNAL_MAX: u32 = 64;

/// Signals by name. *Source:* signal(7).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Capabilities without their `CAP_`. *Source:* capabilities(7).
const CAPABILITIES: &str = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE \
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT \
    SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM ALL";

/// Placeholders that have no name of the user's in them.
const PLACEHOLDERS: [&str; 7] =
    [".Service.ID", ".Service.Name", ".Node.ID", ".Node.Hostname", ".Task.ID", ".Task.Name", ".Task.Slot"];

pub(super) fn container(spec: &ContainerSpec) -> Result<(), Invalid> {
    image(&spec.image)?;
    labels(spec.labels.keys())?;
    spec.env.iter().try_for_each(|text| env(text))?;
    let words = spec.command.iter().chain(&spec.args).map(|text| ("the command", text));
    let single = [("the working directory", &spec.dir), ("the user", &spec.user), ("the hostname", &spec.hostname)];
    words.chain(single).try_for_each(|(field, text)| no_zero(field, text))?;
    dir(&spec.dir)?;
    hostname(&spec.hostname)?;
    stop(spec)?;
    spec.cap_add.iter().chain(&spec.cap_drop).try_for_each(|name| capability(name))?;
    spec.hosts.iter().try_for_each(|line| host(line))?;
    spec.dns.iter().try_for_each(|text| name_server(text))
}

fn refuse(field: &'static str, text: &str, rule: &'static str) -> Result<(), Invalid> {
    Err(Invalid::Text { field, text: text.to_owned(), rule })
}

fn no_zero(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') { Err(Invalid::ZeroByte { field, text: text.to_owned() }) } else { Ok(()) }
}

fn env(text: &str) -> Result<(), Invalid> {
    let refuse = |rule| Err(Invalid::Env { text: text.to_owned(), rule });
    match text.split_once('=').map_or(text, |(name, _)| name) {
        "" => refuse("it needs a name before '='"),
        _ if text.contains('\0') => refuse("it holds a zero byte"),
        _ => template(text).map(|_| ()),
    }
}

fn dir(text: &str) -> Result<(), Invalid> {
    let fine = text.is_empty() || text.starts_with('/');
    if fine { Ok(()) } else { refuse("the working directory", text, "it must be an absolute path, as in /srv") }
}

/// A name with placeholders is measured when they are filled in.
fn hostname(text: &str) -> Result<(), Invalid> {
    let fixed = template(text)?;
    let clean = fixed.iter().all(|part| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    let plain = fixed.len() == 1;
    if clean && (!plain || text.len() <= HOSTNAME_LEN_MAX) {
        return Ok(());
    }
    refuse("the hostname", text, "it has at most 64 letters, digits, '-', '.' or '_'")
}

fn stop(spec: &ContainerSpec) -> Result<(), Invalid> {
    if !spec.stop_signal.is_empty() && !is_signal(&spec.stop_signal) {
        let rule = "give a name such as SIGTERM or TERM, or a number from 1 to 64";
        return refuse("the stop signal", &spec.stop_signal, rule);
    }
    if spec.stop_grace > STOP_GRACE_MAX {
        let value = format!("{} s", spec.stop_grace.as_secs());
        return Err(Invalid::Number { field: "the stop grace period", value, rule: "24h at most" });
    }
    Ok(())
}

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=SIGNAL_MAX).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    // There are 31 real-time signals; how they are counted is up to the node.
    let offset = |rest: &str, sign| rest.is_empty() || rest.strip_prefix(sign).is_some_and(is_real_time_offset);
    SIGNALS.contains(&bare)
        || bare.strip_prefix("RTMIN").is_some_and(|rest| offset(rest, '+'))
        || bare.strip_prefix("RTMAX").is_some_and(|rest| offset(rest, '-'))
}

fn is_real_time_offset(digits: &str) -> bool {
    digits.parse::<u32>().is_ok_and(|offset| offset <= 30)
}

fn capability(name: &str) -> Result<(), Invalid> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let known = CAPABILITIES.split_whitespace().any(|known| known == bare);
    if known { Ok(()) } else { refuse("a capability", name, "give a name such as NET_ADMIN or CAP_NET_ADMIN, or ALL") }
}

/// A line for `/etc/hosts`, which must stay one line.
fn host(line: &str) -> Result<(), Invalid> {
    let pair = line.split_once(' ').filter(|(ip, _)| ip.parse::<IpAddr>().is_ok());
    let fine =
        pair.is_some_and(|(_, name)| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#'));
    if fine { Ok(()) } else { refuse("a host entry", line, "it is an IP address and a name without blanks") }
}

fn name_server(text: &str) -> Result<(), Invalid> {
    if text.parse::<IpAddr>().is_ok() { Ok(()) } else { refuse("a name server", text, "give its IP address") }
}

/// The parts around the placeholders, all of which are known.
fn template(text: &str) -> Result<Vec<&str>, Invalid> {
    let refused = || Invalid::Template { text: text.to_owned() };
    let mut parts = text.split("{{");
    let mut fixed: Vec<&str> = parts.next().into_iter().collect();
    for part in parts {
        let (name, rest) = part.split_once("}}").ok_or_else(refused)?;
        if !is_placeholder(name.trim()) {
            return Err(refused());
        }
        fixed.push(rest);
    }
    Ok(fixed)
}

fn is_placeholder(name: &str) -> bool {
    let label = name.strip_prefix(".Service.Labels.").is_some_and(|key| !key.is_empty());
    let indexed = name.strip_prefix("index .Service.Labels ").map(str::trim);
    let quoted = indexed.and_then(|text| text.strip_prefix('"')?.strip_suffix('"')).is_some();
    label || quoted || PLACEHOLDERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(change: impl FnOnce(&mut ContainerSpec)) -> Result<(), Invalid> {
        let mut spec = ContainerSpec { image: "web:1".into(), ..ContainerSpec::default() };
        change(&mut spec);
        container(&spec)
    }

    #[test]
    fn environment_variables_need_a_name() {
        let check = |text: &str| with(|spec| spec.env = vec![text.into()]);
        assert_eq!(check("A=b"), Ok(()));
        assert_eq!(check("A"), Ok(()));
        assert!(check("=b").is_err());
        assert!(check("").is_err());
        assert!(check("A=\0").is_err());
    }

    #[test]
    fn placeholders_must_mean_something() {
        let check = |text: &str| with(|spec| spec.env = vec![text.into()]);
        for good in [
            "A={{.Task.Slot}}-{{ .Node.Hostname }}",
            "A={{.Service.Labels.tier}}",
            "A={{index .Service.Labels \"a.b\"}}",
            "A=x}}y",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["A={{.Task.Colour}}", "A={{.Task.Slot", "A={{}}"] {
            assert!(matches!(check(bad), Err(Invalid::Template { .. })), "{bad}");
        }
    }

    #[test]
    fn a_hostname_is_one() {
        let check = |text: &str| with(|spec| spec.hostname = text.into());
        for good in ["", "web-1.example", "{{.Service.Name}}-{{.Task.Slot}}", &"a".repeat(64)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["bad host", "a/b", "{{.Task.Slot}} x", &"a".repeat(65)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_working_directory_is_absolute() {
        assert_eq!(with(|spec| spec.dir = "/srv".into()), Ok(()));
        assert!(with(|spec| spec.dir = "srv".into()).is_err());
    }

    #[test]
    fn signals_are_known_by_name_and_number() {
        let check = |text: &str| with(|spec| spec.stop_signal = text.into());
        for good in ["", "TERM", "sigint", "9", "SIGRTMIN+3", "RTMAX", "RTMAX-1"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["FOO", "0", "65", "-3", "RTMIN+99", "RTMIN3", "SIG"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stop_grace_is_a_day_at_most() {
        assert_eq!(with(|spec| spec.stop_grace = STOP_GRACE_MAX), Ok(()));
        assert!(with(|spec| spec.stop_grace = STOP_GRACE_MAX + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn capabilities_are_known_in_every_spelling() {
        let check = |text: &str| with(|spec| spec.cap_drop = vec![text.into()]);
        for good in ["CAP_NET_ADMIN", "net_admin", "ALL", "BPF"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["CAP_FOO", "", "NET ADMIN"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_entry_is_one_line_of_the_hosts_file() {
        let check = |text: &str| with(|spec| spec.hosts = vec![text.into()]);
        assert_eq!(check("10.0.0.1 db"), Ok(()));
        for bad in ["db", "10.0.0.1", "10.0.0.1 a\n10.0.0.2 b", "x db", "10.0.0.1 a#b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(with(|spec| spec.dns = vec!["dns.example".into()]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = (template(&text), hostname(&text), is_signal(&text), capability(&text), host(&text), dir(&text));
        }
    }
}
