//! The leader's loop that tells managers of earlier eras of this one: such a manager may meet nobody else who knows, and would act on what it
//! remembers.

use std::time::Duration;

use futures_util::future::join_all;
use skep_proto::model::{Cluster, Era};
use skep_proto::pb;
use skep_proto::pb::membership_client::MembershipClient;
use tokio_util::sync::CancellationToken;

use super::super::former::{Answer, Calls};
use crate::net::Dialer;
use crate::store::{Change, State, Store, Topics, Transaction};
use crate::sys;

/// How long whoever is called may take to answer.
const CALL_TIME_MAX: Duration = Duration::from_secs(3);

/// Wait while there is nobody to be called, or the last change came to nothing: a missed wake-up costs so much.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Calls all whom the state names, until `stop`. `own`: this manager's Raft id.
pub async fn run(store: Store, dialer: Dialer, own: u64, stop: CancellationToken) {
    let (mut calls, clock) = (Calls::default(), sys::Clock::start());
    let mut subscription = store.subscribe_to(Topics { cluster: true, ..Topics::NONE });
    loop {
        let word = Word::of(&store.read(), own);
        let due = calls.due(&word.former, clock.now());
        let Some(answers) = stop.run_until_cancelled(join_all(due.iter().map(|one| word.tell(&dialer, one)))).await
        else {
            return;
        };
        let mut done = Vec::new();
        for (address, answer) in due.into_iter().zip(answers) {
            match answer {
                Some(Answer::Ours) => done.push(address),
                Some(Answer::Later(era)) => drop(store.hear_of_era_at(era, vec![address])),
                Some(Answer::Earlier) | None => calls.put_off(&address, clock.now()),
            }
        }
        forget(&store, &done).await;
        let wait = calls.wake_at(&word.former).map_or(LOOK_EVERY, |at| at.since(clock.now()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait.max(LOOK_AFTER)) => {}
            _ = subscription.touched() => {}
        }
    }
}

/// Shortest wait between two rounds.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// What is told, and to whom.
struct Word {
    era: Era,
    managers: Vec<String>,
    former: Vec<String>,
}

impl Word {
    fn of(state: &State, own: u64) -> Self {
        let seat = |id| state.manager(id).and_then(|node| node.manager.clone());
        let here = seat(own).map(|seat| seat.address).into_iter();
        let all = state.managers().filter_map(|node| node.manager.as_ref()).filter(|seat| seat.raft_id != own);
        let managers = here.chain(all.map(|seat| seat.address.clone())).collect();
        let cluster = state.cluster();
        let former = cluster.map(|cluster| cluster.former_managers.clone()).unwrap_or_default();
        Self { era: cluster.map(|cluster| cluster.era).unwrap_or_default(), managers, former }
    }

    /// Tells whoever is at that address; `None`: nobody answers.
    async fn tell(&self, dialer: &Dialer, address: &str) -> Option<Answer> {
        let request = pb::RaftProbeRequest { era: Some(self.era.0), managers: self.managers.clone() };
        let calling = async {
            let channel = dialer.dial(address).await.map_err(|error| skep_proto::chain::chain(&error).to_string())?;
            let reply = MembershipClient::new(channel).probe(request).await;
            reply.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
        };
        match tokio::time::timeout(CALL_TIME_MAX, calling).await {
            Ok(Ok(reply)) => {
                tracing::info!(address, theirs = ?reply.era, "a manager of an earlier era was told of this one");
                Some(Answer::of(reply.era.map(Era), self.era))
            }
            Ok(Err(error)) => {
                tracing::debug!(address, error, "a manager of an earlier era was not reached");
                None
            }
            Err(_) => None,
        }
    }
}

/// There is nothing to be told there any more.
async fn forget(store: &Store, done: &[String]) {
    if done.is_empty() {
        return;
    }
    let Some(cluster) = store.read().cluster().cloned() else { return };
    let mut former_managers = cluster.former_managers.clone();
    former_managers.retain(|address| !done.contains(address));
    let change = Change::PutCluster(Box::new(Cluster { former_managers, ..Cluster::clone(&cluster) }));
    if let Err(error) = store.propose(Transaction { changes: vec![change], at: sys::now() }).await {
        tracing::debug!(%error, "a manager that lives in this era was not noted as such; it is called again");
    }
}
