//! The settings in a file, by our names and by Interlock's, each with its line.
//!
//! Keys are taken in any case. Ours stand above all tables, under the names of their flags. What is
//! wrong is found all at once; that a setting takes its value is seen by whoever knows the setting.

use std::collections::{BTreeMap, BTreeSet};

use super::interlock::{self, KEYS, Key, Meaning, Section, Translate, Translated};
use crate::envoy::limits::Timeout;
use crate::labels::NodeCluster;

mod document;

use document::{Document, Entry, Extension, Value};

/// How much a key must resemble another to be taken for a misspelling (Jaro, 0 to 1).
const RESEMBLANCE: f64 = 0.88;

/// The longest key that is compared with others, in bytes.
const LONGEST: usize = 64;

/// The setting that each extension gives for its own cluster.
const PROXY_SERVICE: &str = "proxy-service";

/// The setting that Interlock had two keys for.
const IDLE_TIMEOUT: &str = "idle-timeout";

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The settings that it gives, by name.
    pub(super) given: BTreeMap<String, Given>,
    /// What it says without effect, or with another one than in Interlock, by line.
    pub(super) warnings: Vec<Remark>,
    /// What it must not say, by line.
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
    let Document { core, extensions, errors } = document::parse(text);
    let reading = Reading { errors, ..Reading::default() };
    let mut reader = Reader { settings, told: BTreeSet::new(), reading };
    for entry in &core {
        reader.core(entry);
    }
    reader.extensions(&extensions);
    let Reading { given, mut warnings, mut errors } = reader.reading;
    warnings.sort_by_key(|remark| remark.line);
    errors.sort_by_key(|remark| remark.line);
    Reading { given, warnings, errors }
}

struct Reader<'a> {
    settings: &'a BTreeSet<String>,
    /// The keys that were warned of: once is enough, in however many extensions they stand.
    told: BTreeSet<&'static str>,
    reading: Reading,
}

