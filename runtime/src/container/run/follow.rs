//! Streams a container's log lines to a reader.
#![expect(clippy::disallowed_methods, reason = "driver: reads log files on a task of its own")]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::end;
use super::facade::Runtime;
use super::registry::Container;
use crate::logs::disk::Reader;
use crate::logs::{LogLine, LogQuery};

/// Lines that wait for a slow reader; then the files wait, which costs nothing.
const LINES_MAX: usize = 256;

/// Pause between two looks while nothing is printed: short enough for a person, and a stat call each.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts to read. The stream ends with what is there, or if following, with the container; or when the receiver is dropped.
pub(crate) fn logs(container: Arc<Container>, query: LogQuery) -> mpsc::Receiver<LogLine> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    tokio::spawn(async move { read(&container, query, &sender).await });
    receiver
}

async fn read(container: &Container, query: LogQuery, sender: &mpsc::Sender<LogLine>) {
    let dir = container.dirs.logs();
    let mut reader = Runtime::blocking(move || Reader::open(&dir, query)).await;
    loop {
        // Asked before the read: what the shim wrote before the end is then read.
        let last = !query.follow || container.exit.borrow().is_some();
        let (back, lines) = Runtime::blocking(move || {
            let lines = reader.next_lines();
            (reader, lines)
        })
        .await;
        reader = back;
        match lines.is_empty() {
            true if last => return,
            true => pause(container, sender).await,
            false => {
                for line in lines {
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
        }
        if sender.is_closed() {
            return;
        }
    }
}

async fn pause(container: &Container, sender: &mpsc::Sender<LogLine>) {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => {}
        _ = end::ended(container) => {}
        () = sender.closed() => {}
    }
}
