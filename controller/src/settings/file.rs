//! The settings in a file: TOML, by our names and by Interlock's, each with its line.
//!
//! Keys are taken in any case. Ours stand above all tables, under the names of their flags. What is
//! wrong is found all at once; that a setting takes its value is seen by whoever knows the setting.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interlock::{self, KEYS, Key, Meaning, Section, Translated};
use crate::envoy::limits::Timeout;
use crate::labels::NodeCluster;

/// How much a key must resemble another to be taken for a misspelling (Jaro, 0 to 1).
const RESEMBLANCE: f64 = 0.8;

/// The longest key that is compared with others, in bytes.
const LONGEST: usize = 64;

/// A service that runs proxies is told with its cluster, and every cluster has its own.
const PROXY_SERVICE: &str = "proxy-service";

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The settings that it gives, by name.
    pub(super) given: BTreeMap<String, Given>,
    /// What it says without effect, or with another one than in Interlock.
    pub(super) warnings: Vec<Remark>,
    /// What it must not say.
    pub(super) errors: Vec<Remark>,
}

/// A setting's value in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// As written; several for a list.
    pub(super) values: Vec<String>,
    /// The key's line, from 1.
    pub(super) line: usize,
    /// The key with its tables, as written.
    pub(super) key: String,
}

/// Something to tell about a line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Reads a file; `settings` are the names of those that it may give.
pub(super) fn read(text: &str, settings: &BTreeSet<String>) -> Reading {
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = line(text, error.span().unwrap_or_default());
            // Never the line itself: it may hold a password.
            let text = format!("not TOML: {}", error.message().replace('\n', " "));
            return Reading { errors: vec![Remark { line, text }], ..Reading::default() };
        }
    };
    let mut reader = Reader { text, settings, told: BTreeSet::new(), reading: Reading::default() };
    reader.file(table.get_ref());
    let Reading { given, mut warnings, mut errors } = reader.reading;
    warnings.sort_by_key(|remark| remark.line);
    errors.sort_by_key(|remark| remark.line);
    Reading { given, warnings, errors }
}

struct Reader<'a> {
    text: &'a str,
    settings: &'a BTreeSet<String>,
    /// The keys that were warned of: once is enough, in however many extensions they stand.
    told: BTreeSet<&'static str>,
    reading: Reading,
}

/// A key of Interlock with its value.
struct Entry<'a> {
    key: &'static Key,
    /// With its tables, as written.
    path: String,
    line: usize,
    value: &'a DeValue<'a>,
}

/// `[Extensions.<name>]` with its `Config`.
struct Extension<'a> {
    path: String,
    cluster: NodeCluster,
    entries: Vec<Entry<'a>>,
}

/// A key that somebody meant, and where it belongs.
enum Meant<'a> {
    /// This one, at another place.
    Misplaced(&'a str, &'static str),
    /// Perhaps this one.
    Misspelt(&'a str, &'static str),
}

impl<'a> Reader<'a> {
    fn file(&mut self, table: &'a DeTable<'a>) {
        let mut extensions = Vec::new();
        for (name, value, line) in self.in_order(table) {
            let lower = name.to_ascii_lowercase();
            if lower == "extensions" {
                extensions = self.extensions(name, value, line);
            } else if self.settings.contains(&lower) {
                match written(value) {
                    Some(values) => {
                        self.give(&lower, Given { values, line, key: name.to_owned() });
                    }
                    None => {
                        self.error(line, format!("{name}: expected a value, not a {}", kind(value)))
                    }
                }
            } else if let Some(key) = interlock::find(Section::Core, name) {
                self.apply(&Entry { key, path: name.to_owned(), line, value }, None);
            } else {
                self.unknown(name, name, line);
            }
        }
        self.clusters(&extensions);
    }

