//! The way of a call: to this manager's own services, or to the leader.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri, Version};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::body::{Attempt, Relay, Replay, WhileLeading};
use super::client::{Lines, Sent};
use super::envelope::{Arrival, CALLER, NOT_LEADING, declined};
use super::error::ForwardError;
use super::outlook::Outlook;
use super::policy::{Target, Turn, is_better_old_than_never, is_the_leaders, needs_the_newest, only_looks, turn};
use crate::caller::{Caller, Peer};
use crate::net::{Answer, Dialer};
use crate::reach::Reachability;
use crate::store::{ProposeError, Store};

/// How long a call waits for somebody to lead: two or three elections.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a leader could not be asked, or is not in the state yet: time for the news to arrive.
const RECHECK: Duration = Duration::from_millis(100);
/// What a leader that was asked and has been replaced gets to say what became of the call. If it lives it hears of its successor when we do.
const LAST_WORD_TIME_MAX: Duration = Duration::from_millis(300);
/// How often a call that only looks is asked again after a leader went away with it.
const LOSSES_MAX: u32 = 3;

/// What a manager knows of the others, and how it reaches them.
#[derive(Clone, Debug)]
pub struct Bearings {
    /// Where the leader is, and who is a manager.
    pub store: Store,
    /// This manager's Raft id.
    pub own: u64,
    /// Raft id of the leader, while one is known; this manager's own once it has applied all that it must know.
    pub leader: watch::Receiver<Option<u64>>,
    /// Whom Raft hears.
    pub heard: Reachability,
    /// Connects as this node.
    pub dialer: Dialer,
}

/// Stands before the services of a manager.
#[derive(Clone, Debug)]
pub struct Forward<S> {
    way: Arc<Way>,
    here: S,
}

#[derive(Debug)]
struct Way {
    bearings: Bearings,
    lines: Lines,
    stop: CancellationToken,
}

/// The same for a socket that only this machine's administrator reaches: whoever calls is one.
#[derive(Clone, Debug)]
pub struct LocalCalls<S>(Forward<S>);

/// What every call here becomes.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S: Answer> Forward<S> {
    /// Stands before `here`. Connections are among `tasks` and end with `stop`.
    #[must_use]
    pub fn new(here: S, bearings: Bearings, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let lines = Lines::new(bearings.dialer.clone(), tasks, stop.clone());
        Self { way: Arc::new(Way { bearings, lines, stop }), here }
    }

    /// After this node got another certificate: calls from now on are passed on with it.
    pub fn reconnect(&self) {
        self.way.lines.renew();
    }

    /// For the daemon's socket.
    #[must_use]
    pub fn local(&self) -> LocalCalls<S> {
        LocalCalls(self.clone())
    }
}

impl<S: Answer> Service<Request<Body>> for Forward<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let (way, here) = (Arc::clone(&self.way), self.here.clone());
        Box::pin(async move { Ok(way.answer(here, request).await.unwrap_or_else(refusal)) })
    }
}

impl<S: Answer> Service<Request<Body>> for LocalCalls<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        request.extensions_mut().insert(Caller::Local);
        request.extensions_mut().remove::<Peer>();
        self.0.call(request)
    }
}

/// An error as an answer. One that another manager may act on says so beside the words.
fn refusal(error: ForwardError) -> Response<Body> {
    let elsewhere = match &error {
        ForwardError::NotLeading { leader } => Some(HeaderValue::from(*leader)),
        _ => None,
    };
    let mut response = Status::from(error).into_http();
    elsewhere.map(|leader| response.headers_mut().insert(NOT_LEADING, leader));
    response
}

async fn serve<S: Answer>(here: S, request: Request<Body>) -> Response<Body> {
    here.oneshot(request).await.unwrap_or_else(|never| match never {})
}

impl Way {
    async fn answer<S: Answer>(&self, here: S, mut request: Request<Body>) -> Result<Response<Body>, ForwardError> {
        let (caller, peer) = (Caller::of(request.extensions()), Peer::of(request.extensions()));
        let arrival = Arrival::of(caller, peer, request.headers_mut())?;
        arrival.mark(request.extensions_mut());
        if is_the_leaders(request.uri().path()) {
            let (head, body) = request.into_parts();
            return Call { way: self, arrival, head, body: Replay::new(body) }.run(here).await;
        }
        arrival.admit(&self.bearings.store.read())?;
        Ok(serve(here, request).await)
    }

    /// Resolves when that manager does not lead, as far as is known.
    async fn unless_leads(&self, raft_id: u64) {
        let mut leader = self.bearings.leader.clone();
        let _ = leader.wait_for(|seen| *seen != Some(raft_id)).await;
    }

    /// Resolves some time after another manager was found to lead.
    async fn until_replaced(&self, raft_id: u64) {
        let mut leader = self.bearings.leader.clone();
        if leader.wait_for(|seen| seen.is_some_and(|id| id != raft_id)).await.is_err() {
            // Nobody will tell any more: the manager stops.
            self.stop.cancelled().await;
        }
        sleep(LAST_WORD_TIME_MAX).await;
    }
}

/// A call that is the leader's.
struct Call<'a> {
    way: &'a Way,
    arrival: Arrival,
    head: Parts,
    body: Replay,
}

/// What became of passing it on.
enum Passed {
    Answered(Response<Body>),
    /// It certainly did not run.
    NotRun(ForwardError),
    /// The leader went away with it.
    Lost,
}

