//! Whole swarms of real daemons, and what is asked of most of them.

use super::{Machine, SOON, Said, World, wait_for};

/// Machines of one swarm: the managers come first. Dropped before the network that they are on.
#[derive(Debug)]
pub(crate) struct Swarm {
    /// All of them, m1 and on.
    pub machines: Vec<Machine>,
    /// The network.
    pub world: World,
    /// The one that cannot even be asked, because it hangs.
    pub silent: Option<usize>,
}

impl Swarm {
    /// So many managers and workers. All of them are ready, and every manager votes.
    pub(crate) fn new(managers: usize, workers: usize) -> Self {
        let world = World::new();
        let machines: Vec<Machine> = (0..managers + workers).map(|_| world.machine()).collect();
        machines[0].init();
        for manager in &machines[1..managers] {
            join_as_manager(manager, &machines[0]).ok();
        }
        machines[managers..].iter().for_each(|worker| worker.join(&machines[0]));
        let swarm = Self { machines, world, silent: None };
        swarm.until("everything to be there", |lines| {
            let ready = lines.iter().filter(|line| line.contains(" Ready")).count();
            ready == managers + workers && voters(lines) == managers
        });
        swarm
    }

    /// Those that can be asked.
    fn asked(&self) -> impl Iterator<Item = &Machine> {
        let hangs = self.silent.map(|place| self.machines[place].name.clone());
        self.machines.iter().filter(move |machine| machine.runs() && hangs.as_ref() != Some(&machine.name))
    }

    /// Waits until what `node ls` shows on some manager is as wanted: hostname, status and manager status of each node.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        wait_for(what, SOON, || {
            self.asked().map(statuses).any(|lines| !lines.is_empty() && holds(&lines)).then_some(())
        });
    }

    /// Waits for a line of `node ls`, as `m1 Ready Leader`.
    pub(crate) fn until_line(&self, line: &str) {
        self.until(line, |lines| lines.iter().any(|there| there == line));
    }

    /// Place of the machine that leads.
    pub(crate) fn leader(&self) -> usize {
        wait_for("a leader", SOON, || {
            let leads = self.asked().flat_map(statuses).find(|line| line.ends_with(" Leader"))?;
            let place =
                self.machines.iter().position(|machine| leads.starts_with(&format!("{} ", machine.hostname)))?;
            (self.machines[place].runs() && self.silent != Some(place)).then_some(place)
        })
    }

    /// Makes a change, at that machine, as soon as it can be made.
    pub(crate) fn change(&self, at: usize, name: &str) {
        wait_for("a change to be made", SOON, || {
            let said = change(&self.machines[at], name);
            // One that was lost on the way may have been made all the same.
            (said.code == 0 || said.err.contains("is taken")).then_some(())
        });
    }
}

/// Hostname, status and manager status of every node, as that manager lists them; nothing when it cannot.
pub(crate) fn statuses(machine: &Machine) -> Vec<String> {
    let said = machine.skep(&["node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}"]);
    if said.code == 0 { said.out.lines().map(|line| line.trim().to_owned()).collect() } else { Vec::new() }
}

/// Nodes that are managers and heard, among the lines of [`statuses`].
pub(crate) fn voters(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.ends_with(" Leader") || line.ends_with(" Reachable")).count()
}

/// Joins the swarm of `at` as a manager.
pub(crate) fn join_as_manager(machine: &Machine, at: &Machine) -> Said {
    let token = at.skep(&["swarm", "join-token", "-q", "manager"]).ok();
    machine.skep(&["swarm", "join", "--token", token.trim(), &format!("{}:2377", at.address)])
}

/// A change that costs nothing: a service without tasks.
pub(crate) fn change(machine: &Machine, name: &str) -> Said {
    machine.skep(&["service", "create", "-d", "--replicas", "0", "--name", name, "skep/hello"])
}
