//! What `waggle check` tells: a problem with its place in a file.

use std::fmt;
use std::rc::Rc;

use serde::Serialize;

use super::edits;
use crate::labels::{Problem, Severity};

/// How much of a label or its value a finding shows, in characters.
const SHOWN: usize = 200;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    /// The file, as it was given.
    pub(super) file: Rc<str>,
    /// From 1; none where the whole file is meant.
    pub(super) line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}", self.file),
            None => write!(out, "{}", self.file),
        }
    }
}

/// A [`Problem`] of a file, or what is wrong with the file itself. In JSON it has the fields of a
/// problem in `/status`, and `file` and `line`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    /// Where it is.
    #[serde(flatten)]
    pub(super) place: Place,
    /// What kind of problem: stable, for machines.
    pub(super) code: &'static str,
    /// How bad it is.
    pub(super) severity: Severity,
    /// The service's full name.
    #[serde(rename = "service_name")]
    pub(super) service: Option<String>,
    /// The label at fault, with its prefix.
    pub(super) label: Option<String>,
    /// Its value.
    pub(super) value: Option<String>,
    /// What is wrong, and what happens then.
    pub(super) message: String,
    /// What to do about it.
    pub(super) fix: String,
}

impl Finding {
    /// A finding about a place; [`Finding::at`] adds the label.
    pub(super) fn new(
        place: Place,
        code: &'static str,
        severity: Severity,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (message, fix) = (message.into(), fix.into());
        Self { place, code, severity, service: None, label: None, value: None, message, fix }
    }

    /// Names the label at fault, and its value where it has one; as in a [`Problem`], no more of
    /// it than is good to read.
    pub(super) fn at(self, label: &str, value: Option<&str>) -> Self {
        let cut = |text: &str| match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        };
        Self { label: Some(cut(label)), value: value.map(cut), ..self }
    }

    /// A problem of a service, at its place; the fix is one for the file.
    pub(super) fn from_problem(problem: Problem, place: Place) -> Self {
        Self {
            place,
            code: problem.code.as_str(),
            severity: problem.severity,
            service: Some(problem.service_name.to_string()),
            label: problem.label,
            value: problem.value,
            message: problem.message,
            fix: edits::for_a_file(&problem.fix),
        }
    }
}
