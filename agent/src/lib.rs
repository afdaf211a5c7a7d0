//! What every node does: hold a session with the leader, keep the list of its tasks on its own disk, and move each task on
//! through an [`Executor`](sys::Executor). It decides nothing about the cluster, and works on without managers.
