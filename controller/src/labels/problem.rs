//! A problem is a value: made where it is found, printed wherever it is told.

use crate::swarm::{ServiceId, ServiceName};

/// Something about one service that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// What kind of problem: stable, for machines.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The service's ID.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: ServiceName,
    /// The label at fault, with its prefix.
    pub label: Option<String>,
    /// The label's value, as written, cut at 200 characters.
    pub value: Option<String>,
    /// What is wrong, what was expected, and what Waggle does instead.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The service is not routed, or not where it asked to be.
    Error,
    /// The service is routed, but not quite as its labels say.
    Warning,
    /// Worth knowing; nothing is wrong.
    Information,
}

/// The kinds of problems. Their names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Several services share a host; their tasks form one pool.
    SharesHost,
}
