//! What the container's init does before it becomes the program, in order, and why in that order.

/// One stage. Its text completes "failed to ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Joins its groups: first of all, so that everything it causes counts as the container's.
    JoinCgroups,
    /// A cgroup namespace of its own: after joining, because its root is where the process is then.
    HideCgroups,
    /// A session of its own and standard streams: nothing of the shim's is held from here on but the two pipes to it.
    Detach,
    /// The parent death signal, before anything that takes time.
    DieWithShim,
    /// Hostname, in the new UTS namespace.
    Hostname,
    /// The root's layers, and the pivot into them.
    EnterRoot,
    /// Filesystems, nodes, masks: after the pivot, so that no link of the image leads out.
    Furnish,
    /// User and groups from the image's own files: after the pivot, but while they can still be read by root.
    FindUser,
    /// The standard streams become the user's own: input from the container's devices, so after those are made, and outputs that can
    /// be opened anew as `/dev/stdout`.
    HandOverStreams,
    /// The working directory: made and entered as root, as Docker does.
    EnterWorkdir,
    /// The root becomes read-only, if it is to be: after the working directory, which is made where the image has none.
    FreezeRoot,
    /// The bounding set: takes `CAP_SETPCAP`, so before capabilities are given away.
    LimitBounding,
    /// The system call filter: takes `CAP_SYS_ADMIN`. What follows it passes it.
    LoadFilter,
    /// Groups and user.
    BecomeUser,
    /// Capability sets: after the change of user, which would have taken `CAP_SETUID`.
    LimitCapabilities,
    /// The parent death signal again: a change of user clears it.
    DieWithShimAgain,
    /// Tells the shim that all is done and waits for the word to start. After this only `execve` is left.
    AwaitStart,
}

/// The plan.
pub const INIT: [Stage; 17] = [
    Stage::JoinCgroups,
    Stage::HideCgroups,
    Stage::Detach,
    Stage::DieWithShim,
    Stage::Hostname,
    Stage::EnterRoot,
    Stage::Furnish,
    Stage::FindUser,
    Stage::HandOverStreams,
    Stage::EnterWorkdir,
    Stage::FreezeRoot,
    Stage::LimitBounding,
    Stage::LoadFilter,
    Stage::BecomeUser,
    Stage::LimitCapabilities,
    Stage::DieWithShimAgain,
    Stage::AwaitStart,
];

impl Stage {
    /// What the stage does, completing "failed to ...".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::JoinCgroups => "join the container's cgroups",
            Self::HideCgroups => "make a cgroup namespace",
            Self::Detach => "make a session and standard streams",
            Self::DieWithShim | Self::DieWithShimAgain => "bind the container's life to its shim",
            Self::Hostname => "set the hostname",
            Self::EnterRoot => "mount the image's layers as root filesystem",
            Self::Furnish => "mount the container's filesystems",
            Self::FindUser => "find the user",
            Self::HandOverStreams => "give the user its standard streams",
            Self::EnterWorkdir => "enter the working directory",
            Self::FreezeRoot => "make the root read-only",
            Self::LimitBounding => "limit the capability bounding set",
            Self::LoadFilter => "load the system call filter",
            Self::BecomeUser => "change to the user",
            Self::LimitCapabilities => "limit the capabilities",
            Self::AwaitStart => "wait for the word to start",
        }
    }
}

/// Paths to try for a program: as it is if it has a slash, else one per directory of `path`. Nothing has no name.
#[must_use]
pub fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.is_empty() {
        return Vec::new();
    }
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let dirs = path.split(':').map(|dir| if dir.is_empty() { "." } else { dir });
    dirs.map(|dir| format!("{dir}/{program}")).collect()
}

/// What to say, and the exit code as of a shell, when executing `program` failed with `errno`; `found` if there is such a file, so
/// that it is its interpreter or loader that is missing.
#[must_use]
pub fn exec_failure(program: &str, errno: i32, found: bool) -> (String, i32) {
    let missing = matches!(errno, libc::ENOENT | libc::ENOTDIR);
    let reason = match errno {
        _ if missing && found => "its interpreter or loader, which it names itself, is not in the image".to_owned(),
        _ if missing && program.contains('/') => format!("stat {program}: no such file or directory"),
        _ if missing => "executable file not found in $PATH".to_owned(),
        libc::EACCES | libc::EPERM | libc::EISDIR => "permission denied".to_owned(),
        libc::ENOEXEC => "exec format error".to_owned(),
        libc::E2BIG => "argument list too long".to_owned(),
        libc::EINVAL => "an argument or a variable of the environment has a zero byte".to_owned(),
        other => format!("error {other}"),
    };
    (format!("exec: {program:?}: {reason}"), if missing && !found { 127 } else { 126 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stage: Stage) -> usize {
        INIT.iter().position(|s| *s == stage).unwrap()
    }

    #[test]
    fn rights_are_used_before_they_are_given_away() {
        assert!(at(Stage::LoadFilter) < at(Stage::LimitCapabilities));
        assert!(at(Stage::LimitBounding) < at(Stage::BecomeUser));
        assert!(at(Stage::EnterWorkdir) < at(Stage::FreezeRoot) && at(Stage::FreezeRoot) < at(Stage::LoadFilter));
        assert!(at(Stage::BecomeUser) < at(Stage::LimitCapabilities));
        assert!(at(Stage::BecomeUser) < at(Stage::DieWithShimAgain));
    }

    #[test]
    fn image_is_touched_only_from_inside() {
        assert!(at(Stage::EnterRoot) < at(Stage::Furnish));
        assert!(at(Stage::EnterRoot) < at(Stage::FindUser));
        assert!(at(Stage::Furnish) < at(Stage::HandOverStreams));
    }

    #[test]
    fn program_is_looked_up_as_a_shell_does() {
        assert_eq!(candidates("sh", "/bin::/usr/bin"), ["/bin/sh", "./sh", "/usr/bin/sh"]);
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert!(candidates("", "/bin").is_empty());
    }

    #[test]
    fn failures_read_like_dockers() {
        let interpreter = "exec: \"/run\": its interpreter or loader, which it names itself, is not in the image";
        assert_eq!(exec_failure("/run", libc::ENOENT, true), (interpreter.to_owned(), 126));
        let cases = [
            ("nope", libc::ENOENT, "exec: \"nope\": executable file not found in $PATH", 127),
            ("/nope", libc::ENOENT, "exec: \"/nope\": stat /nope: no such file or directory", 127),
            ("/etc", libc::EACCES, "exec: \"/etc\": permission denied", 126),
        ];
        for (program, errno, text, code) in cases {
            assert_eq!(exec_failure(program, errno, false), (text.to_owned(), code));
        }
    }
}
