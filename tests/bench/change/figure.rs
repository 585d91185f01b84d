//! Changes → how many of them had come to Envoy after how long, as a plot.

use std::path::Path;

use anyhow::Result;
use waggle_tests::times::Times;

use super::Direction;
use super::table::Row;
use crate::plot::{self, Line, Panel, Scale};

/// The name of the plot.
const FILE: &str = "change.svg";

/// Draws a panel a direction, with a line a source.
pub(super) fn draw(folder: &Path, rows: &[Row]) -> Result<()> {
    let panels = Direction::ALL.map(|direction| {
        let own = rows.iter().filter(|row| row.direction() == direction);
        let line =
            |row: &Row| Line { name: row.source().name().to_owned(), points: shares(row.took()) };
        Panel {
            title: match direction {
                Direction::In => "tasks that came",
                Direction::Out => "tasks that went",
            }
            .to_owned(),
            x: "milliseconds from the Swarm's store to Envoy".to_owned(),
            x_scale: Scale::Logarithmic,
            y: "percent of all".to_owned(),
            y_scale: Scale::Linear,
            lines: own.map(line).collect(),
        }
    });
    let file = folder.join(FILE);
    plot::draw(&file, &panels)?;
    eprintln!("drawn: {}", file.display());
    Ok(())
}

/// After each time, how many percent had come.
fn shares(times: &Times) -> Vec<(f64, f64)> {
    let count = times.count().max(1);
    let share = |place: usize| f64::from(u32::try_from(place).unwrap_or(u32::MAX));
    let point = |(place, time): (usize, &std::time::Duration)| {
        (time.as_secs_f64() * 1000.0, share(place + 1) / share(count) * 100.0)
    };
    times.all().iter().enumerate().map(point).collect()
}
