//! Bodies of calls that are passed on: the request's, which may have to be sent again, and the answer's, which may break off.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tonic::Status;
use tonic::body::Body;

use super::error::ForwardError;

/// Bytes of a request that are kept until its answer begins. A call with more cannot be sent again, and its caller hears so; no
/// message that a service takes has more.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A request's body, from which one attempt after the other is made.
#[derive(Debug)]
pub struct Replay(Arc<Mutex<Kept>>);

/// The body as one attempt sends it. Ends with an error when a later attempt has been made.
#[derive(Debug)]
pub struct Attempt {
    kept: Arc<Mutex<Kept>>,
    number: u64,
    next: usize,
}

#[derive(Debug)]
struct Kept {
    rest: Body,
    seen: Vec<Part>,
    bytes: usize,
    keeps: bool,
    /// Attempts made.
    attempts: u64,
}

#[derive(Clone, Debug)]
enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Why an attempt's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("send the request: it is being sent anew")]
pub struct Superseded;

/// Errors of a body that is not ours.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Replay {
    /// Of that body.
    #[must_use]
    pub fn new(rest: Body) -> Self {
        Self(Arc::new(Mutex::new(Kept { rest, seen: Vec::new(), bytes: 0, keeps: true, attempts: 0 })))
    }

    /// The body from its beginning. `None`: too much of it has been sent to be kept.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt> {
        let mut kept = self.0.lock();
        kept.attempts += 1;
        let (first, number) = (kept.attempts == 1, kept.attempts);
        (first || kept.keeps).then(|| Attempt { kept: Arc::clone(&self.0), number, next: 0 })
    }

    /// The body for whoever answers it here, who is the last to ask. As it came, if nobody was sent it before.
    #[must_use]
    pub fn into_body(self) -> Option<Body> {
        let shared = match Arc::try_unwrap(self.0) {
            Ok(kept) if kept.lock().attempts == 0 => return Some(kept.into_inner().rest),
            Ok(kept) => Self(Arc::new(kept)),
            Err(shared) => Self(shared),
        };
        let attempt = shared.attempt()?;
        shared.settle();
        Some(Body::new(attempt))
    }

    /// The answer has begun: the body will not be sent again, and what is still to come need not be kept.
    pub fn settle(&self) {
        self.0.lock().keeps = false;
    }
}

impl Kept {
    fn note(&mut self, part: &Part) {
        if let Part::Data(data) = part {
            self.bytes += data.len();
        }
        if self.keeps && self.bytes > KEPT_BYTES_MAX {
            self.keeps = false;
            self.seen = Vec::new();
        }
        if self.keeps {
            self.seen.push(part.clone());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(status)) => return Poll::Ready(Some(Err(status.into()))),
            None => return Poll::Ready(None),
        };
        let part = match frame.into_data() {
            Ok(data) => Part::Data(data),
            Err(frame) => Part::Trailers(frame.into_trailers().unwrap_or_default()),
        };
        self.note(&part);
        Poll::Ready(Some(Ok(part)))
    }
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let kept = Arc::clone(&self.kept);
        let mut kept = kept.lock();
        if kept.attempts != self.number {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        let part = match kept.seen.get(self.next).cloned() {
            Some(part) => Some(Ok(part)),
            None => ready!(kept.poll(cx)),
        };
        self.next += 1;
        Poll::Ready(part.map(|part| part.map(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.kept.lock();
        self.next >= kept.seen.len() && kept.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn frame(part: Part) -> Frame<Bytes> {
    match part {
        Part::Data(data) => Frame::data(data),
        Part::Trailers(trailers) => Frame::trailers(trailers),
    }
}

/// The leader's answer on its way to the caller. When it breaks off, the caller is told so in the trailers, where a gRPC caller looks
/// for the end of the story. Holds `held` until then.
#[derive(Debug)]
pub struct Relay<T> {
    leader: String,
    incoming: Option<Incoming>,
    _held: T,
}

impl<T> Relay<T> {
    /// Of the answer of that leader.
    #[must_use]
    pub fn new(leader: String, incoming: Incoming, held: T) -> Self {
        Self { leader, incoming: Some(incoming), _held: held }
    }
}

impl<T: Unpin> HttpBody for Relay<T> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(incoming) = self.incoming.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if let Some(Err(_)) = frame {
            self.incoming = None;
            let leader = self.leader.clone();
            return Poll::Ready(Some(Ok(ending(ForwardError::Lost { leader }))));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|_| Status::internal("an error was told above"))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// An answer of this manager that ends with its leadership, unless it is complete by then.
pub struct WhileLeading<F> {
    inner: Option<Body>,
    lost: Pin<Box<F>>,
}

impl<F> std::fmt::Debug for WhileLeading<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WhileLeading").field("ended", &self.inner.is_none()).finish_non_exhaustive()
    }
}

impl<F: Future<Output = ()>> WhileLeading<F> {
    /// Ends the body when `lost` does.
    #[must_use]
    pub fn new(inner: Body, lost: F) -> Self {
        Self { inner: Some(inner), lost: Box::pin(lost) }
    }
}

impl<F: Future<Output = ()>> HttpBody for WhileLeading<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        // What is there is passed on first: a change that was made is told as made.
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.lost.as_mut().poll(cx));
        self.inner = None;
        Poll::Ready(Some(Ok(ending(ForwardError::LeaderChanged))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

/// Trailers that say why there is no more.
fn ending(error: ForwardError) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    Status::from(error).add_header(&mut trailers).expect("a status is always text");
    Frame::trailers(trailers)
}

#[cfg(test)]
mod tests;
