//! Whether sessions held: what clients saw, against which tasks were in the pool. Pure.
//!
//! Times are counted from the start of the test.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// One request of a client, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) sent: Duration,
    /// When it was answered, or given up.
    pub(crate) came: Duration,
    /// Envoys that closed the connection without an answer, and how that showed, before the client went
    /// to another one.
    pub(crate) closed: Vec<(usize, String)>,
    pub(crate) outcome: Outcome,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A 200.
    Answered {
        envoy: usize,
        /// Which task answered.
        instance: String,
        /// The values of all `NAME_lb` that the answer sets.
        pins: Vec<String>,
    },
    /// Anything else.
    Failed(String),
}

/// When a task was in the pool, by looks at the Swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stay {
    /// When the first look began that showed it.
    pub(crate) first: Duration,
    /// When the last look began that showed it.
    pub(crate) last: Duration,
    /// When the test was about to kill it: nobody needs to have told the Swarm.
    pub(crate) killed: Option<Duration>,
}

/// What happened around the clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    /// The tasks that were seen in the pool.
    pub(crate) pool: BTreeMap<String, Stay>,
    /// From when to when an Envoy was on its way out and in again.
    pub(crate) restarts: Vec<(usize, Duration, Duration)>,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A request got no answer, or a bad one.
    Failed(String),
    /// An Envoy that was not told to stop closed a connection.
    Closed { envoy: usize },
    /// The client was moved from a task that was still in the pool.
    Moved { from: String, to: String },
    /// A move, or the first answer, is not one new pin; or there is a pin without a move.
    Pins { expected: usize, found: usize },
    /// The pin of a move is one that the client had before.
    OldPin,
}

/// All violations in one client's history, each with its place there.
pub(crate) fn judge(history: &[Event], around: &Circumstances) -> Vec<(usize, Violation)> {
    let mut found = Vec::new();
    let mut current: Option<&str> = None;
    let mut known: Vec<&str> = Vec::new();
    for (place, event) in history.iter().enumerate() {
        let closed = event.closed.iter().map(|(envoy, _)| *envoy);
        let closed = closed.filter(|envoy| !around.restarts(*envoy, event));
        found.extend(closed.map(|envoy| (place, Violation::Closed { envoy })));
        let (instance, pins) = match &event.outcome {
            Outcome::Failed(why) => {
                found.push((place, Violation::Failed(why.clone())));
                continue;
            }
            Outcome::Answered { instance, pins, .. } => (instance.as_str(), pins),
        };
        let stays = current == Some(instance);
        if let Some(from) = current.filter(|from| !stays && around.has(from, event.came)) {
            let (from, to) = (from.to_owned(), instance.to_owned());
            found.push((place, Violation::Moved { from, to }));
        }
        let expected = usize::from(!stays);
        if pins.len() != expected {
            found.push((place, Violation::Pins { expected, found: pins.len() }));
        }
        if pins.iter().any(|pin| known.contains(&pin.as_str())) {
            found.push((place, Violation::OldPin));
        }
        known.extend(pins.iter().map(String::as_str));
        current = Some(instance);
    }
    found
}

/// How often a client was moved to another task, and when.
pub(crate) fn moves(history: &[Event]) -> Vec<Duration> {
    let answers = history.iter().filter_map(|event| match &event.outcome {
        Outcome::Answered { instance, .. } => Some((event.came, instance)),
        Outcome::Failed(_) => None,
    });
    let answers: Vec<_> = answers.collect();
    let pairs = answers.windows(2).filter_map(|pair| match pair {
        [(_, before), (came, after)] if before != after => Some(*came),
        _ => None,
    });
    pairs.collect()
}

impl Circumstances {
    /// Whether a task was in the pool for longer than an answer that came then: only a look that began
    /// later can say so. A task leaves the pool once.
    fn has(&self, task: &str, then: Duration) -> bool {
        self.pool
            .get(task)
            .is_some_and(|stay| stay.last > then && stay.killed.is_none_or(|killed| killed > then))
    }

    /// Whether an Envoy was on its way during a request.
    fn restarts(&self, envoy: usize, during: &Event) -> bool {
        let meets = |(which, from, to): &(usize, Duration, Duration)| {
            *which == envoy && *from <= during.came && during.sent <= *to
        };
        self.restarts.iter().any(meets)
    }
}

/// A client's history up to a violation and a little further, for people.
pub(crate) struct Story<'a> {
    pub(crate) history: &'a [Event],
    pub(crate) place: usize,
    pub(crate) around: &'a Circumstances,
}

impl fmt::Display for Story<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.history.get(..self.history.len().min(self.place + 4)).unwrap_or_default();
        // Answers that differ in nothing but time are one line.
        let alike = |one: &Event, next: &Event| {
            one.closed.is_empty() && next.closed.is_empty() && one.outcome == next.outcome
        };
        let mut number = 0;
        for run in told.chunk_by(alike) {
            let [first, ..] = run else { continue };
            let (last, next) = (run.last().unwrap_or(first), number + run.len());
            let mark = if (number..next).contains(&self.place) { ">" } else { " " };
            number = next;
            writeln!(
                out,
                "{mark} {:9.3?} to {:9.3?}: {} × {}",
                first.sent,
                last.came,
                run.len(),
                Told(first)
            )?;
        }
        for (task, stay) in &self.around.pool {
            let killed = stay.killed.map(|at| format!(", killed at {at:.3?}")).unwrap_or_default();
            let Stay { first, last, .. } = stay;
            writeln!(
                out,
                "  in the pool: {task}, from {first:.3?} to {last:.3?} at least{killed}"
            )?;
        }
        Ok(())
    }
}

struct Told<'a>(&'a Event);

impl fmt::Display for Told<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (envoy, how) in &self.0.closed {
            write!(out, "Envoy {envoy} closed ({how}); ")?;
        }
        match &self.0.outcome {
            Outcome::Failed(why) => write!(out, "failed: {why}"),
            Outcome::Answered { envoy, instance, pins } => {
                write!(out, "{instance} by Envoy {envoy}")?;
                pins.iter().try_for_each(|pin| write!(out, ", new pin {pin:.12}…"))
            }
        }
    }
}
