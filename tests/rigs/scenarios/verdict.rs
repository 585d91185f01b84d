//! What a scenario may cost, and whether it cost more.

use std::fmt;
use std::time::Duration;

use crate::steady::{Failure, Fault, Method, Report};

/// How far two clocks of one machine, under load, may see a moment apart.
const BLUR: Duration = Duration::from_millis(50);

/// A task that was told to stop serves for at least so long.
const SERVES_ON: Duration = Duration::from_millis(1_900);

/// How long after it runs a task may begin to get requests.
const FOUND: Duration = Duration::from_millis(600);

/// The connect timeout, and time for the other try.
const RETRIED: Duration = Duration::from_millis(1_250);

/// What a scenario may cost. A task that is lost without notice takes with it what it was just doing:
/// a `GET` can be asked again, a `POST` may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// No failure.
    Nothing,
    /// 503 while no task is there, and not before the last one could no longer serve.
    WhileNobodyServes,
    /// `POST`s that were under way when a process ended that nobody had told of.
    PostsUnderWay,
    /// Requests on connections to the lost node that were open when it went: late `GET`s, lost
    /// `POST`s. All others take no longer than the connect timeout and another try.
    SlowOnDeadConnections,
}

/// When what happened, since the load began.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    /// Tasks were told to stop.
    pub(super) stopped: Vec<Duration>,
    /// New tasks ran.
    pub(super) running: Vec<Duration>,
    /// Processes were signalled, or ended.
    pub(super) ended: Vec<Duration>,
    /// A node was cut off, with so many connections from the proxy.
    pub(super) lost: Option<(Duration, usize)>,
}

impl Allowed {
    /// Whether no more failed than this allows; else, what did.
    pub(super) fn judge(self, report: &Report, moments: &Moments) -> Result<(), String> {
        let wrong: Vec<&Failure> =
            report.failures.iter().filter(|failure| !self.covers(failure, moments)).collect();
        if let Some(first) = wrong.first() {
            return Err(format!("{} failures, the first {first}; {moments:?}", wrong.len()));
        }
        match (self, moments.lost) {
            (Self::SlowOnDeadConnections, Some((_, connections))) => {
                let p99 = report.times.at(99);
                let (slow, lost) = (report.times.slower_than(RETRIED), report.failures.len());
                if p99 < RETRIED && slow + lost <= connections {
                    return Ok(());
                }
                let slowest: Vec<_> = report.times.all().iter().rev().take(slow.min(20)).collect();
                Err(format!(
                    "p99 {p99:?}, {slow} slower than {RETRIED:?} and {lost} lost, with {connections} \
                     connections to the lost node: {slowest:?}"
                ))
            }
            (Self::SlowOnDeadConnections, None) => Err("no node was lost".to_owned()),
            _ => Ok(()),
        }
    }

    fn covers(self, failure: &Failure, moments: &Moments) -> bool {
        let (asked, failed) = (failure.at, failure.at + failure.took);
        match self {
            Self::Nothing => false,
            Self::WhileNobodyServes => {
                let pairs = moments.stopped.iter().zip(&moments.running);
                let mut gaps = pairs.map(|(stopped, running)| {
                    (stopped.saturating_add(SERVES_ON), running.saturating_add(FOUND))
                });
                matches!(failure.fault, Fault::Status(503, _))
                    && gaps.any(|(from, to)| failed >= from && asked <= to)
            }
            Self::PostsUnderWay => {
                let under_way =
                    |ended: &Duration| asked <= *ended + BLUR && failed + BLUR >= *ended;
                failure.kind.method == Method::Post && moments.ended.iter().any(under_way)
            }
            Self::SlowOnDeadConnections => {
                failure.kind.method == Method::Post
                    && moments.lost.is_some_and(|(at, _)| failed >= at)
            }
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nothing => "nothing",
            Self::WhileNobodyServes => "503 while no task is there",
            Self::PostsUnderWay => "POSTs under way in the ended process",
            Self::SlowOnDeadConnections => "one request a connection to the lost node",
        })
    }
}
