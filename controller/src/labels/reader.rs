//! Reading the labels of one service: values out, problems gathered.

use std::collections::BTreeSet;

use super::fix::{Edit, update};
use super::problem::{Code, Problem, Severity};
use super::{LONGEST, Label, key_of};
use crate::swarm::Service;

/// The service that is being read, and the problems found so far.
pub(super) struct Reader<'a> {
    /// The service.
    pub(super) service: &'a Service,
    problems: Vec<Problem>,
    /// Labels that count as absent.
    ignored: BTreeSet<&'static str>,
}

/// What a service says by one label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<T> {
    /// It does not carry the label.
    Nothing,
    /// Something invalid; the problem is told.
    Nonsense,
    /// This.
    Value(T),
}

/// A label that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// It says so.
    On,
    /// It says so, nothing, or nonsense.
    Off,
}

/// Why a value is invalid.
pub(super) struct Fault {
    /// The kind of problem.
    pub(super) code: Code,
    /// What is wrong and what was expected.
    pub(super) message: String,
    /// What to do about it.
    pub(super) fix: String,
}

/// What holds where a value is invalid.
pub(super) struct Instead {
    /// How bad that is.
    pub(super) severity: Severity,
    /// The end of the message: "the default, `task`, holds".
    pub(super) told: String,
}

impl Instead {
    /// The service goes on with the label's default.
    pub(super) fn default(told: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, told: told.into() }
    }

    /// The service cannot do without the label: its last valid value holds, if there is one.
    pub(super) fn last_valid(last: Option<impl ToString>) -> Self {
        let told = match last {
            Some(last) => format!("the last valid value, `{}`, holds", last.to_string()),
            None => "the service is not routed".to_owned(),
        };
        Self { severity: Severity::Error, told }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        Self { service, problems: Vec::new(), ignored: BTreeSet::new() }
    }

    /// The problems so far, sorted, each once.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems.dedup();
        self.problems
    }

    /// What the service says by a label, as it is written.
    pub(super) fn written(&self, label: &Label) -> Option<&'a str> {
        let ignored = self.ignored.contains(label.name);
        let written = self.service.labels.get(&key(label)).map(String::as_str);
        written.filter(|_| !ignored)
    }

    /// Lets a label count as absent from now on.
    pub(super) fn ignore(&mut self, label: &'static Label) {
        self.ignored.insert(label.name);
    }

    /// A label that is on or off; off is the default.
    pub(super) fn switch(&mut self, label: &Label) -> Switch {
        let fix = self.update(&[Edit::Set(label.name, "true")]);
        let instead = || Instead::default("the default, `false`, holds");
        let said = self.parse(label, instead, |value| {
            boolean(value).ok_or_else(|| Fault {
                code: Code::BadBoolean,
                message: "neither `true` nor `false` (nor `1`, `0`, `yes`, `no`, `on`, `off`)"
                    .into(),
                fix,
            })
        });
        if said == Said::Value(true) { Switch::On } else { Switch::Off }
    }

    /// Warns of a label that has no effect because of another one, and says how to remove it.
    pub(super) fn tell_idle(&mut self, code: Code, label: &Label, message: impl Into<String>) {
        let fix = self.update(&[Edit::Remove(label.name)]);
        let at = (&*key(label), self.written(label));
        self.tell(code, Severity::Warning, at, message, fix);
    }

    /// A label's value, blanks around it dropped, made a type by `parse`; where that fails, the
    /// problem ends with what holds `instead`.
    pub(super) fn parse<T>(
        &mut self,
        label: &Label,
        instead: impl Fn() -> Instead,
        parse: impl FnOnce(&'a str) -> Result<T, Fault>,
    ) -> Said<T> {
        let Some(written) = self.written(label) else { return Said::Nothing };
        match within_limit(written).and_then(|value| parse(value.trim())) {
            Ok(value) => Said::Value(value),
            Err(fault) => {
                let Instead { severity, told } = instead();
                let message = format!("{}; {told}", fault.message);
                self.tell(fault.code, severity, (&key(label), Some(written)), message, fault.fix);
                Said::Nonsense
            }
        }
    }

    /// Adds a problem with a label, by its key and value.
    pub(super) fn tell(
        &mut self,
        code: Code,
        severity: Severity,
        (key, value): (&str, Option<&str>),
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let service = (&self.service.id, &self.service.name);
        self.problems.push(Problem::new(code, severity, service, message, fix).at(key, value));
    }

    /// The command that makes these changes to the service.
    pub(super) fn update(&self, edits: &[Edit<'_>]) -> String {
        update(&self.service.name, edits)
    }
}

/// A label's key on a service.
pub(super) fn key(label: &Label) -> String {
    key_of(label.name)
}

/// The items of a list: trimmed, not empty, each once, in their order.
pub(super) fn items(value: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    value.split(',').map(str::trim).filter(|item| !item.is_empty() && seen.insert(*item)).collect()
}

fn within_limit(value: &str) -> Result<&str, Fault> {
    if value.len() <= LONGEST {
        return Ok(value);
    }
    Err(Fault {
        code: Code::ValueTooLong,
        message: format!("the value has {} bytes, at most {LONGEST} are read", value.len()),
        fix: "Shorten the value.".to_owned(),
    })
}

/// Reads `true/false`, `1/0`, `yes/no`, `on/off`, in any case.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    let one_of = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if one_of(["true", "1", "yes", "on"]) {
        Some(true)
    } else if one_of(["false", "0", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_eight_words_in_any_case() {
        for yes in ["true", "1", "yes", "on", "TRUE", "Yes", "oN"] {
            assert_eq!(boolean(yes), Some(true), "{yes}");
        }
        for no in ["false", "0", "no", "off", "False", "OFF"] {
            assert_eq!(boolean(no), Some(false), "{no}");
        }
        for neither in ["", "2", "y", "enabled", "true false"] {
            assert_eq!(boolean(neither), None, "{neither}");
        }
    }
}
