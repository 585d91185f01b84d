//! Times, and how they are told.

use std::time::Duration;

/// A time in milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Times, sorted.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many of a hundred do not exceed.
    pub fn at(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(index).copied().unwrap_or_default()
    }

    /// All of them, the shortest first.
    pub fn all(&self) -> &[Duration] {
        &self.0
    }

    /// How many took longer than this.
    pub fn slower_than(&self, limit: Duration) -> usize {
        self.0.len() - self.0.partition_point(|time| *time <= limit)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
