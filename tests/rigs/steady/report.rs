//! What came of a load.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::mix::Kind;
use crate::times::{Times, ms};

/// Whoever takes longer has waited for something: no step of an answer takes so long, also where others
/// use the machine.
const SLOW: Duration = Duration::from_millis(750);

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another status than 200, and the endpoint that the answer names.
    Status(u16, String),
    /// No connection to the proxy.
    Refused(io::ErrorKind),
    /// The connection to the proxy ended before the answer did.
    Cut(String),
    /// No answer in time.
    Silence,
    /// The answer of another service.
    Stranger(String),
    /// There is no such request; a fault of the plan.
    Request(String),
}

impl Fault {
    #[expect(clippy::needless_pass_by_value, reason = "errors are mapped by this name")]
    pub(super) fn cut(error: hyper::Error) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Cut(format!("{error}{cause}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, upstream) if upstream.is_empty() => write!(out, "{status}"),
            Self::Status(status, upstream) => write!(out, "{status} of {upstream}"),
            Self::Refused(kind) => write!(out, "no connection to the proxy: {kind}"),
            Self::Cut(error) => write!(out, "cut: {error}"),
            Self::Silence => write!(out, "no answer within {:?}", super::PATIENCE),
            Self::Stranger(answer) => write!(out, "another service: {}", answer.trim()),
            Self::Request(error) => write!(out, "no request: {error}"),
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it was due, since the load began.
    pub at: Duration,
    /// How long it took to fail, since it was due.
    pub took: Duration,
    /// What was asked.
    pub kind: Kind,
    /// What became of it.
    pub fault: Fault,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, took, kind, fault } = self;
        write!(
            out,
            "at {:.3} s, after {:.3} s, {kind}: {fault}",
            at.as_secs_f64(),
            took.as_secs_f64()
        )
    }
}

/// A request that was answered, but late.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    /// When it was due, since the load began.
    pub at: Duration,
    /// How long it took, since it was due.
    pub took: Duration,
}

/// What came of it all.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How long it asked, without the wait for the last answers.
    pub ran: Duration,
    /// How many requests were asked.
    pub asked: usize,
    /// Those that failed, in the order of their ends.
    pub failures: Vec<Failure>,
    /// How long the others took since they were due.
    pub times: Times,
    /// Of these, those that took longer than three quarters of a second, in the order of their ends.
    pub slow: Vec<Slow>,
    /// How late requests were sent: what the load itself adds to their times.
    pub late: Times,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} requests in {:.1} s, {} failed; p50 {}, p99 {}, max {}; sent late: p99 {}",
            self.asked,
            self.ran.as_secs_f64(),
            self.failures.len(),
            ms(self.times.at(50)),
            ms(self.times.at(99)),
            ms(self.times.at(100)),
            ms(self.late.at(99)),
        )?;
        for failure in self.failures.iter().take(10) {
            write!(out, "\n  {failure}")?;
        }
        if self.failures.len() > 10 {
            write!(out, "\n  … and {} more", self.failures.len() - 10)?;
        }
        Ok(())
    }
}

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    failures: Vec<Failure>,
    times: Vec<Duration>,
    slow: Vec<Slow>,
    late: Vec<Duration>,
}

impl Tally {
    pub(super) fn take(
        &mut self,
        kind: Kind,
        at: Duration,
        late: Duration,
        took: Duration,
        outcome: Result<(), Fault>,
    ) {
        self.late.push(late);
        match outcome {
            Ok(()) => {
                self.times.push(took);
                if took > SLOW {
                    self.slow.push(Slow { at, took });
                }
            }
            Err(fault) => self.failures.push(Failure { at, took, kind, fault }),
        }
    }

    pub(super) fn report(self, ran: Duration) -> Report {
        let Self { failures, times, slow, late } = self;
        let (times, late) = (Times::new(times), Times::new(late));
        Report { ran, asked: late.count(), failures, times, slow, late }
    }
}