impl Reader<'_> {
    fn core(&mut self, entry: &Entry) {
        let name = entry.name.to_ascii_lowercase();
        if !self.settings.contains(&name) {
            self.interlocks(entry, &NodeCluster::default());
        } else if let Some(values) = self.written(entry) {
            let given = Given { values, line: entry.line, key: entry.path.clone() };
            self.give(&name, given);
        }
    }

    /// A setting has one value for the proxies of all clusters: that of the default cluster's
    /// extension, or of the first one.
    fn extensions(&mut self, extensions: &[Extension]) {
        let clusters: Vec<_> = extensions.iter().map(|it| (it, self.cluster(it))).collect();
        let default = clusters.iter().find(|(_, cluster)| cluster.is_default());
        let Some((leading, cluster)) = default.or(clusters.first()) else { return };
        for entry in &leading.entries {
            self.interlocks(entry, cluster);
        }
        for (extension, cluster) in clusters.iter().filter(|(it, _)| !std::ptr::eq(*it, *leading)) {
            for entry in &extension.entries {
                match interlock::find(entry.section, &entry.name).map(|key| &key.meaning) {
                    Some(Meaning::Setting(setting, _)) if *setting != PROXY_SERVICE => {
                        self.compare(entry, setting, leading);
                    }
                    _ => self.interlocks(entry, cluster),
                }
            }
        }
    }

    /// The cluster that an extension names; the default one where it names none.
    fn cluster(&mut self, extension: &Extension) -> NodeCluster {
        for entry in &extension.entries {
            let key = interlock::find(entry.section, &entry.name);
            if let (Some(Meaning::Cluster), Some(values)) =
                (key.map(|key| &key.meaning), self.written(entry))
            {
                match NodeCluster::parse(&values.concat()) {
                    Ok(cluster) => return cluster,
                    Err(error) => self.error(entry.line, format!("{}: {error}", entry.path)),
                }
            }
        }
        NodeCluster::default()
    }

    fn compare(&mut self, entry: &Entry, setting: &str, leading: &Extension) {
        let same = |other: &Entry| {
            other.section == entry.section
                && other.name.eq_ignore_ascii_case(&entry.name)
                && other.value == entry.value
        };
        if !leading.entries.iter().any(same) {
            let text = format!(
                "{}: {setting} is one for all clusters; that of [{}] holds",
                entry.path, leading.path
            );
            self.reading.warnings.push(Remark { line: entry.line, text });
        }
    }

    /// A key of Interlock, for one cluster.
    fn interlocks(&mut self, entry: &Entry, cluster: &NodeCluster) {
        let Some(key) = interlock::find(entry.section, &entry.name) else {
            return self.unknown(entry);
        };
        match key.meaning {
            Meaning::Cluster => {}
            _ if entry.value.is_empty() => {}
            Meaning::Setting(setting, translate) => {
                self.translated(entry, cluster, key, setting, translate);
            }
            Meaning::Nothing(_) if entry.value.is_false() => {}
            Meaning::Nothing(why) => {
                self.warn(key, entry.line, format!("{} has no effect: {why}", entry.path));
            }
        }
    }

    fn translated(
        &mut self,
        entry: &Entry,
        cluster: &NodeCluster,
        key: &'static Key,
        setting: &str,
        translate: Translate,
    ) {
        let Some(values) = self.written(entry) else { return };
        match translate(&values) {
            Ok(Translated { values, remark }) => {
                if let Some(remark) = remark {
                    self.warn(key, entry.line, format!("{}: {remark}", entry.path));
                }
                let told = setting == PROXY_SERVICE && !cluster.is_default();
                let of_cluster = |it: String| if told { format!("{cluster}={it}") } else { it };
                if let Some(values) = values {
                    let values = values.into_iter().map(of_cluster).collect();
                    self.give(setting, Given { values, line: entry.line, key: entry.path.clone() });
                }
            }
            Err(expected) => {
                let values = values.join(" ");
                self.error(entry.line, format!("{} = {values:?}: {expected}", entry.path));
            }
        }
    }

    /// A setting may be given once, but for the two where Interlock's keys say more than that.
    fn give(&mut self, setting: &str, given: Given) {
        let Some(first) = self.reading.given.get_mut(setting) else {
            self.reading.given.insert(setting.to_owned(), given);
            return;
        };
        if setting == PROXY_SERVICE {
            first.values.extend(given.values);
            return;
        }
        let interlocks = [&*first, &given].iter().all(|it| it.key.contains('.'));
        if setting == IDLE_TIMEOUT
            && interlocks
            && let (Some(one), Some(other)) = (time(first), time(&given))
        {
            if one != other {
                let longer = one.longer(other);
                let text = format!(
                    "{}: Envoy has one time for both directions; the longer one, {longer}, holds",
                    given.key
                );
                self.reading.warnings.push(Remark { line: given.line, text });
                if longer == other {
                    *first = given;
                }
            }
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
    fn unknown(&mut self, entry: &Entry) {
        let hint = meant(&entry.name, self.settings);
        let text = format!("{}: no such setting", entry.path);
        let misplaced = hint.filter(|(known, _)| known.eq_ignore_ascii_case(&entry.name));
        let text = match (hint, misplaced) {
            (None, _) => text,
            (Some((known, section)), None) => {
                format!("{text}; did you mean `{known}`? It belongs {}", section.place())
            }
            (_, Some((known, section))) => {
                format!("{text}; `{known}` belongs {}", section.place())
            }
        };
        if entry.section == Section::Core || misplaced.is_some() {
            self.error(entry.line, text);
        } else {
            self.reading.warnings.push(Remark { line: entry.line, text });
        }
    }

    /// An entry's values, if it has any that a setting could take.
    fn written(&mut self, entry: &Entry) -> Option<Vec<String>> {
        match &entry.value {
            Value::Written(values) => Some(values.clone()),
            Value::Other(kind) => {
                self.error(entry.line, format!("{}: expected a value, not {kind}", entry.path));
                None
            }
        }
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

fn time(given: &Given) -> Option<Timeout> {
    given.values.concat().parse().ok()
}

/// The key that resembles this one most, and where it belongs: it may be this very one, which
/// stands at a wrong place.
fn meant<'a>(name: &str, settings: &'a BTreeSet<String>) -> Option<(&'a str, Section)> {
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    let ours = settings.iter().map(|setting| (setting.as_str(), Section::Core));
    let interlocks = KEYS.iter().map(|key| (key.name, key.section));
    let (resemblance, known, section) = ours
        .chain(interlocks)
        .map(|(known, section)| (strsim::jaro(&name, &known.to_ascii_lowercase()), known, section))
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    (resemblance > RESEMBLANCE).then_some((known, section))
}
