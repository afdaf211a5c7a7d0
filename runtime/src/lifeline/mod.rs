//! A lifeline: a container that is made with one lives only as long as its daemon goes on to keep it.
//!
//! **Owns** one small file in the runtime's run directory: when the lifeline was last kept, by the clock that counts from the
//! machine's boot and goes on while it sleeps, and in which boot that was. The daemon replaces it; shims read it.
//!
//! **What for.** A container outlives its daemon, and that is mostly a virtue. Of some no two may run in a cluster, and the daemon
//! stops those when it hears nothing of the cluster any more. This is for the daemon that cannot, because it was killed or hangs:
//! then the container's own shim does it, a little later than the daemon would have.
//!
//! **The shim's side.** It looks when the time is up, not before: one timer and one read of a file in all of that time. A
//! lifeline that cannot be read is one that was not kept. Once it has begun to stop the container it goes on, whatever it reads
//! later: stop signal, grace, kill. What it is late, the grace is shorter.
//!
//! **Why a file, and not a message to each shim?** The daemon writes once for all of them, a shim that hangs holds nobody up, and the
//! next daemon finds there what the last one left.
//!
//! Read next: `runtime/src/shim/run/guard.rs`, which watches over it.

pub mod disk;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a container's life hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifeline {
    /// It is stopped when the lifeline was not kept for so long.
    pub after: Duration,
    /// It is killed so much later.
    pub grace: Duration,
}

/// Contents of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The boot in which it was kept.
    pub boot_id: String,
    /// When, since that boot.
    pub at: Duration,
}

impl Kept {
    /// As text: one line.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{} {}\n", self.boot_id, self.at.as_millis())
    }

    /// From text; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let (boot_id, ms) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { boot_id: boot_id.to_owned(), at: Duration::from_millis(ms.parse().ok()?) })
    }

    /// When it was kept, if that was in this boot.
    #[must_use]
    pub fn in_boot(self, boot_id: &str) -> Option<Duration> {
        (self.boot_id == boot_id).then_some(self.at)
    }
}

/// What a shim has to do for its container now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Look again then.
    Look(Duration),
    /// Ask it to stop, and look again then.
    Stop(Duration),
    /// Kill it.
    Kill,
}

impl Lifeline {
    /// The container may live, and be started.
    #[must_use]
    pub fn holds(&self, kept: Option<Duration>, now: Duration) -> bool {
        kept.is_some_and(|kept| now < kept + self.after)
    }

    /// What to do at `now`. `stopping`: since when the container is being stopped, if it is.
    #[must_use]
    pub fn care(&self, kept: Option<Duration>, stopping: Option<Duration>, now: Duration) -> Care {
        match (stopping, kept) {
            (None, Some(kept)) if now < kept + self.after => Care::Look(kept + self.after),
            (None, Some(kept)) if now < kept + self.after + self.grace => Care::Stop(kept + self.after + self.grace),
            (Some(kill_at), _) if now < kill_at => Care::Look(kill_at),
            _ => Care::Kill,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    const LINE: Lifeline = Lifeline { after: seconds(30), grace: seconds(10) };

    #[test]
    fn a_container_is_stopped_when_its_time_is_up_and_killed_when_the_grace_is() {
        let kept = Some(seconds(100));
        assert_eq!(LINE.care(kept, None, seconds(110)), Care::Look(seconds(130)));
        assert_eq!(LINE.care(kept, None, seconds(130)), Care::Stop(seconds(140)));
        assert_eq!(LINE.care(kept, Some(seconds(140)), seconds(135)), Care::Look(seconds(140)));
        assert_eq!(LINE.care(kept, Some(seconds(140)), seconds(140)), Care::Kill);
    }

    #[test]
    fn who_comes_late_leaves_less_time_or_none() {
        assert_eq!(LINE.care(Some(seconds(100)), None, seconds(137)), Care::Stop(seconds(140)));
        assert_eq!(LINE.care(Some(seconds(100)), None, seconds(3_600)), Care::Kill);
        assert_eq!(LINE.care(None, None, seconds(1)), Care::Kill, "nothing that can be read");
    }

    #[test]
    fn a_stop_that_has_begun_goes_on_though_the_lifeline_is_kept_again() {
        assert_eq!(LINE.care(Some(seconds(139)), Some(seconds(140)), seconds(141)), Care::Kill);
    }

    #[test]
    fn what_was_kept_in_another_boot_was_not_kept() {
        let kept = Kept { boot_id: "b-1".to_owned(), at: seconds(7) };
        assert_eq!(Kept::decode(&kept.encode()), Some(kept.clone()));
        assert_eq!((kept.clone().in_boot("b-1"), kept.in_boot("b-2")), (Some(seconds(7)), None));
        for bad in ["", "\n", "b-1\n", "b-1 x\n", "b-1 7", "b-1 -7\n"] {
            assert_eq!(Kept::decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}") {
            let _ = Kept::decode(&text);
        }

        #[test]
        fn nothing_lives_longer_than_the_time_and_the_grace_after_it_was_kept(kept in 0u64..1_000, late in 0u64..100) {
            let kill_at = seconds(kept) + LINE.after + LINE.grace;
            match LINE.care(Some(seconds(kept)), None, seconds(kept + late)) {
                Care::Look(at) | Care::Stop(at) => prop_assert!(at <= kill_at && seconds(kept + late) < at),
                Care::Kill => prop_assert!(seconds(kept + late) >= kill_at),
            }
        }
    }
}
