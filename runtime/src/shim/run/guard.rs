//! Watches over a container's lifeline: one timer, which goes on while the machine sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::lifeline::disk::{read, uptime};
use crate::lifeline::{Care, Lifeline};
use crate::shim::protocol::Tether;
use crate::shim::sys;

/// How soon a kill is repeated that did not end the container: it may have come before the init was there.
const AGAIN: Duration = Duration::from_secs(1);

/// The guard of one container.
pub(super) struct Guard {
    tether: Tether,
    line: Lifeline,
    timer: OwnedFd,
    /// The container is being stopped, and is killed then.
    kill_at: Option<Duration>,
    /// It was stopped for want of its lifeline.
    acted: bool,
}

impl Guard {
    /// A guard that sleeps until [`Guard::wake`].
    pub(super) fn new(tether: Tether) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { line: tether.line, tether, timer, kill_at: None, acted: false })
    }

    /// What to wait for.
    pub(super) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Why the container may not be started, if it may not.
    pub(super) fn refuses(&self) -> Option<String> {
        let holds = self.line.holds(self.kept(), uptime());
        (!holds).then(|| format!("start the container: {}", self.reason()))
    }

    /// Why the container was stopped, if this was why.
    pub(super) fn verdict(&self) -> Option<String> {
        self.acted.then(|| self.reason())
    }

    fn reason(&self) -> String {
        format!("its daemon did not keep its lifeline for {} s", self.line.after.as_secs())
    }

    fn kept(&self) -> Option<Duration> {
        read(&self.tether.path, &self.tether.boot_id)
    }

    /// Looks what is to be done, does it, and sets the timer for the next look.
    pub(super) fn wake(&mut self, init: BorrowedFd<'_>) {
        let mut buffer = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut buffer);
        let next = match self.line.care(self.kept(), self.kill_at, uptime()) {
            Care::Look(at) => at,
            Care::Stop(at) => {
                (self.kill_at, self.acted) = (Some(at), true);
                let _ = sys::send_signal(init, self.tether.stop_signal);
                at
            }
            Care::Kill => {
                (self.kill_at, self.acted) = (Some(Duration::ZERO), true);
                let _ = sys::send_signal(init, libc::SIGKILL);
                uptime() + AGAIN
            }
        };
        if self.set(next).is_err() {
            // Without a timer nobody would look again.
            let _ = sys::send_signal(init, libc::SIGKILL);
        }
    }

    fn set(&self, at: Duration) -> io::Result<()> {
        let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec: seconds, tv_nsec: at.subsec_nanos().into() };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}
