//! What was measured → tables, in Markdown: the median, and all runs behind it.

use std::fmt::Write as _;

use waggle_tests::crowd::Crowd;

use super::{Idles, Turn, Turns, update};
use crate::median::median;

/// What clients saw of updates.
pub(super) fn updates(turns: &Turns) -> String {
    let mut text = String::from(
        "| update | proxy | failed | of | from first to last failure, s | p99 of the others, ms | the update took, s |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (place, name) in update::SERVICES.iter().enumerate() {
        for (contender, turns) in turns {
            let updates = || turns.iter().filter_map(|turn| turn.updates.get(place));
            let asked: Vec<String> = updates().map(|it| it.asked.to_string()).collect();
            let _infallible = writeln!(
                text,
                "| {name} | {contender} | {} | {} | {} | {} | {} |",
                spread(updates().map(|it| count(it.failed.len())), 0),
                asked.join(", "),
                spread(updates().map(super::Update::window), 1),
                spread(updates().map(|it| it.p99.as_secs_f64() * 1e3), 1),
                spread(updates().map(|it| it.took.as_secs_f64()), 1),
            );
        }
    }
    text
}

/// How long a new service waited for its first request.
pub(super) fn newcomers(turns: &Turns) -> String {
    let mut text = String::from(
        "| proxy | from `docker service create` to the first 200, s | from `RUNNING` to the first 200, s |\n\
         |---|---|---|\n",
    );
    for (contender, turns) in turns {
        let seconds = |of: fn(&Turn) -> f64| spread(turns.iter().map(of), 2);
        let _infallible = writeln!(
            text,
            "| {contender} | {} | {} |",
            seconds(|turn| turn.newcomer.since_create.as_secs_f64()),
            seconds(|turn| turn.newcomer.since_running.as_secs_f64()),
        );
    }
    text
}

/// What the engine used.
pub(super) fn idle(crowd: Crowd, idles: &Idles) -> String {
    let mut text = format!(
        "| proxy, with {} services, {} tasks run | dockerd, % of a core | containerd, % of a core |\n\
         |---|---|---|\n",
        crowd.services, crowd.running,
    );
    for (contender, idles) in idles {
        let name = contender.map_or_else(|| "none".to_owned(), |it| it.to_string());
        let _infallible = writeln!(
            text,
            "| {name} | {} | {} |",
            spread(idles.iter().map(|it| it.dockerd), 1),
            spread(idles.iter().map(|it| it.containerd), 1),
        );
    }
    text
}

/// The median, and in brackets all of them in the order of the runs.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let values: Vec<f64> = values.collect();
    let all: Vec<String> = values.iter().map(|value| format!("{value:.digits$}")).collect();
    format!("**{:.digits$}** ({})", median(values), all.join(", "))
}

fn count(of: usize) -> f64 {
    u32::try_from(of).map_or(f64::INFINITY, f64::from)
}
