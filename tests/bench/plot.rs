//! Lines over a plane, as an SVG file that reads on a light and on a dark background.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

/// A plane with its lines.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// What stands above it.
    pub(crate) title: String,
    /// What the horizontal axis tells, with its unit.
    pub(crate) x: String,
    /// How the horizontal axis counts.
    pub(crate) x_scale: Scale,
    /// What the vertical axis tells, with its unit.
    pub(crate) y: String,
    /// How the vertical axis counts; in equal steps, from zero.
    pub(crate) y_scale: Scale,
    /// Drawn in this order, the first one widest: of lines that lie on each other, all are seen.
    pub(crate) lines: Vec<Line>,
}

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// In equal steps.
    Linear,
    /// In powers of ten; its values are above zero.
    Logarithmic,
}

impl Scale {
    /// Where a value is drawn.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    /// The part of an axis that shows this one: of powers, whole ones.
    fn whole(self, shown: Range<f64>) -> Range<f64> {
        match self {
            Self::Linear => shown,
            Self::Logarithmic => shown.start.floor()..shown.end.ceil(),
        }
    }

    /// The part of a vertical axis that shows this one: from zero, or of powers, whole ones.
    fn grounded(self, shown: Range<f64>) -> Range<f64> {
        match self {
            Self::Linear => {
                let ground = shown.start.min(0.0);
                let top = shown.end.max(1.0);
                ground..top + (top - ground) * 0.05
            }
            Self::Logarithmic => self.whole(shown),
        }
    }

    /// What is written there: of powers, whole ones.
    fn label(self, place: f64) -> String {
        match self {
            Self::Linear => short(place),
            Self::Logarithmic if (place - place.round()).abs() < 0.01 => {
                short(10_f64.powf(place.round()))
            }
            Self::Logarithmic => String::new(),
        }
    }

    /// How many places of an axis may have a label.
    fn labels(self) -> usize {
        match self {
            Self::Linear => 8,
            Self::Logarithmic => 4,
        }
    }
}

/// A line, whose points are joined as they come.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What the legend calls it.
    pub(crate) name: String,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The size of a panel, and the height of the legend, in pixels.
const PANEL: (u32, u32) = (420, 240);
const LEGEND: u32 = 28;

/// Axes and text: as far from white as from black. There is no ground: the page's own shows.
const INK: RGBColor = RGBColor(128, 136, 145);
const GRID: RGBAColor = RGBAColor(128, 136, 145, 0.3);

/// Colours that differ for the colour-blind too, in the order of the lines.
const COLOURS: [RGBColor; 6] = [
    RGBColor(58, 134, 224),
    RGBColor(38, 166, 110),
    RGBColor(213, 94, 0),
    RGBColor(214, 92, 160),
    RGBColor(178, 140, 20),
    RGBColor(128, 136, 145),
];

const FONT: &str = "sans-serif";

/// Draws panels side by side, with one legend: lines of the same place have the same name in each. Their
/// vertical axes are one, so that they compare.
///
/// # Errors
///
/// If there is no line at all, or the file cannot be written.
pub(crate) fn draw(file: &Path, panels: &[Panel]) -> Result<()> {
    let count = u32::try_from(panels.len())?;
    let first = panels.first().context("a plot has panels")?;
    let (legend, y_scale) = (&first.lines, first.y_scale);
    let lines = panels.iter().flat_map(|panel| &panel.lines);
    let heights = lines.flat_map(|line| &line.points).map(|point| y_scale.place(point.1));
    let ys = y_scale.grounded(extent(heights));
    let size = (PANEL.0 * count, PANEL.1 + LEGEND);
    let area = SVGBackend::new(file, size).into_drawing_area();
    let (planes, below) = area.split_vertically(PANEL.1);
    for (panel, area) in panels.iter().zip(planes.split_evenly((1, panels.len()))) {
        draw_panel(panel, (y_scale, ys.clone()), &area)?;
    }
    draw_legend(legend, &below)?;
    area.present().with_context(|| format!("write {}", file.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_panel(panel: &Panel, (y_scale, ys): (Scale, Range<f64>), area: &Area<'_>) -> Result<()> {
    let points = panel.lines.iter().flat_map(|line| &line.points);
    let x_scale = panel.x_scale;
    let xs = x_scale.whole(extent(points.map(|point| x_scale.place(point.0))));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        // The last label stands half behind the axis.
        .margin_right(24)
        .caption(&panel.title, (FONT, 16).into_font().color(&INK))
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .x_desc(&panel.x)
        .y_desc(&panel.y)
        .x_labels(x_scale.labels())
        .y_labels(5)
        .x_label_formatter(&|place| x_scale.label(*place))
        .y_label_formatter(&|place| y_scale.label(*place))
        .draw()?;
    for (place, line) in panel.lines.iter().enumerate() {
        let style = style(place, panel.lines.len());
        let places = line.points.iter().map(|(x, y)| (x_scale.place(*x), y_scale.place(*y)));
        chart.draw_series(LineSeries::new(places, style))?;
    }
    Ok(())
}

fn draw_legend(lines: &[Line], area: &Area<'_>) -> Result<()> {
    let text = (FONT, 13).into_font().color(&INK);
    let places = area.split_evenly((1, lines.len().max(1)));
    for (place, (line, area)) in lines.iter().zip(places).enumerate() {
        let sample = vec![(12, 10), (36, 10)];
        area.draw(&PathElement::new(sample, style(place, lines.len())))?;
        area.draw(&Text::new(line.name.as_str(), (42, 4), text.clone()))?;
    }
    Ok(())
}

/// The line of a place among so many.
fn style(place: usize, count: usize) -> ShapeStyle {
    let colour = COLOURS.iter().cycle().nth(place).copied().unwrap_or(INK);
    let width = u32::try_from(count.saturating_sub(place)).unwrap_or(1);
    colour.stroke_width(width + 1)
}

fn extent(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    if least < most { least..most } else { 0.0..1.0 }
}

/// A number without the zeros behind its point.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
