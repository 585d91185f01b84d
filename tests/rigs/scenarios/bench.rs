//! All scenarios, one after the other, as a table.

use std::fmt;
use std::time::Duration;

use super::{ALL, Again, Outcome, Scenario};
use crate::sandbox;
use crate::times::ms;

/// What came of each, in the order of the letters.
#[derive(Debug)]
pub struct Table {
    /// Those that were played.
    pub outcomes: Vec<Outcome>,
    /// Those that were not, each with the reason.
    pub left_out: Vec<(char, String)>,
}

/// Plays all of them for so many seconds each. `told` hears of each as soon as it is over.
///
/// Call it before a runtime starts: for the loss of a node it moves into a [`sandbox`], which needs
/// root; without it that scenario is left out.
pub fn run(seconds: u64, mut told: impl FnMut(&Outcome)) -> anyhow::Result<Table> {
    let is_alone = sandbox::check_root().and_then(|()| sandbox::enter());
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut outcomes, mut left_out) = (Vec::new(), Vec::new());
    for scenario in &ALL {
        if let (Err(error), Again::Never) = (&is_alone, scenario.again) {
            left_out.push((scenario.letter, format!("{error:#}")));
            continue;
        }
        let outcome = runtime.block_on(play(scenario, seconds))?;
        told(&outcome);
        outcomes.push(outcome);
    }
    Ok(Table { outcomes, left_out })
}

async fn play(scenario: &Scenario, seconds: u64) -> anyhow::Result<Outcome> {
    scenario.play(Duration::from_secs(seconds)).await
}

impl Table {
    /// Whether nothing failed that may not.
    pub fn is_as_claimed(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict.is_ok())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| | what happens | times | requests | failed | allowed | p50 | p99 | max | as claimed |"
        )?;
        writeln!(out, "|---|---|---:|---:|---:|---|---:|---:|---:|---|")?;
        for outcome in &self.outcomes {
            let Outcome { letter, name, report, times, allowed, .. } = outcome;
            let claimed = if outcome.verdict.is_ok() { "yes" } else { "NO" };
            writeln!(
                out,
                "| {letter} | {name} | {times} | {} | {} | {allowed} | {} | {} | {} | {claimed} |",
                report.asked,
                report.failures.len(),
                ms(report.times.at(50)),
                ms(report.times.at(99)),
                ms(report.times.at(100)),
            )?;
        }
        for (letter, reason) in &self.left_out {
            writeln!(out, "\n{letter} was left out: {reason}")?;
        }
        Ok(())
    }
}
