//! Changes → the table, in Markdown.

use std::fmt::{self, Write as _};
use std::time::Duration;

use waggle_tests::crowd::Crowd;

use super::rounds::Measured;
use super::{Direction, Source};
use crate::times::{Times, ms};

/// What a source and a direction come to.
#[derive(Debug)]
pub(super) struct Row {
    source: Source,
    direction: Direction,
    took: Times,
    told: Times,
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
         of it until the store's own watch told, p50 / p99 | Envoy asked each, p50 / p99 |\n\
         |---|---|---:|---:|---:|---:|---|---|---:|---:|"
    )
}

/// Each change's time, for those who draw it.
pub(super) fn samples(rows: &[Row]) -> String {
    let mut text = "source,direction,milliseconds\n".to_owned();
    for row in rows {
        let (source, direction) = (row.source.name(), row.direction.name());
        for took in row.took.all() {
            let took = took.as_secs_f64() * 1000.0;
            // Writing to a string does not fail.
            let _written = writeln!(text, "{source},{direction},{took:.3}");
        }
    }
    text
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
                told: Times::new(own().map(|sample| sample.told).collect()),
                gaps: Times::new(measured.gaps.clone()),
            }
        })
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
        let Self { source, direction, took, told, gaps } = self;
        let goal = self.goal();
        write!(
            out,
            "| {} | {} | {} | {} | {} | {} | {goal} | {} | {} / {} | {} / {} |",
            source.name(),
            direction.name(),
            took.count(),
            ms(took.at(50)),
            ms(took.at(99)),
            ms(took.at(100)),
            if goal.is_met(took) { "yes" } else { "NO" },
            ms(told.at(50)),
            ms(told.at(99)),
            ms(gaps.at(50)),
            ms(gaps.at(99)),
        )
    }
}
