//! How the controller's own time grows with the Swarm, as a plot.

use std::path::Path;

use anyhow::Result;

use super::pipeline::Row;
use crate::plot::{self, Line, Panel, Scale};

/// The name of the plot.
const FILE: &str = "scale.svg";

/// Draws a panel for what a task that moves costs and one for the beginning, with a line for each number
/// of clients.
pub(super) fn draw(folder: &Path, rows: &[Row]) -> Result<()> {
    let panel = |title: &str, value: fn(&Row) -> f64| Panel {
        title: title.to_owned(),
        x: "services, of ten tasks each".to_owned(),
        x_scale: Scale::Logarithmic,
        y: "milliseconds".to_owned(),
        y_scale: Scale::Logarithmic,
        lines: lines(rows, value),
    };
    let panels = [
        panel("a task moves: until its push, 99 of 100", Row::endpoints),
        panel("the first snapshot: until the last client has it", Row::first),
    ];
    let file = folder.join(FILE);
    plot::draw(&file, &panels)?;
    eprintln!("drawn: {}", file.display());
    Ok(())
}

/// A line for each number of clients, the most first.
fn lines(rows: &[Row], value: fn(&Row) -> f64) -> Vec<Line> {
    let mut clients: Vec<usize> = rows.iter().map(Row::clients).collect();
    clients.sort_unstable();
    clients.dedup();
    let line = |clients: usize| Line {
        name: format!("{clients} client{}", if clients == 1 { "" } else { "s" }),
        points: rows
            .iter()
            .filter(|row| row.clients() == clients)
            .map(|row| (row.services(), value(row)))
            .collect(),
    };
    clients.into_iter().rev().map(line).collect()
}
