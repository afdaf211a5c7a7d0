//! Serves the page until it is asked to stop.

use std::convert::Infallible;
use std::env;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use tokio::sync::Semaphore;

use super::page::{self, Facts};
use crate::exit::Exit;

/// The port that the image exposes.
const PORT: u16 = 80;

/// Connections served at once. Further ones wait in the kernel's queue; a page takes microseconds.
const CONNECTIONS_MAX: usize = 256;

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
    let (requests, places) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    println!("serving on port {PORT} as {}", facts(0).task);
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that broke before it was accepted concerns nobody else.
                let Ok((stream, _)) = accepted else { continue };
                let requests = Arc::clone(&requests);
                tokio::spawn(async move {
                    answer(stream, requests).await;
                    drop(place);
                });
            }
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

async fn answer(stream: TcpStream, requests: Arc<AtomicU64>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        println!("{} {} (request {number})", request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(reply(&request, number)))
    });
    // A client that goes away in mid-answer is its own affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        // A client that has said all it wants to, as `nc` does at the end of its input, still wants the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
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
        answer(stream, Arc::default()).await;
        assert!(client.await.unwrap().starts_with("HTTP/1.0 200 OK"));
    }
}
