//! Changes → the table, in Markdown.

use std::fmt;
use std::time::Duration;

use waggle_tests::crowd::Crowd;
use waggle_tests::times::{Times, ms};

use super::record::Sample;
use super::rounds::Measured;
use super::{Direction, Source};

/// What a source and a direction come to.
#[derive(Debug)]
pub(super) struct Row {
    source: Source,
    direction: Direction,
    took: Times,
    /// The same from the commit on.
    committed: Times,
    gaps: Times,
}

/// What is promised at up to 150 services.
struct Goal {
    p99: Duration,
    most: Option<Duration>,
}

/// What [`Row`]s stand under.
pub(super) fn head(crowd: Crowd) -> String {
    let Crowd { services, running } = crowd;
    format!(
        "{services} services around, {running} of them with a task that runs.\n\n\
         | source | direction | changes | p50 | p99 | max | goal | met | \
         from the commit on, p50 / p99 / max | Envoy asked each, p50 / p99 |\n\
         |---|---|---:|---:|---:|---:|---|---|---:|---:|"
    )
}

impl Row {
    /// The rows of a source.
    pub(super) fn of(source: Source, measured: &Measured) -> [Self; 2] {
        Direction::ALL.map(|direction| {
            let own = || measured.samples.iter().filter(|it| it.direction == direction);
            Self {
                source,
                direction,
                took: Times::new(own().map(|sample| sample.took).collect()),
                committed: Times::new(own().map(Sample::after_commit).collect()),
                gaps: Times::new(measured.gaps.clone()),
            }
        })
    }

    /// Its source.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Its direction.
    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// The times of its changes.
    pub(super) fn took(&self) -> &Times {
        &self.took
    }

    fn goal(&self) -> Goal {
        let goal = |p99, most: Option<u64>| Goal {
            p99: Duration::from_millis(p99),
            most: most.map(Duration::from_millis),
        };
        match (self.source, self.direction) {
            (Source::Pushed, _) => goal(100, None),
            (Source::Polled, Direction::In) => goal(600, None),
            (Source::Polled, Direction::Out) => goal(1000, Some(1800)),
        }
    }
}

impl Goal {
    fn is_met(&self, took: &Times) -> bool {
        took.at(99) <= self.p99 && self.most.is_none_or(|most| took.at(100) < most)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "p99 ≤ {} ms", self.p99.as_millis())?;
        match self.most {
            Some(most) => write!(out, ", max < {} ms", most.as_millis()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, direction, took, committed, gaps } = self;
        let goal = self.goal();
        write!(
            out,
            "| {} | {} | {} | {} | {} | {} | {goal} | {} | {} / {} / {} | {} / {} |",
            source.name(),
            direction.name(),
            took.count(),
            ms(took.at(50)),
            ms(took.at(99)),
            ms(took.at(100)),
            if goal.is_met(took) { "yes" } else { "NO" },
            ms(committed.at(50)),
            ms(committed.at(99)),
            ms(committed.at(100)),
            ms(gaps.at(50)),
            ms(gaps.at(99)),
        )
    }
}
