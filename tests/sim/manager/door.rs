//! Whether a stream of a node is served, as the product's `service.rs` decides it.

use std::sync::Arc;

use skep_manager::caller::{Caller, Identity};
use skep_manager::dispatcher::admission::{Admission, admit};
use skep_manager::dispatcher::elsewhere::{elsewhere, leader_address};
use skep_manager::dispatcher::keeper::Event as Happening;
use skep_manager::dispatcher::registry::Line;
use skep_manager::dispatcher::session::say;
use skep_proto::model::{KeyPrint, NodeId, NodeRole, SessionId};
use skep_proto::pb;
use skep_proto::pb::manager_message::Message as Said;

use super::super::net::Packet;
use super::super::queue::{ConnId, Event, Owner, Result, Side};
use super::super::stage::Stage;
use super::super::time::{SECOND, Us};
use super::super::{CLUSTER, raft_id};
use super::dispatch::{Visit, tell};
use super::{Daemon, Manager};

/// How long a stream waits for somebody to lead.
const ELECTION_MAX: Us = 3 * SECOND;

impl Manager {
    pub(super) fn open(&mut self, stage: &mut Stage, conn: ConnId, node: NodeId, hello: pb::Hello) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.term.is_none() && daemon.leader_address(self.place).is_none() {
            daemon.held.insert(conn, (node, hello));
            return stage.after(ELECTION_MAX, Event::Waited(self.place, conn));
        }
        self.serve(stage, conn, node, hello);
    }

    /// A stream waits no longer: it is served, or sent elsewhere.
    pub(crate) fn waited(&mut self, stage: &mut Stage, conn: ConnId) {
        let held = self.daemon.as_mut().and_then(|daemon| daemon.held.remove(&conn));
        if let Some((node, hello)) = held {
            self.serve(stage, conn, node, hello);
        }
    }

    /// This manager has made sure that it leads, or could not, before it serves a node or says that it was removed.
    pub(super) fn confirmed(&mut self, stage: &mut Stage, conn: ConnId, result: &Result) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some((node, hello)) = daemon.held.remove(&conn) else { return };
        let leads = result.is_ok() && daemon.term.is_some();
        let admitted = admit(caller(node), leads, &daemon.store.read());
        match admitted {
            Ok(Admission::Served(_)) => {}
            Ok(Admission::Refused(words)) => return refuse(stage, conn, words),
            _ => {
                let words = daemon.elsewhere(self.place);
                return refuse(stage, conn, words);
            }
        }
        self.begin(stage, conn, node, hello);
    }

    fn serve(&mut self, stage: &mut Stage, conn: ConnId, node: NodeId, hello: pb::Hello) {
        let Some(daemon) = &mut self.daemon else { return };
        let admitted = admit(caller(node), daemon.term.is_some(), &daemon.store.read());
        stage.note(format_args!("manager {}: node {node} opens stream {conn}: {admitted:?}", self.place));
        match admitted {
            Ok(Admission::Elsewhere) => {
                let words = daemon.elsewhere(self.place);
                refuse(stage, conn, words);
            }
            Ok(Admission::Served(_) | Admission::Refused(_)) => {
                daemon.held.insert(conn, (node, hello));
                self.propose(stage, Owner::Admit(conn), Vec::new());
            }
            Err(_) => stage.close(conn, Side::Manager, true),
        }
    }

    fn begin(&mut self, stage: &mut Stage, conn: ConnId, node: NodeId, hello: pb::Hello) {
        let Some(daemon) = &mut self.daemon else { return };
        let (steady, session) = (daemon.steady(stage.now), SessionId::new(stage.chance.bits()));
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.dispatching;
        let line = Arc::new(Line::new(session, steady));
        own.registry.enter(node, Arc::clone(&line));
        let visit = Visit::new(node, line, own, &daemon.store);
        own.visits.insert(conn, visit);
        let description = Box::new(hello.description.unwrap_or_default().into());
        let address = if hello.address.is_empty() { format!("10.0.0.{conn}") } else { hello.address };
        stage.send(conn, Side::Agent, Packet::Accept);
        self.happened(stage, Happening::Started { node, address, description });
        // Whoever had a session before is told that it is over.
        self.arm_all(stage);
    }
}

impl Daemon {
    fn leader_address(&self, own: usize) -> Option<String> {
        leader_address(&self.store.read(), raft_id(own), self.told.leader)
    }

    /// Parting words of a manager that does not lead.
    pub(super) fn elsewhere(&self, own: usize) -> pb::Farewell {
        elsewhere(&self.store.read(), raft_id(own), self.told.leader)
    }
}

fn caller(node: NodeId) -> Caller {
    let key = KeyPrint::of_spki(b"key");
    Caller::Node(Identity { node, role: NodeRole::Worker, cluster: CLUSTER, key })
}

/// Says the only words of a stream that is not served.
fn refuse(stage: &mut Stage, conn: ConnId, words: pb::Farewell) {
    stage.send(conn, Side::Agent, Packet::Accept);
    stage.send(conn, Side::Agent, tell(say(Said::Farewell(words))));
    stage.close(conn, Side::Manager, true);
}
