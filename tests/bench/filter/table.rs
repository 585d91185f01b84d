//! Samples → the table, in Markdown.

use std::fmt::Write as _;

use super::Sample;
use super::case::Case;

/// A line a case: medians, against the first.
pub(crate) fn of(cases: &[Case], samples: &[Vec<Sample>]) -> String {
    let mut text = String::from(
        "| listener | CPU, µs a request | over plain | requests/s | against plain |\n\
         |---|---|---|---|---|\n",
    );
    let plain = samples.first().map(Vec::as_slice).unwrap_or_default();
    for (case, own) in cases.iter().zip(samples) {
        let over = own.iter().zip(plain).map(|(own, plain)| own.cpu - plain.cpu);
        let ratio = own.iter().zip(plain).map(|(own, plain)| own.throughput / plain.throughput);
        let _infallible = writeln!(
            text,
            "| {} | {:.1} | {:+.1} | {:.0} | {:.2} |",
            case.name(),
            median(own.iter().map(|sample| sample.cpu)),
            median(over),
            median(own.iter().map(|sample| sample.throughput)),
            median(ratio),
        );
    }
    text
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.saturating_sub(1)), values.get(middle)) {
        (Some(low), Some(high)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}
