//! Findings as people and machines read them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::Format;
use super::finding::Finding;
use crate::labels::{self, Severity};

/// What was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    /// How many files.
    pub(super) files: usize,
    /// How many of their services carry labels.
    pub(super) services: usize,
}

/// Prints all findings.
pub(super) fn print(
    format: Format,
    findings: &[Finding],
    summary: Summary,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Text => text(findings, summary, out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, findings)?;
            writeln!(out)
        }
        Format::Github => findings.iter().try_for_each(|finding| annotation(finding, out)),
    }
}

fn text(findings: &[Finding], summary: Summary, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    for finding in findings {
        let (word, colour) = match finding.severity {
            Severity::Error => ("error", AnsiColor::Red),
            Severity::Warning => ("warning", AnsiColor::Yellow),
            Severity::Information => ("information", AnsiColor::Cyan),
        };
        let severity = colour.on_default().bold();
        let place = finding.place.to_string();
        writeln!(
            out,
            "{bold}{}:{bold:#} {severity}{word}:{severity:#} {} {dim}[{}]{dim:#}",
            printable(&place),
            printable(&sentence(finding)),
            finding.code,
        )?;
        writeln!(out, "    {dim}fix:{dim:#} {}", printable(&finding.fix))?;
    }
    let count = |severity, one: &str, more: &str| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        counted(count, one, more)
    };
    let found = [
        count(Severity::Error, "error", "errors"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Information, "for information", "for information"),
    ];
    let found: Vec<_> = found.into_iter().filter(|it| !it.starts_with("0 ")).collect();
    let found = if found.is_empty() { "no problems".to_owned() } else { found.join(", ") };
    let services = counted(summary.services, "labelled service", "labelled services");
    writeln!(out, "{found} in {services} of {}", counted(summary.files, "file", "files"))
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Who, which label and value, and what.
fn sentence(finding: &Finding) -> String {
    let Finding { service, label, value, message, .. } = finding;
    let label = label.as_ref().map(|label| match value {
        Some(value) => format!("{label}={value}"),
        None => label.clone(),
    });
    let parts = [service.as_deref(), label.as_deref(), Some(message)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// A workflow command of GitHub, with its escaping: `%`, line ends, and in properties `:` and `,`.
fn annotation(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Information => "notice",
    };
    let line = finding.place.line.map(|line| format!(",line={line}")).unwrap_or_default();
    writeln!(
        out,
        "::{command} file={}{line},title={}::{}%0Afix: {}",
        property(&finding.place.file),
        property(finding.code),
        data(&printable(&sentence(finding))),
        data(&printable(&finding.fix)),
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A text without control characters, which would speak to the terminal.
fn printable(text: &str) -> String {
    labels::printable(text.chars())
}
