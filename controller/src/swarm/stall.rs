//! Reads that hang although Docker answers again.
//!
//! A call that an engine takes while its Swarm has no leader may stay without an answer for as long as
//! anybody waits, also when there is a leader again and what is asked later is answered at once.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

/// How long an answer may take without a doubt, where reads are quicker than this.
const GRACE: Duration = Duration::from_millis(500);

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(250);

/// So many times what the last read took, the next may take without a doubt.
const PATIENCE: u32 = 4;

/// Waits for a read. None: it takes far longer than the last one did, and something that was asked
/// since then has been answered, which `ask` tells of its question. Who was never answered waits.
pub(super) async fn unless_stalled<T, A: Future<Output = bool>>(
    read: impl Future<Output = T>,
    last_took: Option<Duration>,
    ask: impl Fn() -> A,
) -> Option<T> {
    let mut read = std::pin::pin!(read);
    let Some(last_took) = last_took else { return Some(read.await) };
    let expected = GRACE.max(last_took.saturating_mul(PATIENCE));
    if let Ok(read) = timeout(expected, &mut read).await {
        return Some(read);
    }
    // These may hang as well: none of them takes the place of the next.
    let mut asked = FuturesUnordered::new();
    loop {
        asked.push(ask());
        let soon = sleep(INTERVAL);
        tokio::pin!(soon);
        loop {
            tokio::select! {
                biased;
                read = &mut read => return Some(read),
                Some(answered) = asked.next() => if answered { return None },
                () = &mut soon => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// What comes of a read that takes so long after one that took so long, and when; and how often
    /// was asked. Questions hang that are asked before the leader is there.
    async fn ended(
        takes: Option<Duration>,
        last_took: Option<Duration>,
        leader: Duration,
    ) -> (Option<()>, Duration, u32) {
        let (began, asked) = (Instant::now(), Cell::new(0));
        let read = async {
            match takes {
                Some(takes) => sleep(takes).await,
                None => std::future::pending().await,
            }
        };
        let ask = || {
            asked.set(asked.get() + 1);
            let is_led = began.elapsed() >= leader;
            async move { if is_led { true } else { std::future::pending().await } }
        };
        let read = timeout(ms(9_900), unless_stalled(read, last_took, ask)).await;
        (read.unwrap_or(Some(())), began.elapsed(), asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_given_up_as_soon_as_what_is_asked_later_is_answered() {
        let never = ms(1_000_000);
        for (takes, last_took, leader, expected) in [
            // In time: nothing is asked.
            (Some(ms(499)), Some(ms(1)), ms(0), (Some(()), ms(499), 0)),
            (Some(ms(3_999)), Some(ms(1_000)), ms(0), (Some(()), ms(3_999), 0)),
            // Late, but before any other answer.
            (Some(ms(2_100)), Some(ms(1)), never, (Some(()), ms(2_100), 7)),
            // It hangs: asked at 500 ms, 750 ms, and so on.
            (None, Some(ms(1)), ms(0), (None, ms(500), 1)),
            (None, Some(ms(1)), ms(700), (None, ms(750), 2)),
            (None, Some(ms(1_000)), ms(0), (None, ms(4_000), 1)),
            (None, Some(ms(1)), never, (Some(()), ms(9_900), 38)),
            // Nobody knows how long it may take.
            (None, None, ms(0), (Some(()), ms(9_900), 0)),
        ] {
            let found = ended(takes, last_took, leader).await;
            assert_eq!(found, expected, "{takes:?} {last_took:?} {leader:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_fails_is_asked_again_no_sooner_than_one_that_hangs() {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            std::future::ready(asked.get() == 3)
        };
        let began = Instant::now();
        let read = unless_stalled(std::future::pending::<()>(), Some(ms(1)), ask).await;
        assert_eq!((read, began.elapsed(), asked.get()), (None, ms(1_000), 3));
    }
}