impl Call<'_> {
    async fn run<S: Answer>(self, here: S) -> Result<Response<Body>, ForwardError> {
        let mut losses = 0;
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let turn = match self.turn(deadline).await {
                Err(ForwardError::NoLeader(_)) if is_better_old_than_never(self.head.uri.path()) => {
                    return self.serve_alone(here).await;
                }
                turn => turn?,
            };
            let target = match turn {
                Turn::Pass(target) => target,
                Turn::Decline(leader) => return Err(ForwardError::NotLeading { leader }),
                Turn::Serve => match self.is_newest().await {
                    Ok(()) => return self.serve(here).await,
                    Err(error) => {
                        self.pause(self.way.bearings.own, deadline, error).await?;
                        continue;
                    }
                },
            };
            // Of its own: a call that is served here does not carry what passing on takes.
            let error = match Box::pin(self.pass(&target)).await {
                Passed::Answered(response) => return Ok(response),
                Passed::NotRun(error) => error,
                Passed::Lost if !only_looks(self.head.uri.path()) => {
                    return Err(ForwardError::MaybeDone { leader: target.name });
                }
                Passed::Lost => {
                    losses += 1;
                    deadline = Instant::now() + if losses < LOSSES_MAX { PATIENCE } else { Duration::ZERO };
                    ForwardError::Lost { leader: target.name }
                }
            };
            tracing::debug!(%error, path = self.head.uri.path(), "a call was not answered by the leader");
            self.pause(target.raft_id, deadline, error).await?;
        }
    }

    /// Makes sure that this manager has everything that was acknowledged. While it is not, the call has certainly not run, whatever it is.
    async fn is_newest(&self) -> Result<(), ForwardError> {
        if !needs_the_newest(self.head.uri.path()) {
            return Ok(());
        }
        match self.way.bearings.store.barrier().await {
            Err(ProposeError::NotLeader) => Err(self.no_leader()),
            sure => sure.map(drop).map_err(ForwardError::Unsure),
        }
    }

    /// Waits until it is clear what to do.
    async fn turn(&self, deadline: Instant) -> Result<Turn, ForwardError> {
        let Bearings { store, own, leader, .. } = &self.way.bearings;
        let mut leader = leader.clone();
        loop {
            let known = *leader.borrow_and_update();
            if let Some(turn) = turn(*own, known, self.arrival.is_passed_on(), &store.read()) {
                return Ok(turn);
            }
            tokio::select! {
                () = self.way.stop.cancelled() => return Err(ForwardError::Stopping),
                () = sleep_until(deadline) => return Err(self.no_leader()),
                () = sleep(RECHECK) => {}
                told = leader.changed() => if told.is_err() { return Err(ForwardError::Stopping) },
            }
        }
    }

    fn no_leader(&self) -> ForwardError {
        let Bearings { store, heard, .. } = &self.way.bearings;
        if self.arrival.is_passed_on() {
            return ForwardError::NotLeading { leader: 0 };
        }
        ForwardError::NoLeader(Outlook::new(&store.read(), &heard.borrow()).estranged(store.is_estranged()))
    }

    /// Waits a moment for another leader, if there is time.
    async fn pause(&self, asked: u64, deadline: Instant, error: ForwardError) -> Result<(), ForwardError> {
        if Instant::now() >= deadline {
            return Err(error);
        }
        tokio::select! {
            () = self.way.stop.cancelled() => Err(ForwardError::Stopping),
            () = self.way.unless_leads(asked) => Ok(()),
            () = sleep(RECHECK) => Ok(()),
        }
    }

    /// Here, whoever leads.
    async fn serve_alone<S: Answer>(self, here: S) -> Result<Response<Body>, ForwardError> {
        self.arrival.admit(&self.way.bearings.store.read())?;
        let body = self.body.into_body().ok_or_else(|| unsettled("this manager"))?;
        Ok(serve(here, Request::from_parts(self.head, body)).await)
    }

    /// Here, and only as long as this manager leads.
    async fn serve<S: Answer>(self, here: S) -> Result<Response<Body>, ForwardError> {
        let (own, mut leader) = (self.way.bearings.own, self.way.bearings.leader.clone());
        let response = self.serve_alone(here).await?;
        let lost = async move {
            let _ = leader.wait_for(|seen| *seen != Some(own)).await;
        };
        Ok(response.map(|body| Body::new(WhileLeading::new(body, lost))))
    }

    async fn pass(&self, target: &Target) -> Passed {
        let Some(body) = self.body.attempt() else { return Passed::NotRun(unsettled(&target.name)) };
        let mut line = tokio::select! {
            line = self.way.lines.line(target) => match line {
                Ok(line) => line,
                Err(error) => return Passed::NotRun(error),
            },
            () = self.way.unless_leads(target.raft_id) => return Passed::NotRun(unsettled(&target.name)),
        };
        let sent = tokio::select! {
            sent = line.send(self.request(body)) => sent,
            () = self.way.until_replaced(target.raft_id) => Sent::Lost,
        };
        match sent {
            Sent::Answered(response) if declined(response.headers()).is_some() => {
                Passed::NotRun(unsettled(&target.name))
            }
            Sent::Answered(response) => {
                self.body.settle();
                Passed::Answered(response.map(|body| Body::new(Relay::new(target.name.clone(), body, line))))
            }
            Sent::NotSent => Passed::NotRun(unsettled(&target.name)),
            Sent::Lost => Passed::Lost,
        }
    }

    /// The request as the leader gets it.
    fn request(&self, body: Attempt) -> Request<Attempt> {
        let mut request = Request::new(body);
        let path = self.head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme("http").authority(crate::caller::MANAGER_OU).path_and_query(path).build();
        *request.uri_mut() = uri.expect("the path was that of a request");
        *request.method_mut() = self.head.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.head.headers.clone();
        request.headers_mut().remove(HOST);
        request.headers_mut().insert(CALLER, self.arrival.header());
        request
    }
}

fn unsettled(asked: &str) -> ForwardError {
    ForwardError::Unsettled { asked: asked.to_owned() }
}
