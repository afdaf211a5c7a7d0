//! The cluster object and nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::model::{
    Cluster, Meta, Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeStatus, ServiceId, TaskState, TaskStatus,
};

use super::super::apply::Work;
use super::super::error::Refusal;
use super::super::slab::Handle;
use super::in_sequence;

impl Work<'_> {
    /// Meta of an object written now.
    pub(super) fn stamp(&self, before: Option<&Meta>) -> Meta {
        let created_at = before.map_or(self.at, |meta| meta.created_at);
        Meta { version: self.state.index, created_at, updated_at: self.at }
    }

    pub(in super::super) fn put_cluster(&mut self, cluster: Cluster) -> Result<(), Refusal> {
        let before = self.state.cluster().map(|there| there.meta);
        match (&before, cluster.meta.version) {
            (None, 0) => {}
            (None, _) => return Err(Refusal::Cluster("is not there yet")),
            (Some(_), 0) => return Err(Refusal::Cluster("is already there")),
            (Some(there), was) => in_sequence("cluster", &cluster.id, there.version, was)?,
        }
        let meta = self.stamp(before.as_ref());
        self.write_cluster(Cluster { meta, ..cluster });
        Ok(())
    }

    /// The same words whether it was never a token or is forgotten: who tries secrets learns nothing.
    pub(in super::super) fn use_token(&mut self, token: &str) -> Result<(), Refusal> {
        let cluster = self.state.cluster().ok_or(Refusal::Cluster("is not there yet"))?;
        let Some(place) = cluster.grants.iter().position(|grant| grant.token == token) else {
            let stands = token == cluster.worker_token || token == cluster.manager_token;
            return if stands { Ok(()) } else { Err(Refusal::NoToken) };
        };
        cluster.grants[place].check(self.at)?;
        if cluster.grants[place].uses.is_some() {
            let mut after = Cluster { meta: self.stamp(Some(&cluster.meta)), ..Cluster::clone(cluster) };
            after.grants[place].used += 1;
            self.write_cluster(after);
        }
        Ok(())
    }

    pub(in super::super) fn put_node(&mut self, node: Node) -> Result<(), Refusal> {
        let before = self.state.node(node.id).cloned();
        match (&before, node.meta.version) {
            (None, 0) => {}
            (None, _) => return Err(Refusal::NoNode(node.id)),
            (Some(_), 0) => return Err(Refusal::Exists(format!("node {}", node.id))),
            (Some(there), was) => in_sequence("node", &node.id, there.meta.version, was)?,
        }
        self.replace_node(before.as_ref(), node);
        Ok(())
    }

    pub(in super::super) fn set_node_spec(&mut self, id: NodeId, was: u64, spec: NodeSpec) -> Result<(), Refusal> {
        let before = self.node(id)?;
        in_sequence("node", &id, before.meta.version, was)?;
        if (before.spec.role, spec.role) == (NodeRole::Manager, NodeRole::Worker) && !self.has_other_manager(id) {
            return Err(Refusal::LastManager(id));
        }
        self.replace_node(Some(&before), Node { spec, ..Node::clone(&before) });
        Ok(())
    }

    /// Whoever asked looked at the group, which follows later: two that ask at once would both be let go.
    fn has_other_manager(&self, id: NodeId) -> bool {
        self.state.nodes().any(|node| node.id != id && node.spec.role == NodeRole::Manager)
    }

    pub(in super::super) fn set_node_status(
        &mut self,
        id: NodeId,
        status: NodeStatus,
        description: Option<Box<NodeDescription>>,
    ) -> Result<(), Refusal> {
        let before = self.node(id)?;
        let description = description.map_or_else(|| before.description.clone(), |told| *told);
        let status = NodeStatus { since: before.status.since, ..status };
        if status == before.status && description == before.description {
            return Ok(());
        }
        let after = Node { status, description, ..Node::clone(&before) };
        self.replace_node(Some(&before), after);
        Ok(())
    }

    pub(in super::super) fn remove_node(&mut self, id: NodeId, was: u64) -> Result<(), Refusal> {
        let before = self.node(id)?;
        in_sequence("node", &id, before.meta.version, was)?;
        self.touch_services_on(id);
        self.orphan_tasks_on(id);
        self.write_node(id, None);
        self.effects.touched.assignments.insert(id);
        Ok(())
    }

    /// Tasks that have not ended will never be heard of again; those that only waited for this node will not run either. The others
    /// keep the end that they had.
    fn orphan_tasks_on(&mut self, id: NodeId) {
        let handles: Vec<Handle> =
            self.state.nodes.get(&id).map(|entry| entry.tasks.iter().copied().collect()).unwrap_or_default();
        for handle in handles {
            let task = self.state.tasks.get(handle);
            if task.status.state.is_terminal() {
                continue;
            }
            let mut status = TaskStatus::new(TaskState::Orphaned, self.at, "orphaned");
            status.error = "its node was removed from the cluster".into();
            self.effects.settled.push(task.id);
            self.edit_task(handle, |task| task.status = status);
        }
    }

    fn replace_node(&mut self, before: Option<&Arc<Node>>, after: Node) {
        let (id, takes) = (after.id, after.takes_tasks());
        let meta = self.stamp(before.map(|node| &node.meta));
        let matters = before.is_none_or(|before| matters(before, &after));
        if before.is_some_and(|before| before.role != after.role) {
            self.effects.touched.assignments.insert(id);
        }
        let since = before.map(|before| &before.status).filter(|was| was.state == after.status.state);
        let since = since.map_or(self.at, |was| was.since);
        let status = NodeStatus { since, ..after.status };
        self.write_node(id, Some(Node { meta, status, ..after }));
        if matters {
            self.touch_services_on(id);
            self.freed |= takes;
        }
    }

    /// Every service with tasks there, and every one that wants a task on each node.
    fn touch_services_on(&mut self, id: NodeId) {
        let services: BTreeSet<ServiceId> = self.state.tasks_on(id).map(|task| task.service).collect();
        self.effects.touched.services.extend(services);
        self.effects.touched.services.extend(&self.state.globals);
    }

    fn node(&self, id: NodeId) -> Result<Arc<Node>, Refusal> {
        self.state.node(id).cloned().ok_or(Refusal::NoNode(id))
    }
}

/// Whether a decision may come out differently: what constraints, placement and restarts look at.
fn matters(before: &Node, after: &Node) -> bool {
    before.status.state != after.status.state
        || before.spec != after.spec
        || before.role != after.role
        || before.description != after.description
}
