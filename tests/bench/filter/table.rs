//! Samples → the table, in Markdown.

use std::fmt::Write as _;

use super::Sample;
use super::case::Case;
use crate::median::median;

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
