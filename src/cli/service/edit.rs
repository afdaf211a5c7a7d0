//! What `service update` does to a spec. Pure.
//!
//! What is removed is removed first, so that one command can replace an element. Removing what is not there is no error, as
//! in Docker: the outcome is what was asked for.

use skep_proto::model::{PortConfig, ServiceSpec};

use super::update::{ListEdits, UpdateFlags};
use crate::cli::flags::env::{Lookup, edit_variables};
use crate::cli::flags::labels::edit_labels;
use crate::cli::flags::placement::{capability, constraint, preference};
use crate::cli::flags::ports::{ports, target};
use crate::cli::flags::words::words;

impl UpdateFlags {
    /// Changes the spec as the flags say.
    ///
    /// # Errors
    /// When a flag's text cannot be read.
    pub(super) fn edit(&self, spec: &mut ServiceSpec, lookup: Lookup<'_>) -> anyhow::Result<()> {
        if let Some(image) = &self.image {
            spec.task.container.image.clone_from(image);
        }
        if let Some(text) = &self.args {
            spec.task.container.args = words(text)?;
        }
        if self.force {
            spec.task.force_update = spec.task.force_update.saturating_add(1);
        }
        self.settings.apply(spec)?;
        self.lists.apply(spec, lookup)
    }
}

impl ListEdits {
    fn apply(&self, spec: &mut ServiceSpec, lookup: Lookup<'_>) -> anyhow::Result<()> {
        edit_labels(&mut spec.labels, &self.label_rm, &self.label_add)?;
        edit_labels(&mut spec.task.container.labels, &self.container_label_rm, &self.container_label_add)?;
        edit_variables(&mut spec.task.container.env, &self.env_rm, &self.env_add, lookup)?;
        let constraints = &mut spec.task.placement.constraints;
        edit(constraints, &read(&self.constraint_rm, constraint)?, read(&self.constraint_add, constraint)?);
        let spread = &mut spec.task.placement.spread;
        edit(spread, &read(&self.placement_pref_rm, preference)?, read(&self.placement_pref_add, preference)?);
        self.edit_ports(&mut spec.ports)?;
        self.edit_capabilities(spec);
        Ok(())
    }

    /// A port that is added takes the place of those with the same target, whose number it changes.
    fn edit_ports(&self, current: &mut Vec<PortConfig>) -> anyhow::Result<()> {
        let gone = read(&self.publish_rm, target)?;
        current.retain(|port| !gone.contains(&(port.target, port.protocol)));
        let added = read(&self.publish_add, ports)?.concat();
        let replaced = |port: &PortConfig| {
            added.iter().any(|new| (new.target, new.protocol, new.mode) == (port.target, port.protocol, port.mode))
        };
        current.retain(|port| !replaced(port));
        current.extend(added);
        Ok(())
    }

    /// Adding undoes an earlier dropping, and dropping an earlier adding.
    fn edit_capabilities(&self, spec: &mut ServiceSpec) {
        let container = &mut spec.task.container;
        let added: Vec<String> = self.cap_add.iter().map(|text| capability(text)).collect();
        let dropped: Vec<String> =
            self.cap_drop.iter().map(|text| capability(text)).filter(|n| !added.contains(n)).collect();
        let (undone, undone_drops) = (
            dropped.iter().filter(|name| container.cap_add.contains(name)).cloned().collect::<Vec<_>>(),
            added.iter().filter(|name| container.cap_drop.contains(name)).cloned().collect::<Vec<_>>(),
        );
        edit(&mut container.cap_add, &dropped, without(added, &undone_drops));
        edit(&mut container.cap_drop, &undone_drops, without(dropped, &undone));
    }
}

fn read<T>(texts: &[String], one: impl Fn(&str) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    texts.iter().map(|text| one(text)).collect()
}

fn edit<T: PartialEq>(current: &mut Vec<T>, remove: &[T], add: Vec<T>) {
    current.retain(|item| !remove.contains(item));
    for item in add {
        if !current.contains(&item) {
            current.push(item);
        }
    }
}

fn without(items: Vec<String>, others: &[String]) -> Vec<String> {
    items.into_iter().filter(|item| !others.contains(item)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use skep_proto::model::{MinAvailable, Mode, ServiceName, TaskSpec, UpdateConfig};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: UpdateFlags,
    }

    fn start() -> ServiceSpec {
        let mut task = TaskSpec::default();
        task.container.image = "busybox:1".into();
        task.container.env = vec!["A=1".into(), "B=2".into()];
        task.container.cap_add = vec!["CAP_NET_ADMIN".into()];
        task.container.cap_drop = vec!["CAP_CHOWN".into()];
        task.placement.constraints = vec![constraint("node.role==manager").unwrap()];
        ServiceSpec {
            name: ServiceName::new("web").unwrap(),
            labels: [("a".to_owned(), "1".to_owned())].into(),
            task,
            mode: Mode::Replicated { replicas: 2 },
            ports: ports("8080:80").unwrap(),
            update: UpdateConfig::default(),
            min_available: MinAvailable::default(),
        }
    }

    fn edited(line: &str) -> ServiceSpec {
        let words = ["update"].into_iter().chain(line.split_whitespace()).chain(["web"]);
        let mut spec = start();
        Line::try_parse_from(words).unwrap().flags.edit(&mut spec, &|_| None).unwrap();
        spec
    }

    #[test]
    fn nothing_given_changes_nothing() {
        assert_eq!(edited(""), start());
        assert_eq!(edited("--with-registry-auth --env-rm GONE --constraint-rm a==b -d"), start());
    }

    #[test]
    fn what_is_given_is_changed_and_nothing_else() {
        let spec = edited("--image busybox:2 --replicas 5 --force --limit-memory 1m --args x");
        assert_eq!(spec.task.container.image, "busybox:2");
        assert_eq!(spec.mode, Mode::Replicated { replicas: 5 });
        assert_eq!((spec.task.force_update, spec.task.limits.memory_bytes), (1, 1 << 20));
        assert_eq!(spec.task.container.args, ["x"]);
        assert_eq!(spec.task.container.env, start().task.container.env);
    }

    #[test]
    fn lists_are_edited() {
        let spec = edited(
            "--label-rm a --label-add b=2 --env-rm A --env-add B=3 --env-add C=4 --constraint-rm node.role==manager \
             --constraint-add node.labels.x!=y --placement-pref-add spread=node.labels.z --publish-rm 80 --publish-add 443",
        );
        assert_eq!(spec.labels, [("b".to_owned(), "2".to_owned())].into());
        assert_eq!(spec.task.container.env, ["B=3", "C=4"]);
        assert_eq!(spec.task.placement.constraints, [constraint("node.labels.x!=y").unwrap()]);
        assert_eq!(spec.task.placement.spread, ["node.labels.z"]);
        assert_eq!(spec.ports, ports("443").unwrap());
    }

    #[test]
    fn a_port_may_get_another_number() {
        assert_eq!(edited("--publish-add 9090:80").ports, ports("9090:80").unwrap());
    }

    #[test]
    fn adding_and_dropping_capabilities_undo_each_other() {
        let spec = edited("--cap-add chown --cap-drop net_admin --cap-drop kill");
        assert_eq!(spec.task.container.cap_add, Vec::<String>::new());
        assert_eq!(spec.task.container.cap_drop, ["CAP_KILL"]);
    }
}