    /// Keys as they stand in the file.
    fn in_order(&self, table: &'a DeTable<'a>) -> Vec<(&'a str, &'a DeValue<'a>, usize)> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<_>)| {
            let key: &'a Spanned<std::borrow::Cow<'a, str>> = key;
            (&**key.get_ref(), value.get_ref(), line(self.text, key.span()))
        };
        entries.into_iter().map(entry).collect()
    }

    fn extensions(
        &mut self,
        path: &str,
        value: &'a DeValue<'a>,
        line: usize,
    ) -> Vec<Extension<'a>> {
        let DeValue::Table(table) = value else {
            self.error(line, format!("{path}: expected tables, such as [{path}.default]"));
            return Vec::new();
        };
        let tables = self.in_order(table);
        tables
            .into_iter()
            .filter_map(|(name, value, line)| {
                let path = format!("{path}.{name}");
                let DeValue::Table(table) = value else {
                    self.error(line, format!("{path}: expected a table, [{path}]"));
                    return None;
                };
                Some(self.extension(path, table))
            })
            .collect()
    }

    fn extension(&mut self, path: String, table: &'a DeTable<'a>) -> Extension<'a> {
        let mut cluster = NodeCluster::default();
        let mut entries = Vec::new();
        for (name, value, line) in self.in_order(table) {
            let path = format!("{path}.{name}");
            match (interlock::find(Section::Extension, name), value) {
                (Some(Key { meaning: Meaning::Cluster, .. }), _) => {
                    match value.as_str().map(NodeCluster::parse) {
                        Some(Ok(name)) => cluster = name,
                        Some(Err(error)) => self.error(line, format!("{path}: {error}")),
                        None => {
                            self.error(line, format!("{path}: expected a cluster's name in quotes"))
                        }
                    }
                }
                (Some(key), _) => entries.push(Entry { key, path, line, value }),
                (None, DeValue::Table(table)) if name.eq_ignore_ascii_case("config") => {
                    entries.extend(self.proxy(&path, table));
                }
                (None, _) => self.unknown(name, &path, line),
            }
        }
        Extension { path, cluster, entries }
    }

    fn proxy(&mut self, path: &str, table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
        let entries = self.in_order(table);
        entries
            .into_iter()
            .filter_map(|(name, value, line)| {
                let path = format!("{path}.{name}");
                let Some(key) = interlock::find(Section::Proxy, name) else {
                    self.unknown(name, &path, line);
                    return None;
                };
                Some(Entry { key, path, line, value })
            })
            .collect()
    }

    /// Waggle has one value of a setting for the proxies of all clusters: that of the default
    /// cluster's extension, or of the first one.
    fn clusters(&mut self, extensions: &[Extension<'a>]) {
        let leader =
            extensions.iter().position(|extension| extension.cluster.is_default()).unwrap_or(0);
        let Some(leading) = extensions.get(leader) else { return };
        for entry in &leading.entries {
            self.apply(entry, Some(&leading.cluster));
        }
        for (_, extension) in extensions.iter().enumerate().filter(|(index, _)| *index != leader) {
            for entry in &extension.entries {
                match entry.key.meaning {
                    Meaning::Setting(setting, _) if setting != PROXY_SERVICE => {
                        self.compare(entry, setting, leading);
                    }
                    _ => self.apply(entry, Some(&extension.cluster)),
                }
            }
        }
    }

    fn compare(&mut self, entry: &Entry<'a>, setting: &str, leading: &Extension<'a>) {
        let same = leading.entries.iter().any(|other| {
            std::ptr::eq(other.key, entry.key) && written(other.value) == written(entry.value)
        });
        if !same {
            let text = format!(
                "{}: {setting} is one for all clusters; that of [{}] holds",
                entry.path, leading.path
            );
            self.reading.warnings.push(Remark { line: entry.line, text });
        }
    }

    fn apply(&mut self, entry: &Entry<'a>, cluster: Option<&NodeCluster>) {
        let Entry { key, path, line, value } = entry;
        if asks_for_nothing(value) && !matches!(value, DeValue::Boolean(_)) {
            return;
        }
        match &key.meaning {
            Meaning::Cluster => {}
            Meaning::Nothing(_) | Meaning::Refused(_) if asks_for_nothing(value) => {}
            Meaning::Nothing(why) => self.warn(key, *line, format!("{path} has no effect: {why}")),
            Meaning::Refused(why) => self.error(*line, format!("{path}: {why}")),
            Meaning::Setting(setting, translate) => {
                let Some(values) = written(value) else {
                    self.error(*line, format!("{path}: expected a value, not a {}", kind(value)));
                    return;
                };
                match translate(&values) {
                    Ok(Translated { values, remark }) => {
                        if let Some(remark) = remark {
                            self.warn(key, *line, format!("{path}: {remark}"));
                        }
                        let values = match (cluster, values) {
                            (_, None) => return,
                            (Some(cluster), Some(values))
                                if *setting == PROXY_SERVICE && !cluster.is_default() =>
                            {
                                values.iter().map(|name| format!("{cluster}={name}")).collect()
                            }
                            (_, Some(values)) => values,
                        };
                        self.give(setting, Given { values, line: *line, key: path.clone() });
                    }
                    Err(expected) => {
                        let values = values.join(" ");
                        self.error(*line, format!("{path} = {values:?}: {expected}"));
                    }
                }
            }
        }
    }

    /// A setting may be given once; but Interlock had two keys for the one time-out of Envoy, and a
    /// proxy service a cluster.
    fn give(&mut self, setting: &str, given: Given) {
        let Some(first) = self.reading.given.get_mut(setting) else {
            self.reading.given.insert(setting.to_owned(), given);
            return;
        };
        let interlocks = |key: &str| key.contains('.');
        if setting == PROXY_SERVICE {
            first.values.extend(given.values);
            return;
        }
        let times = [&*first, &given].map(|given| given.values.concat().parse::<Timeout>());
        if let ("idle-timeout", [Ok(one), Ok(other)], true) =
            (setting, times, interlocks(&first.key) && interlocks(&given.key))
        {
            if one == other {
                return;
            }
            let text = format!(
                "{}: Envoy has one time for both directions; the longer one, {}, holds",
                given.key,
                one.longer(other)
            );
            if one.longer(other) == other {
                *first = given.clone();
            }
            self.reading.warnings.push(Remark { line: given.line, text });
            return;
        }
        let text = format!(
            "{}: `{setting}` is given twice; line {} has it too ({})",
            given.key, first.line, first.key
        );
        self.error(given.line, text);
    }

    /// Nobody knows all keys that Interlock took: in its tables a key that nothing is known of is
    /// left alone. Above the tables there is no excuse, nor for a known key at a wrong place.
    fn unknown(&mut self, name: &str, path: &str, line: usize) {
        let hint = self.meant(name);
        let (known, hint) = match &hint {
            Some(Meant::Misplaced(key, place)) => (true, format!("; `{key}` belongs {place}")),
            Some(Meant::Misspelt(key, place)) => {
                (false, format!("; did you mean `{key}`? It belongs {place}"))
            }
            None => (false, String::new()),
        };
        let text = format!("{path}: no such setting{hint}");
        if known || path == name {
            self.error(line, text);
        } else {
            self.reading.warnings.push(Remark { line, text });
        }
    }

    /// What somebody meant who wrote this key.
    fn meant(&self, name: &str) -> Option<Meant<'a>> {
        if name.len() > LONGEST {
            return None;
        }
        let name = name.to_ascii_lowercase();
        let settings: &'a BTreeSet<String> = self.settings;
        let ours = settings.iter().map(|setting| (setting.as_str(), Section::Core));
        let interlocks = KEYS.iter().map(|key| (key.name, key.section));
        let dashed = name.replace('_', "-");
        let resemblance = |known: &str| strsim::jaro(&dashed, &known.to_ascii_lowercase());
        let (resemblance, known, section) = ours
            .chain(interlocks)
            .map(|(known, section)| (resemblance(known), known, section))
            .max_by(|one, other| one.0.total_cmp(&other.0))?;
        if known.eq_ignore_ascii_case(&name) {
            return Some(Meant::Misplaced(known, section.place()));
        }
        (resemblance > RESEMBLANCE).then_some(Meant::Misspelt(known, section.place()))
    }

    fn warn(&mut self, key: &'static Key, line: usize, text: String) {
        if self.told.insert(key.name) {
            self.reading.warnings.push(Remark { line, text });
        }
    }

    fn error(&mut self, line: usize, text: String) {
        self.reading.errors.push(Remark { line, text });
    }
}

/// The number of the line where something begins, from 1.
fn line(text: &str, span: Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// A value as one would write it on the command line; several for a list.
fn written(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect(),
        value => scalar(value).map(|value| vec![value]),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.to_string()),
            Err(_) => Some(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Interlock's own file has many keys that say nothing: `TLSCACert = ""`.
fn asks_for_nothing(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => text.is_empty(),
        DeValue::Array(items) => items.is_empty(),
        DeValue::Table(table) => table.is_empty(),
        DeValue::Boolean(truth) => !truth,
        _ => false,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Table(_) => "table",
        DeValue::Array(_) => "list of lists or tables",
        _ => "date",
    }
}
