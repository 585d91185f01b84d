//! What is under way, and how long it will take: on standard error, a line a step.

use std::time::{Duration, Instant};

/// How far a measurement has come.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// What all steps were thought to take.
    expected: Duration,
    /// What those were thought to take that are over.
    done: Duration,
    /// What the one is thought to take that is under way.
    current: Duration,
}

impl Progress {
    /// Of steps that take so long together.
    pub(super) fn new(expected: Duration) -> Self {
        let none = Duration::ZERO;
        Self { began: Instant::now(), expected, done: none, current: none }
    }

    /// The next step begins, which may take so long.
    pub(super) fn begin(&mut self, what: &str, expected: Duration) {
        self.done += self.current;
        self.current = expected;
        let left = self.expected.saturating_sub(self.done);
        // As much faster or slower as it was until now.
        let pace = self.began.elapsed().as_secs_f64() / self.done.as_secs_f64();
        let left = if pace.is_finite() { left.mul_f64(pace) } else { left };
        eprintln!("[{}, {} left] {what}", minutes(self.began.elapsed()), minutes(left));
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
