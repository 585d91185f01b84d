//! What the loss of a node may cost.

use std::time::Duration;

use anyhow::{Result, ensure};
use waggle_tests::steady::{Failure, Method, Report, Slow};

use super::TASKS;
use crate::load::RATE;

/// How far two clocks of one machine, under load, may see a moment apart.
const BLUR: Duration = Duration::from_millis(100);

/// The connect timeout. All that wait for a connection to a lost task are given up with the first one.
const CONNECT: Duration = Duration::from_secs(1);

/// How long Envoy leaves tasks alone to which connections fail.
const REST: Duration = Duration::from_secs(20);

/// What the other tries take, beside what they wait.
const TRIES: Duration = Duration::from_millis(250);

/// The loss of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// When it was, since the load began: it took some time.
    pub(super) from: Duration,
    /// When it was over.
    pub(super) to: Duration,
    /// When Envoy knew that its tasks are gone.
    pub(super) known: Duration,
    /// How many of its tasks the proxy had.
    pub(super) tasks: usize,
    /// How many connections from the proxy to these were open that nobody has closed.
    pub(super) dead: usize,
}

impl Loss {
    /// Holds a load to what the loss may cost:
    ///
    /// - Failures: `POST`s that were under way, or were sent on a dead connection.
    /// - Requests that wait longer than for a connection to each lost task, one after the other, these
    ///   failures included: one a dead connection.
    /// - Requests that wait for connections: no more than the lost tasks' share of one second's, since
    ///   whoever asks after the first timeout of a pool waits for nothing; and as many again for each
    ///   rest of the tasks that ends before Swarm knows. Each task rests by itself: the second of one may
    ///   begin in that of another, or after it.
    /// - Requests that wait for connections to the tasks that come instead: no more than one second's.
    ///   A task runs before its overlay network has told all other nodes where it is.
    pub(super) fn judge(self, report: &Report) -> Result<()> {
        let tries = CONNECT.saturating_mul(u32::try_from(self.tasks)?) + TRIES;
        let (late, mut waited): (Vec<&Slow>, Vec<&Slow>) =
            report.slow.iter().partition(|slow| slow.took > tries);
        waited.sort_by_key(|slow| slow.at);
        let (waited, for_new): (Vec<&Slow>, Vec<&Slow>) =
            waited.into_iter().partition(|slow| slow.at < self.known);
        let rounds: Vec<Round<'_>> =
            waited.chunk_by(|one, next| next.at.saturating_sub(one.at) < CONNECT).collect();
        let (lost, late) = (report.failures.len(), late.len());
        let new = for_new.len();
        println!(
            "{self:?}: {lost} lost, {late} late; waited: {}, {new} for new tasks",
            told(&rounds)
        );
        let wrong: Vec<&Failure> =
            report.failures.iter().filter(|failure| !self.covers(failure)).collect();
        ensure!(wrong.is_empty(), "{self:?} does not explain {wrong:#?}: {report}");
        // Where connections were closed, what failed had been under way.
        let on_dead = if self.dead == 0 { late } else { late + lost };
        ensure!(on_dead <= self.dead, "{on_dead} on dead connections of {self:?}: {report}");
        let rests = self.known.saturating_sub(self.from).as_secs() / REST.as_secs();
        let fits = |round: &Round<'_>| {
            let (Some(begin), Some(end)) = (round.first(), round.last()) else { return true };
            // All of these were asked before it was known.
            begin.at + BLUR >= self.from && end.at.saturating_sub(begin.at) <= tries + BLUR
        };
        let most = (1 + rests) * self.tasks as u64;
        let all_fit = rounds.len() as u64 <= most && rounds.iter().all(fits);
        ensure!(all_fit, "{self:?}: waited: {}: {report}", told(&rounds));
        let share = usize::try_from(RATE)? * self.tasks / TASKS;
        let most = rounds.iter().map(|round| round.len()).max().unwrap_or_default();
        ensure!(most <= share, "{self:?}: {most} waited: {report}");
        ensure!(new <= usize::try_from(RATE)?, "{self:?}: {new} waited for new tasks: {report}");
        Ok(())
    }

    fn covers(self, failure: &Failure) -> bool {
        let ended = failure.at + failure.took;
        let was_under_way = failure.at <= self.to + BLUR && ended + BLUR >= self.from;
        failure.kind.method == Method::Post && (was_under_way || self.dead > 0)
    }
}

/// Requests that waited, in the order in which they were asked, with no second between them.
type Round<'a> = &'a [&'a Slow];

fn told(rounds: &[Round<'_>]) -> String {
    let told = |round: &Round<'_>| {
        let at = |slow: Option<&&Slow>| slow.map_or(0.0, |slow| slow.at.as_secs_f64());
        let (begin, end) = (at(round.first()), at(round.last()));
        format!("{} asked from {begin:.2} s to {end:.2} s", round.len())
    };
    let told: Vec<String> = rounds.iter().map(told).collect();
    format!("[{}]", told.join(", "))
}
