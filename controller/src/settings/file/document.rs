//! A file as TOML sees it: keys with their tables, lines and values, in the order of the file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Remark;
use crate::settings::interlock::Section;

/// A file's keys, and what is wrong with its tables.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Those above all tables.
    pub(super) core: Vec<Entry>,
    /// `[Extensions.<name>]`, each with its `Config`.
    pub(super) extensions: Vec<Extension>,
    pub(super) errors: Vec<Remark>,
}

/// `[Extensions.<name>]` with its `Config`.
#[derive(Debug)]
pub(super) struct Extension {
    pub(super) path: String,
    pub(super) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) name: String,
    /// The name with its tables.
    pub(super) path: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A key's value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// As one would write it on the command line; several for a list, none for an empty one.
    Written(Vec<String>),
    /// What no setting takes; what it is.
    Other(&'static str),
}

impl Value {
    /// Whether it is as if the key were not there: `TLSCACert = ""`.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Written(values) if values.iter().all(String::is_empty))
    }

    /// Whether it switches something off.
    pub(super) fn is_false(&self) -> bool {
        matches!(self, Self::Written(values) if values == &["false"])
    }
}

/// Reads TOML.
pub(super) fn parse(text: &str) -> Document {
    let mut document = Document::default();
    match DeTable::parse(text) {
        Ok(table) => {
            for key in keys(text, table.get_ref()) {
                match key.value {
                    DeValue::Table(table) if key.name.eq_ignore_ascii_case("extensions") => {
                        document.extensions(text, key.name, table);
                    }
                    _ if key.name.eq_ignore_ascii_case("extensions") => {
                        let expected = format!("expected tables, such as [{}.default]", key.name);
                        document.error(&key, key.name, &expected);
                    }
                    _ => document.core.push(key.entry(Section::Core, key.name.to_owned())),
                }
            }
        }
        Err(error) => {
            let line = line(text, error.span().unwrap_or_default());
            // Never the line itself: it may hold a password.
            let text = format!("not TOML: {}", error.message().replace('\n', " "));
            document.errors.push(Remark { line, text });
        }
    }
    document
}

impl Document {
    fn extensions(&mut self, text: &str, path: &str, table: &DeTable<'_>) {
        for key in keys(text, table) {
            let path = format!("{path}.{}", key.name);
            if let DeValue::Table(table) = key.value {
                let entries = self.entries(text, &path, table);
                self.extensions.push(Extension { path, entries });
            } else {
                self.error(&key, &path, &format!("expected a table, [{path}]"));
            }
        }
    }

    fn entries(&mut self, text: &str, path: &str, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for key in keys(text, table) {
            let path = format!("{path}.{}", key.name);
            match key.value {
                DeValue::Table(table) if key.name.eq_ignore_ascii_case("config") => {
                    let entry =
                        |key: Key<'_>| key.entry(Section::Proxy, format!("{path}.{}", key.name));
                    entries.extend(keys(text, table).into_iter().map(entry));
                }
                _ if key.name.eq_ignore_ascii_case("config") => {
                    self.error(&key, &path, &format!("expected a table, [{path}]"));
                }
                _ => entries.push(key.entry(Section::Extension, path)),
            }
        }
        entries
    }

    fn error(&mut self, key: &Key<'_>, path: &str, expected: &str) {
        self.errors.push(Remark { line: key.line, text: format!("{path}: {expected}") });
    }
}

/// A key of a table.
struct Key<'a> {
    name: &'a str,
    value: &'a DeValue<'a>,
    line: usize,
}

impl Key<'_> {
    fn entry(&self, section: Section, path: String) -> Entry {
        let (name, value) = (self.name.to_owned(), value(self.value));
        Entry { section, name, path, line: self.line, value }
    }
}

/// A table's keys as they stand in the file.
fn keys<'a>(text: &str, table: &'a DeTable<'a>) -> Vec<Key<'a>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let key = |(name, value): (&'a toml::Spanned<_>, &'a toml::Spanned<_>)| {
        let name: &'a toml::Spanned<toml::de::DeString<'a>> = name;
        Key { name: name.get_ref(), value: value.get_ref(), line: line(text, name.span()) }
    };
    entries.into_iter().map(key).collect()
}

/// The number of the line where something begins, from 1.
fn line(text: &str, span: Range<usize>) -> usize {
    text.get(..span.start).unwrap_or_default().matches('\n').count() + 1
}

fn value(value: &DeValue<'_>) -> Value {
    let written = match value {
        DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect(),
        DeValue::Table(table) if table.is_empty() => Some(Vec::new()),
        value => scalar(value).map(|value| vec![value]),
    };
    let kind = match value {
        DeValue::Table(_) => "a table",
        DeValue::Array(_) => "a list of lists, tables or dates",
        _ => "a date",
    };
    written.map_or(Value::Other(kind), Value::Written)
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let read = i128::from_str_radix(number.as_str(), number.radix());
            Some(read.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
