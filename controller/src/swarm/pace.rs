//! How often Docker is asked: a budget against the two seconds that a stopping task still serves.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Between the beginnings of two reads while something moves.
const QUICK: Duration = Duration::from_millis(250);
/// Between the beginnings of two reads while nothing moves.
const CALM: Duration = Duration::from_millis(500);
/// Between the beginnings of two reads while each change is pushed: the net below the watch.
const NET: Duration = Duration::from_secs(10);
/// How long an event makes us expect more.
const ECHO: Duration = Duration::from_secs(30);
/// Reads take at most one part in so many of the time: of the time in which something moves, and of
/// all other. A stop is to be seen well within two seconds, whatever a read takes.
const SHARES: (u32, u32) = (4, 10);

/// The first pause after a failure.
const RETRY: Duration = Duration::from_millis(250);

/// Whether tasks are likely to change soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// A service updates, a task is not yet running, or an event came lately.
    Moving,
    /// None of these.
    Still,
    /// Whatever changes is pushed.
    Pushed,
}

impl Activity {
    /// The activity after an event that came so long ago, given what the picture shows.
    pub(super) fn of(picture: Self, since_event: Option<Duration>) -> Self {
        match since_event {
            Some(since) if since < ECHO => Self::Moving,
            _ => picture,
        }
    }
}

/// What failed, and is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// A read. A Swarm that comes back, such as with another leader, goes on at once with what waited
    /// for it: the stops that it then tells are to be seen in time, however long it was away.
    Read,
    /// The watch, or the events. Reads go on without them.
    Listening,
}

impl Failed {
    fn longest_pause(self) -> Duration {
        match self {
            Self::Read => Duration::from_millis(500),
            Self::Listening => Duration::from_secs(5),
        }
    }
}

/// How long to wait after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    /// Even if an event comes.
    pub(super) least: Duration,
    /// If none comes.
    pub(super) most: Duration,
}

/// The pause after a complete read that took so long.
pub(super) fn pause(activity: Activity, took: Duration) -> Pause {
    let (interval, share) = match activity {
        Activity::Moving => (QUICK, SHARES.0),
        Activity::Still => (CALM, SHARES.1),
        Activity::Pushed => (NET, SHARES.1),
    };
    // An event says that something moves, whatever did before.
    let least = took.saturating_mul(SHARES.0 - 1);
    let most = took.saturating_mul(share - 1);
    Pause { least, most: interval.saturating_sub(took).max(most) }
}

/// The pause after so many failures in a row (1 or more). `jitter` is from 0 to 1 and shortens it
/// by up to half, so that controllers that failed together do not return together.
pub(super) fn retry(failed: Failed, failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = RETRY.saturating_mul(1 << doublings).min(failed.longest_pause());
    full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// A random number from 0 to 1, for the spreading of retries.
pub(super) fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn reads_follow_activity_and_never_take_more_than_their_share_of_the_time() {
        use Activity::{Moving, Pushed, Still};
        for (activity, took, least, most) in [
            (Pushed, ms(0), ms(0), ms(10_000)),
            (Pushed, ms(100), ms(300), ms(9_900)),
            (Pushed, ms(2_000), ms(6_000), ms(18_000)),
            (Moving, ms(0), ms(0), ms(250)),
            (Still, ms(0), ms(0), ms(500)),
            (Moving, ms(5), ms(15), ms(245)),
            (Still, ms(5), ms(15), ms(495)),
            (Moving, ms(25), ms(75), ms(225)),
            (Still, ms(25), ms(75), ms(475)),
            (Moving, ms(100), ms(300), ms(300)),
            (Moving, ms(450), ms(1350), ms(1350)),
            (Still, ms(100), ms(300), ms(900)),
            (Still, ms(450), ms(1350), ms(4050)),
        ] {
            assert_eq!(pause(activity, took), Pause { least, most }, "{activity:?} {took:?}");
        }
    }

    #[test]
    fn an_event_keeps_us_quick_for_half_a_minute() {
        use Activity::{Moving, Still};
        for (picture, since, activity) in [
            (Still, None, Still),
            (Moving, None, Moving),
            (Still, Some(ms(0)), Moving),
            (Still, Some(ms(29_999)), Moving),
            (Still, Some(ms(30_000)), Still),
            (Moving, Some(ms(30_000)), Moving),
        ] {
            assert_eq!(Activity::of(picture, since), activity, "{picture:?} {since:?}");
        }
    }

    #[test]
    fn what_failed_is_tried_ever_later_and_a_read_soon_enough_for_the_next_stop() {
        use Failed::{Listening, Read};
        for (failed, failures, jitter, pause) in [
            (Read, 1, 0.0, ms(250)),
            (Read, 1, 1.0, ms(125)),
            (Read, 2, 0.0, ms(500)),
            (Read, u32::MAX, 0.0, ms(500)),
            (Read, u32::MAX, 1.0, ms(250)),
            (Listening, 1, 0.0, ms(250)),
            (Listening, 2, 0.0, ms(500)),
            (Listening, 5, 0.0, ms(4_000)),
            (Listening, 6, 0.0, ms(5_000)),
            (Listening, u32::MAX, 0.0, ms(5_000)),
            (Listening, u32::MAX, 1.0, ms(2_500)),
            (Listening, 0, 0.0, ms(250)),
        ] {
            assert_eq!(retry(failed, failures, jitter), pause, "{failed:?} {failures} {jitter}");
        }
    }
}
