//! Requests that failed, over the time of the update.

use std::path::Path;

use anyhow::Result;

use super::{Turn, Turns, update};
use crate::plot::{Line, Panel, Scale, draw as draw_panels};

/// The file, in the folder of the plots.
const FILE: &str = "versus-updates.svg";

/// The seconds that are shown, since the command.
const SHOWN: std::ops::Range<i32> = -1..45;

/// Draws a panel an order, with a line a contender.
pub(super) fn draw(folder: &Path, turns: &Turns) -> Result<()> {
    let panels = update::SERVICES.iter().enumerate().map(|(place, name)| {
        let lines = turns.iter().map(|(contender, turns)| Line {
            name: contender.to_string().replace('`', ""),
            points: SHOWN.map(|second| (f64::from(second), failed(turns, place, second))).collect(),
        });
        Panel {
            title: format!("{name}, {} requests a second", update::RATE),
            x: "seconds since the command".to_owned(),
            x_scale: Scale::Linear,
            y: "failed requests a second".to_owned(),
            y_scale: Scale::Linear,
            lines: lines.collect(),
        }
    });
    let file = folder.join(FILE);
    draw_panels(&file, &panels.collect::<Vec<_>>())?;
    eprintln!("drawn: {}", file.display());
    Ok(())
}

/// How many requests of this second failed, in the mean of all runs.
fn failed(turns: &[Turn], place: usize, second: i32) -> f64 {
    let from = f64::from(second);
    let failed = turns.iter().filter_map(|turn| turn.updates.get(place)).flat_map(|it| &it.failed);
    let count = failed.filter(|at| (from..from + 1.0).contains(*at)).count();
    let mean = |value: usize| u32::try_from(value).map_or(f64::NAN, f64::from);
    mean(count) / mean(turns.len().max(1))
}
