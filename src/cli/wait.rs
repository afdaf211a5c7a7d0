//! Waiting until a service is what its spec says.
//!
//! Success means converged: the daemon says so, for the version that this command made. A task that keeps failing is shown
//! and waited for, until `--timeout` or Ctrl-C. Docker goes on to watch for five seconds whether the tasks stay up; we
//! return at once, since a script that wants to know that asks for it.
//!
//! Ctrl-C prints Docker's text and ends with 1, where Docker has 0: the service has not converged, and 0 would say so.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use skep_proto::pb;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Code, Status};

use super::connect::Daemon;
use super::convergence::{self, Wanted};
use super::error::timed_out;
use super::format::progress::{Phase, Screen, lines};
use super::format::units::{go_duration, parse_duration};
use super::output::{print, progress_target};
use super::service;
use crate::exit::Exit;

/// How often in a row a lost watch is taken up again. With [`PAUSE`] between them that is 15 seconds, many times what a
/// cluster takes to choose a new leader; after that the daemon's own words are the error.
const RETRIES_MAX: u32 = 60;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// A wait without `--timeout`: for ever, in a number that a clock can carry.
const ENDLESS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How a command waits.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct WaitFlags {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) detach: bool,
    /// Suppress progress output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Stop waiting after this time, with exit code 4
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

impl WaitFlags {
    /// When the wait that begins now has to end.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout.unwrap_or(ENDLESS).min(ENDLESS)
    }
}

/// Waits until the service runs this version of its spec, unless told not to.
///
/// # Errors
/// When the time is up, or the daemon cannot be asked any more.
pub(crate) async fn converge(daemon: &Daemon, service: &pb::Service, flags: &WaitFlags) -> anyhow::Result<Exit> {
    if flags.detach {
        return Ok(Exit::Done);
    }
    converge_until(daemon, service, flags, flags.deadline()).await
}

/// The same for one of several services that share a deadline.
///
/// # Errors
/// As [`converge`].
pub(crate) async fn converge_until(
    daemon: &Daemon,
    service: &pb::Service,
    flags: &WaitFlags,
    deadline: Instant,
) -> anyhow::Result<Exit> {
    let mut show =
        Show { quiet: flags.quiet, screen: Screen::new(progress_target()), wanted: Wanted::of(service), last: None };
    let id = service::id(service);
    tokio::select! {
        done = follow(daemon, &id, &mut show) => done.map(|()| Exit::Done),
        () = sleep_until(deadline) => Err(timed_out(show.why(flags))),
        _ = tokio::signal::ctrl_c() => interrupted(&id),
    }
}

/// Waits until nothing is left of a removed service.
///
/// # Errors
/// As [`converge`].
pub(crate) async fn removed(
    daemon: &Daemon,
    service: &pb::Service,
    flags: &WaitFlags,
    deadline: Instant,
) -> anyhow::Result<Exit> {
    let id = service::id(service);
    let mut last = None;
    tokio::select! {
        done = follow_removal(daemon, &id, &mut last) => done.map(|()| Exit::Done),
        () = sleep_until(deadline) => {
            let name = service::name(service);
            let waited = go_duration(flags.timeout.unwrap_or_default());
            Err(timed_out(convergence::why_not_removed(name, &waited, &last.unwrap_or_default())))
        }
        // Nothing can be asked about a service that is gone, so there is no hint.
        _ = tokio::signal::ctrl_c() => print("Operation continuing in background.\n").map(|()| Exit::Failed),
    }
}

fn interrupted(id: &str) -> anyhow::Result<Exit> {
    print(&format!("Operation continuing in background.\nUse `skep service ps {id}` to check progress.\n"))?;
    Ok(Exit::Failed)
}

/// What has been seen and drawn.
struct Show {
    quiet: bool,
    screen: Screen,
    wanted: Wanted,
    last: Option<pb::ServiceProgress>,
}

impl Show {
    /// Takes in a message; whether the wait is over.
    fn take(&mut self, progress: pb::ServiceProgress) -> anyhow::Result<bool> {
        let done = self.wanted.is_met(&progress);
        let never = convergence::is_hopeless(&progress, &self.wanted);
        let phase = if done { Phase::Converged(self.wanted.id.clone()) } else { Phase::Working };
        if !self.quiet {
            let drawn = self.screen.draw(&lines(&convergence::snapshot(&progress, &self.wanted, phase)));
            print(&drawn)?;
        }
        if never {
            bail!(convergence::why_never(&self.wanted.name, &progress));
        }
        self.last = Some(progress);
        Ok(done)
    }

    fn why(&self, flags: &WaitFlags) -> String {
        let waited = go_duration(flags.timeout.unwrap_or_default());
        convergence::why_not(&self.wanted.name, &waited, self.last.as_ref())
    }
}

async fn follow(daemon: &Daemon, id: &str, show: &mut Show) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let mut take = |progress| {
            // Whoever was heard may be lost again: only tries in a row count.
            tries = 0;
            show.take(progress)
        };
        let error = match watch_once(daemon, id, false, &mut take).await {
            Ok(true) => return Ok(()),
            // A watch that ended at an older version was true when it ended: look again.
            Ok(false) => Status::unavailable("the daemon ended the watch of the service"),
            Err(Lost::Watch(status)) => status,
            Err(Lost::Ours(error)) => return Err(error),
        };
        again(&mut tries, error).await?;
    }
}

async fn follow_removal(daemon: &Daemon, id: &str, last: &mut Option<pb::ServiceProgress>) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let mut take = |progress: pb::ServiceProgress| {
            tries = 0;
            let removed = progress.removed;
            *last = Some(progress);
            Ok(removed)
        };
        let error = match watch_once(daemon, id, true, &mut take).await {
            Ok(true) => return Ok(()),
            Ok(false) => Status::unavailable("the daemon ended the watch of the service"),
            Err(Lost::Watch(status)) if status.code() == Code::NotFound => return Ok(()),
            Err(Lost::Watch(status)) => status,
            Err(Lost::Ours(error)) => return Err(error),
        };
        again(&mut tries, error).await?;
    }
}

/// How a watch broke off.
enum Lost {
    /// The daemon's side.
    Watch(Status),
    /// Our side.
    Ours(anyhow::Error),
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        Self::Watch(status)
    }
}

/// Hands on what one watch says; whether it was what `take` waits for.
async fn watch_once(
    daemon: &Daemon,
    id: &str,
    until_removed: bool,
    take: &mut dyn FnMut(pb::ServiceProgress) -> anyhow::Result<bool>,
) -> Result<bool, Lost> {
    let request = pb::WatchServiceRequest { r#ref: id.to_owned(), until_removed };
    let mut stream = daemon.control().watch_service(request).await?.into_inner();
    while let Some(progress) = stream.message().await? {
        if take(progress).map_err(Lost::Ours)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits before another try, or gives up.
///
/// # Errors
/// What the daemon said, when it does not heal or was said too often.
pub(crate) async fn again(tries: &mut u32, status: Status) -> anyhow::Result<()> {
    *tries += 1;
    let heals = matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Unknown);
    if !heals || *tries > RETRIES_MAX {
        return Err(status.into());
    }
    sleep(PAUSE).await;
    Ok(())
}
