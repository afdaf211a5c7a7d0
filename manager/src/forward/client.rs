//! Connections to the leader, shared by all calls that are passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Attempt;
use super::error::ForwardError;
use super::policy::Target;
use crate::net::{DialError, Dialer};

/// Calls that one connection carries at once; half of what the other side takes, so that none waits unseen for another's end.
const CALLS_MAX: usize = 512;
/// Connections at once. Beyond, calls are refused: so many people do not read logs.
const LINES_MAX: usize = 8;
/// What a caller that does not read may leave lying here of its answer.
const CALL_WINDOW: u32 = 128 << 10;
/// Room for all of them, so that no caller that does not read holds up the others of its connection.
const LINE_WINDOW: u32 = 512 * CALL_WINDOW;
/// A leader that says nothing for so long while a call waits for it is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_millis(1_500);
/// No answer by then: it is gone, and so are the calls on this connection.
const PING_TIME_MAX: Duration = Duration::from_millis(1_500);
/// Time that calls under way get when this manager stops, as on its port.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// The connections to one manager: the leader, as long as it is the same.
#[derive(Debug)]
pub struct Lines {
    dialer: Dialer,
    tasks: TaskTracker,
    stop: CancellationToken,
    pool: Mutex<Pool>,
    /// The lines show an identity that is not ours any more.
    stale: AtomicBool,
}

#[derive(Debug, Default)]
struct Pool {
    /// Where the lines go.
    place: Option<Target>,
    lines: Vec<Line>,
    /// When connecting there failed last, and why.
    failed: Option<(Instant, Arc<DialError>)>,
}

/// One connection, and a share in it.
#[derive(Clone, Debug)]
pub struct Line {
    sender: SendRequest<Attempt>,
    /// As many as there are calls on it, and one.
    load: Arc<()>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Sent {
    /// The answer begins.
    Answered(Response<Incoming>),
    /// It certainly was not sent.
    NotSent,
    /// Whether it arrived is not known.
    Lost,
}

impl Lines {
    /// None yet.
    #[must_use]
    pub fn new(dialer: Dialer, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { dialer, tasks, stop, pool: Mutex::default(), stale: AtomicBool::new(false) }
    }

    /// Lets go of all lines: calls under way go on, others connect anew.
    pub fn renew(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// A line with room. Whoever comes while another caller connects waits for the outcome, a failure included.
    ///
    /// # Errors
    /// When the manager cannot be reached, or all lines are full.
    pub async fn line(&self, target: &Target) -> Result<Line, ForwardError> {
        let since = Instant::now();
        let mut pool = self.pool.lock().await;
        if self.stale.swap(false, Ordering::Relaxed) {
            *pool = Pool::default();
        }
        pool.turn_to(target);
        if let Some(line) = pool.free() {
            return Ok(line);
        }
        if pool.lines.len() >= LINES_MAX {
            return Err(ForwardError::Full { max: LINES_MAX * CALLS_MAX });
        }
        if let Some((_, source)) = pool.failed.clone().filter(|(at, _)| *at >= since) {
            return Err(ForwardError::Unreachable { leader: target.name.clone(), source });
        }
        match self.connect(target).await {
            Ok(line) => {
                pool.lines.push(line.clone());
                Ok(line)
            }
            Err(error) => {
                let source = Arc::new(error);
                pool.failed = Some((Instant::now(), Arc::clone(&source)));
                Err(ForwardError::Unreachable { leader: target.name.clone(), source })
            }
        }
    }

    async fn connect(&self, target: &Target) -> Result<Line, DialError> {
        let stream = self.dialer.reach(&target.address, target.node).await?;
        let shaken = builder().handshake(TokioIo::new(stream)).await;
        let refused =
            |error| DialError::Connect { address: target.address.clone(), source: std::io::Error::other(error) };
        let (sender, connection) = shaken.map_err(refused)?;
        let (stop, leader) = (self.stop.clone(), target.name.clone());
        self.tasks.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => tokio::time::timeout(DRAIN_TIME_MAX, connection).await.unwrap_or(Ok(())),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, leader, "the connection to the leader has ended");
            }
        });
        Ok(Line { sender, load: Arc::default() })
    }
}

impl Pool {
    fn turn_to(&mut self, target: &Target) {
        if self.place.as_ref() != Some(target) {
            *self = Self { place: Some(target.clone()), ..Self::default() };
        }
        self.lines.retain(|line| !line.sender.is_closed());
    }

    fn free(&self) -> Option<Line> {
        self.lines.iter().find(|line| Arc::strong_count(&line.load) <= CALLS_MAX).cloned()
    }
}

impl Line {
    /// Sends one request and waits until its answer begins. Dropping the wait ends the call there.
    pub async fn send(&mut self, request: Request<Attempt>) -> Sent {
        match self.sender.try_send_request(request).await {
            Ok(response) => Sent::Answered(response),
            Err(mut error) => {
                tracing::debug!(error = %error.error(), "a call that was passed on got no answer");
                error.take_message().map_or(Sent::Lost, |_| Sent::NotSent)
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(LINE_WINDOW)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIME_MAX);
    builder
}
