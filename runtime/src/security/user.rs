//! Finds who a program runs as, in the image's own `/etc/passwd` and `/etc/group`.

/// Numbers to run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups. The own one is among them: a program that changes its group must not lose what is forbidden to that
    /// group. *Source:* CVE-2022-36109.
    pub groups: Vec<u32>,
    /// Home directory, for `HOME`.
    pub home: String,
}

/// A user or group that the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownUser {
    /// No such user.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    User {
        /// What was asked for.
        name: String,
    },
    /// No such group.
    #[error("unable to find group {name}: no matching entries in group file")]
    Group {
        /// What was asked for.
        name: String,
    },
    /// A number that is none of a user or group.
    #[error("uids and gids must be in range 0-{NUMBER_MAX}, and that of {name} is not")]
    OutOfRange {
        /// What was asked for.
        name: String,
    },
}

/// Largest number. The kernel takes the very largest of 32 bits for "leave it as it is", which would be root. *Source:* Docker.
const NUMBER_MAX: u32 = i32::MAX.cast_unsigned();

/// A user's line.
struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A group's line.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `wanted` (`user[:group]`, names or numbers, empty for root). A number is never taken for a name and needs no line; a
/// user without one has group 0 and home `/`. With a group named, the user's supplementary groups do not count. *Source:*
/// Docker's `--user`.
///
/// # Errors
/// [`UnknownUser`] when a name (not a number) has no line, or a number is out of range.
pub fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<Identity, UnknownUser> {
    let (user, named_group) = wanted.split_once(':').unwrap_or((wanted, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user)?;
    let line = users(passwd).find(|p| number.map_or(p.name == user, |uid| p.uid == uid));
    let (uid, mut gid, home) = match (&line, number) {
        (Some(p), _) => (p.uid, p.gid, p.home),
        (None, Some(uid)) => (uid, 0, "/"),
        (None, None) => return Err(UnknownUser::User { name: user.to_owned() }),
    };
    let mut groups = line.map_or_else(Vec::new, |p| memberships(p.name, group));
    if !named_group.is_empty() {
        (gid, groups) = (group_number(named_group, group)?, Vec::new());
    }
    if uid > NUMBER_MAX || groups.iter().chain([&gid]).any(|g| *g > NUMBER_MAX) {
        return Err(UnknownUser::OutOfRange { name: user.to_owned() });
    }
    groups.insert(0, gid);
    Ok(Identity { uid, gid, groups, home: if home.is_empty() { "/" } else { home }.to_owned() })
}

/// The number that a text is, if it is one.
fn number(text: &str) -> Result<Option<u32>, UnknownUser> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| *number <= NUMBER_MAX);
    number.map(Some).ok_or_else(|| UnknownUser::OutOfRange { name: text.to_owned() })
}

fn group_number(wanted: &str, group: &str) -> Result<u32, UnknownUser> {
    if let Some(number) = number(wanted)? {
        return Ok(number);
    }
    let found = groups(group).find(|g| g.name == wanted);
    found.map(|g| g.gid).ok_or_else(|| UnknownUser::Group { name: wanted.to_owned() })
}

fn memberships(user: &str, group: &str) -> Vec<u32> {
    let mine = |g: &Group<'_>| g.members.split(',').any(|member| member == user);
    groups(group).filter(mine).map(|g| g.gid).collect()
}

fn users(passwd: &str) -> impl Iterator<Item = Passwd<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some(Passwd { name: fields[0], uid, gid, home: fields.get(5).copied().unwrap_or("") })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let gid = fields.get(2)?.parse().ok()?;
        Some(Group { name: fields[0], gid, members: fields.get(3).copied().unwrap_or("") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# odd line\napp:x:1000:100::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\naudio:x:29:app,other\nvideo:x:44:other\n";

    fn who(wanted: &str) -> Result<(u32, u32, Vec<u32>, String), UnknownUser> {
        resolve(wanted, PASSWD, GROUP).map(|i| (i.uid, i.gid, i.groups, i.home))
    }

    #[test]
    fn name_and_number_lead_to_the_same_line() {
        let app = (1000, 100, vec![100, 29], "/home/app".to_owned());
        assert_eq!(who("app"), Ok(app.clone()));
        assert_eq!(who("1000"), Ok(app));
        assert_eq!(who(""), Ok((0, 0, vec![0], "/root".to_owned())));
    }

    #[test]
    fn named_group_replaces_all_groups() {
        assert_eq!(who("app:audio").map(|i| (i.1, i.2)), Ok((29, vec![29])));
        assert_eq!(who("7:8"), Ok((7, 8, vec![8], "/".to_owned())));
    }

    #[test]
    fn only_names_need_a_line() {
        assert_eq!(who("nobody"), Err(UnknownUser::User { name: "nobody".to_owned() }));
        assert_eq!(who("app:none"), Err(UnknownUser::Group { name: "none".to_owned() }));
        assert_eq!(who("4711"), Ok((4711, 0, vec![0], "/".to_owned())));
    }

    #[test]
    fn numbers_beyond_the_kernels_are_nobodys() {
        for wanted in ["4294967295", "2147483648", "99999999999999999999", "0:4294967295"] {
            assert!(matches!(who(wanted), Err(UnknownUser::OutOfRange { .. })), "{wanted}");
        }
        let line = "evil:x:4294967295:0::/:/bin/sh\n";
        assert!(matches!(resolve("evil", line, ""), Err(UnknownUser::OutOfRange { .. })));
        let line = "evil:x:1:4294967295::/:/bin/sh\n";
        assert!(matches!(resolve("evil", line, ""), Err(UnknownUser::OutOfRange { .. })));
        assert!(matches!(resolve("7", "", "evil:x:4294967295:7\n"), Ok(Identity { uid: 7, .. })));
    }

    #[test]
    fn number_is_never_a_name() {
        let passwd = "1000:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n";
        assert_eq!(resolve("1000", passwd, "").map(|i| i.uid), Ok(1000));
        assert_eq!(resolve("0:7", passwd, "7:x:0:\n").map(|i| i.gid), Ok(7));
    }

    proptest! {
        #[test]
        fn no_file_of_an_image_makes_it_panic(wanted in ".{0,20}", passwd in "(.{0,40}\n){0,5}", group in "([a-z:0-9,]{0,40}\n){0,5}") {
            let _ = resolve(&wanted, &passwd, &group);
        }
    }
}
