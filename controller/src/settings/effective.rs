//! What holds, and where it comes from: `waggle serve --print-config`.

use std::fmt;

use super::Serve;
use crate::keys;

/// A setting's value as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The setting's name.
    pub name: String,
    /// Its values as written, secrets left out; none where it has none.
    pub values: Vec<String>,
    /// Whether it takes several.
    pub list: bool,
    /// Where they are from.
    pub origin: Origin,
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// The file.
    File {
        /// The file, as it was named.
        path: String,
        /// The key's line, from 1.
        line: usize,
        /// The key, with its tables.
        key: String,
    },
    /// The variable of this name.
    Variable(String),
    /// The command line.
    Flag,
}

impl Serve {
    /// The settings that hold, as a file that would give them, each with its origin. It shows no
    /// secret.
    pub fn print_config(&self) -> String {
        let lines: Vec<_> = self.effective.iter().map(ToString::to_string).collect();
        lines.join("\n") + "\n"
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<_> = self.values.iter().map(|value| toml(value)).collect();
        let line = match (&values[..], self.list) {
            ([], false) => format!("# {} =", self.name),
            ([value], false) => format!("{} = {value}", self.name),
            (values, _) => format!("{} = [{}]", self.name, values.join(", ")),
        };
        write!(out, "{line:<44} # ")?;
        match &self.origin {
            Origin::Default => out.write_str("default"),
            Origin::File { path, line, key } if key.eq_ignore_ascii_case(&self.name) => {
                write!(out, "{path}:{line}")
            }
            Origin::File { path, line, key } => write!(out, "{path}:{line} ({key})"),
            Origin::Variable(name) => out.write_str(name),
            Origin::Flag => out.write_str("flag"),
        }
    }
}

/// A value as TOML: numbers and truth bare, all else quoted as JSON does, whose strings are TOML's
/// too once DEL is escaped.
fn toml(value: &str) -> String {
    let plain = |number: u32| number.to_string() == value;
    if value.parse::<bool>().is_ok() || value.parse().is_ok_and(plain) {
        return value.to_owned();
    }
    serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f")
}

/// A value that can be shown: instead of a key that stands where a file's name should, and of a
/// password in an address, a word about it.
pub(super) fn shown(value: &str) -> String {
    if keys::parse(value).is_ok() || value.contains("-----BEGIN") {
        return "(a key, not shown; give a file that holds it)".to_owned();
    }
    match value.rsplit_once('@') {
        Some((before, host)) if before.contains(':') => format!("(not shown)@{host}"),
        _ => value.to_owned(),
    }
}
