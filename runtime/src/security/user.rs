//! Finds who a program runs as, in the image's own `/etc/passwd` and `/etc/group`.

/// Numbers to run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
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
}

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

/// Resolves `wanted` (`user[:group]`, names or numbers, empty for root). A number needs no line; a user without one has group
/// 0 and home `/`. With a group named, the user's supplementary groups do not count. *Source:* Docker's `--user`.
///
/// # Errors
/// [`UnknownUser`] when a name (not a number) has no line.
pub fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<Identity, UnknownUser> {
    let (user, named_group) = wanted.split_once(':').unwrap_or((wanted, ""));
    let user = if user.is_empty() { "0" } else { user };
    let line = users(passwd).find(|p| p.name == user || user.parse() == Ok(p.uid));
    let (uid, gid, home) = match (&line, user.parse::<u32>()) {
        (Some(p), _) => (p.uid, p.gid, p.home),
        (None, Ok(uid)) => (uid, 0, "/"),
        (None, Err(_)) => return Err(UnknownUser::User { name: user.to_owned() }),
    };
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    if !named_group.is_empty() {
        return Ok(Identity { uid, gid: group_number(named_group, group)?, groups: Vec::new(), home });
    }
    let groups = line.map_or_else(Vec::new, |p| memberships(p.name, group));
    Ok(Identity { uid, gid, groups, home })
}

fn group_number(wanted: &str, group: &str) -> Result<u32, UnknownUser> {
    if let Some(found) = groups(group).find(|g| g.name == wanted) {
        return Ok(found.gid);
    }
    wanted.parse().map_err(|_| UnknownUser::Group { name: wanted.to_owned() })
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
        let app = (1000, 100, vec![29], "/home/app".to_owned());
        assert_eq!(who("app"), Ok(app.clone()));
        assert_eq!(who("1000"), Ok(app));
        assert_eq!(who(""), Ok((0, 0, vec![], "/root".to_owned())));
    }

    #[test]
    fn named_group_replaces_all_groups() {
        assert_eq!(who("app:audio").map(|i| (i.1, i.2)), Ok((29, vec![])));
        assert_eq!(who("7:8"), Ok((7, 8, vec![], "/".to_owned())));
    }

    #[test]
    fn only_names_need_a_line() {
        assert_eq!(who("nobody"), Err(UnknownUser::User { name: "nobody".to_owned() }));
        assert_eq!(who("app:none"), Err(UnknownUser::Group { name: "none".to_owned() }));
        assert_eq!(who("4711"), Ok((4711, 0, vec![], "/".to_owned())));
    }

    proptest! {
        #[test]
        fn no_file_of_an_image_makes_it_panic(wanted in ".{0,20}", passwd in "(.{0,40}\n){0,5}", group in "([a-z:0-9,]{0,40}\n){0,5}") {
            let _ = resolve(&wanted, &passwd, &group);
        }
    }
}
