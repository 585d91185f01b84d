//! The twenty scenarios, at 1,000 requests a second for 8 s each: nothing is lost, but for what each
//! claim says. `make bench` plays the same for a minute each.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use waggle_tests::scenarios;

mod losses;
mod outages;
mod tasks;
mod updates;

/// How long each is played.
const DURATION: Duration = Duration::from_secs(8);

/// Plays a scenario, and fails on what it may not cost.
async fn play(letter: char) -> Result<()> {
    let outcome = scenarios::of(letter)?.play(DURATION).await?;
    println!("{outcome}");
    outcome.verdict.as_ref().map_err(|wrong| anyhow!("{wrong}"))?;
    let (asked, ran) = (outcome.report.asked, outcome.report.ran.as_secs());
    ensure!(asked as u64 >= 990 * ran.max(8), "only {asked} requests in {ran} s");
    Ok(())
}
