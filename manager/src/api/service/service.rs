//! Services.

use std::time::Duration;

use skep_proto::convert::required;
use skep_proto::model::{ServiceId, ServiceSpec};
use skep_proto::pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::control::{Answers, ControlService};
use super::list::listed;
use crate::api::progress::{count, progress};
use crate::api::{ApiError, lookup, validate};
use crate::store::{Change, Soft, State, Store, Transaction};
use crate::sys;

/// Services counted under one look at the state: each may have a hundred thousand tasks.
const SERVICES_PAGE_MAX: usize = 1;
/// Progress messages between us and a slow watcher; it then gets fewer and newer ones.
pub(super) const PROGRESS_MAX: usize = 1;
/// Looking at a service of a hundred thousand tasks takes a while; at most this share of the time is spent on one watcher.
const WATCH_SHARE: u32 = 10;

impl ControlService {
    pub(super) async fn create(&self, request: pb::CreateServiceRequest) -> Result<pb::CreateServiceReply, ApiError> {
        let spec = Box::new(checked(request.spec, "create service request")?);
        let service = ServiceId::new(sys::random_bits());
        let at = sys::now();
        let change = Change::CreateService { service, spec };
        let version = self.store.propose(Transaction { changes: vec![change], at }).await?;
        let meta = pb::Meta { id: service.to_bytes(), version, created_at: at.0, updated_at: at.0 };
        Ok(pb::CreateServiceReply { meta: Some(meta), warnings: Vec::new() })
    }

    pub(super) async fn update(&self, request: pb::UpdateServiceRequest) -> Result<pb::ServiceReply, ApiError> {
        let spec = checked(request.spec, "update service request")?;
        let (service, name) = {
            let state = self.store.read();
            let service = lookup::service(&state, &request.r#ref)?;
            (service.id, service.spec.name.clone())
        };
        if name != spec.name {
            return Err(ApiError::Rename { from: name.to_string(), to: spec.name.to_string() });
        }
        if request.version == 0 {
            return Err(ApiError::NoVersion { what: format!("service {name}") });
        }
        let spec = Box::new(spec);
        self.propose(Change::UpdateService { service, if_version: request.version, spec }).await?;
        self.reply(service)
    }

    pub(super) async fn remove(&self, word: &str) -> Result<(), ApiError> {
        let change = |state: &State| {
            let service = lookup::service(state, word)?;
            Ok(Change::RemoveService { service: service.id, if_version: service.meta.version })
        };
        self.propose_newest(change).await.map(|_| ())
    }

    pub(super) fn get(&self, word: &str) -> Result<pb::ServiceReply, ApiError> {
        let id = lookup::service(&self.store.read(), word)?.id;
        self.reply(id)
    }

    pub(super) fn list(&self, words: &[String]) -> Result<Answers<pb::ServiceEntry>, ApiError> {
        let ids: Vec<ServiceId> = {
            let state = self.store.read();
            let named: Result<Vec<_>, _> = words.iter().map(|w| lookup::service(&state, w).map(|s| s.id)).collect();
            let all =
                state.services().filter(|service| words.is_empty() && !service.removing).map(|service| service.id);
            named?.into_iter().chain(all).collect()
        };
        Ok(listed(self.store.clone(), &ids, SERVICES_PAGE_MAX, entry))
    }

    pub(super) fn watch(&self, request: &pb::WatchServiceRequest) -> Result<Answers<pb::ServiceProgress>, ApiError> {
        let id = self.watched(&request.r#ref)?;
        let (sender, receiver) = mpsc::channel(PROGRESS_MAX);
        let watching = watch(self.store.clone(), id, request.until_removed, sender);
        Ok(Box::pin(driven(receiver, watching)))
    }

    /// Also a service that is being removed may be watched, by its id: that is how one waits for its end.
    fn watched(&self, word: &str) -> Result<ServiceId, ApiError> {
        let state = self.store.read();
        let removing = word.parse::<ServiceId>().ok().filter(|id| state.service(*id).is_some());
        Ok(removing.map_or_else(|| lookup::service(&state, word).map(|service| service.id), Ok)?)
    }

    fn reply(&self, id: ServiceId) -> Result<pb::ServiceReply, ApiError> {
        let state = self.store.read();
        let service = state.service(id).ok_or_else(|| lookup::gone("service", &id))?;
        Ok(pb::ServiceReply { service: Some(service.as_ref().into()), warnings: Vec::new() })
    }
}

fn checked(spec: Option<pb::ServiceSpec>, message: &'static str) -> Result<ServiceSpec, ApiError> {
    let spec = ServiceSpec::try_from(required(spec, message, "spec")?)?;
    validate::service(&spec)?;
    Ok(spec)
}

fn entry(state: &State, _: &Soft, id: ServiceId) -> Option<pb::ServiceEntry> {
    let service = state.service(id)?;
    let count = count(state, service);
    Some(pb::ServiceEntry { service: Some(service.as_ref().into()), running: count.running, desired: count.desired })
}

/// The stream of a receiver, which also drives what fills it: when the reader goes, both end.
pub(super) fn driven<T: Send + 'static>(
    receiver: mpsc::Receiver<Result<T, Status>>,
    filling: impl Future<Output = ()> + Send + 'static,
) -> impl tokio_stream::Stream<Item = Result<T, Status>> + Send {
    use futures_util::{FutureExt, StreamExt, stream};
    let nothing = filling.into_stream().filter_map(|()| std::future::ready(None));
    stream::select(ReceiverStream::new(receiver), nothing)
}

/// Sends the progress when it has changed, until it is what was waited for.
async fn watch(
    store: Store,
    id: ServiceId,
    until_removed: bool,
    out: mpsc::Sender<Result<pb::ServiceProgress, Status>>,
) {
    let mut watch = store.watch_service(id);
    let mut sent = None;
    loop {
        watch.changed().await;
        // The place first: the progress is then as new as the moment the reader takes it.
        let Ok(place) = out.reserve().await else { return };
        let begun = tokio::time::Instant::now();
        let now = {
            let state = store.read();
            progress(&state, &store.soft(), id)
        };
        let done = now.removed || (now.converged && !until_removed);
        if sent.as_ref() != Some(&now) {
            place.send(Ok(now.clone()));
            sent = Some(now);
        }
        if done {
            return;
        }
        rest(begun.elapsed()).await;
    }
}

/// Waits in proportion to what a look at the service costs; nothing at all for all but the largest.
pub(super) async fn rest(cost: Duration) {
    if cost >= Duration::from_millis(1) {
        tokio::time::sleep(cost * WATCH_SHARE).await;
    }
}
