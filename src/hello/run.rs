//! Serves the page until it is asked to stop; then it answers whoever has asked already, so that an update costs no request.

use std::convert::Infallible;
use std::env;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::page::{self, Facts};
use crate::exit::Exit;

/// The port that the image exposes.
const PORT: u16 = 80;

/// Connections served at once. Further ones wait in the kernel's queue; a page takes microseconds.
const CONNECTIONS_MAX: u32 = 256;

/// Longest that it goes on for those who have connected when it is asked to stop. An answer takes microseconds; this is for who has
/// connected and says nothing.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A client that sends no request for so long loses its place to one that waits.
const IDLE: Duration = Duration::from_secs(10);

/// Serves on port 80 until SIGTERM or SIGINT.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve())) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("failed to serve on port {PORT}: {error}");
            Exit::Failed.into()
        }
    }
}

async fn serve() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let (server, places) = (Server::default(), Arc::new(Semaphore::new(CONNECTIONS_MAX as usize)));
    println!("serving on port {PORT} as {}", facts(0).task);
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        tokio::select! {
            // A connection that broke before it was accepted concerns nobody else.
            accepted = listener.accept() => drop(accepted.map(|(stream, _)| server.take(stream, place))),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // Who knocked before the door is closed is still let in.
    while let (Some(stream), Ok(place)) = (waiting(&listener).await, Arc::clone(&places).try_acquire_owned()) {
        server.take(stream, place);
    }
    drop(listener);
    server.stop.cancel();
    let _ = tokio::time::timeout(DRAIN_MAX, places.acquire_many(CONNECTIONS_MAX)).await;
    Ok(())
}

/// A connection that is there already.
async fn waiting(listener: &TcpListener) -> Option<TcpStream> {
    let accepted = std::future::poll_fn(|context| Poll::Ready(listener.poll_accept(context))).await;
    match accepted {
        Poll::Ready(Ok((stream, _))) => Some(stream),
        _ => None,
    }
}

/// What connections share.
#[derive(Clone, Debug, Default)]
struct Server {
    requests: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Server {
    /// Serves a connection, which keeps its place until it ends.
    fn take(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let server = self.clone();
        tokio::spawn(async move {
            server.answer(stream).await;
            drop(place);
        });
    }

    /// Until the client has had enough, or this program is to stop and has answered what was asked.
    async fn answer(self, stream: TcpStream) {
        let (requests, asked) = (self.requests, Notify::new());
        let service = service_fn(|request: Request<Incoming>| {
            asked.notify_one();
            let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
            println!("{} {} (request {number})", request.method(), request.uri().path());
            std::future::ready(Ok::<_, Infallible>(reply(&request, number)))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            // A client that has said all it wants to, as `nc` does at the end of its input, still wants the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // A client that goes away in mid-answer is its own affair.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => {}
        }
        // Who has connected and not asked yet is about to.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = asked.notified() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

fn reply(request: &Request<Incoming>, number: u64) -> Response<Full<Bytes>> {
    let accept = request.headers().get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let facts = facts(number);
    let (kind, body) = if accept.contains("text/html") {
        ("text/html; charset=utf-8", page::html(&facts))
    } else {
        ("text/plain; charset=utf-8", page::text(&facts))
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a constant header value"));
    response
}

fn facts(requests: u64) -> Facts {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    Facts { task: variable("SKEP_TASK"), slot: variable("SKEP_SLOT"), node: variable("SKEP_NODE"), requests }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Asks, and says no more.
    async fn ask(address: std::net::SocketAddr) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn client_that_closes_its_side_gets_its_answer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = tokio::spawn(ask(listener.local_addr().unwrap()));
        let (stream, _) = listener.accept().await.unwrap();
        // Everything is there before the server looks for the first time: request, and end.
        stream.readable().await.unwrap();
        while !stream.ready(tokio::io::Interest::READABLE).await.unwrap().is_read_closed() {
            tokio::task::yield_now().await;
        }
        Server::default().answer(stream).await;
        assert!(client.await.unwrap().starts_with("HTTP/1.0 200 OK"));
    }

    /// One request over a connection that stays open.
    async fn first(client: &mut TcpStream) -> String {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let count = client.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    #[tokio::test]
    async fn what_was_asked_before_the_end_is_answered_and_who_is_silent_is_let_go() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut silent, server) = (TcpStream::connect(address).await.unwrap(), Server::default());
        let serving = tokio::spawn(server.clone().answer(listener.accept().await.unwrap().0));
        assert!(first(&mut silent).await.starts_with("HTTP/1.1 200 OK"));
        let late = tokio::spawn(ask(address));
        let late_stream = listener.accept().await.unwrap().0;
        server.stop.cancel();
        server.clone().answer(late_stream).await;
        assert!(late.await.unwrap().starts_with("HTTP/1.0 200 OK"));
        serving.await.unwrap();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0, "its connection is closed");
        assert!(waiting(&listener).await.is_none(), "nobody else has come");
    }
}
