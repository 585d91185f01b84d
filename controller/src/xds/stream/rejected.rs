//! What a client rejected of one type.
//!
//! A response is rejected as a whole though one resource in it is bad. So its resources are told
//! again in halves, and the halves in halves, until single ones stand out. These are parked: they are
//! not told again until they have another version. Clients have applied what was good in a rejected
//! response or have not; hearing it again harms neither.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::offer::Changes;
use crate::xds::status::Rejection;

/// Versions by name. `None`: there is no such resource.
pub(super) type Versions = BTreeMap<Arc<str>, Option<Arc<str>>>;

/// What a client rejected of one type, and did not accept since.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    parked: BTreeMap<Arc<str>, Parked>,
    /// Parts of rejected responses, each to be told by itself; the last is next. None is empty.
    parts: Vec<Versions>,
}

#[derive(Debug)]
struct Parked {
    version: Option<Arc<str>>,
    message: String,
}

impl Rejected {
    /// Parks what a client will not have.
    pub(super) fn park(&mut self, told: Versions, message: &str) {
        let parked = |version| Parked { version, message: message.to_owned() };
        self.parked.extend(told.into_iter().map(|(name, version)| (name, parked(version))));
    }

    /// Has these told again, in two parts.
    pub(super) fn split(&mut self, mut told: Versions) {
        if let Some(middle) = told.keys().nth(told.len() / 2).cloned() {
            let second = told.split_off(&middle);
            self.parts.extend([second, told].into_iter().filter(|part| !part.is_empty()));
        }
    }

    /// Of what is due, what may be told in one response: first all that is not under suspicion.
    pub(super) fn part_of<'a>(&self, mut due: Changes<'a>) -> Changes<'a> {
        if self.parts.is_empty() {
            return due;
        }
        let is_suspect = |name: &Arc<str>| self.parts.iter().any(|part| part.contains_key(name));
        if due.iter().all(|change| is_suspect(change.name())) {
            let mut parts = self.parts.iter().rev();
            let is_due = |part: &&Versions| due.iter().any(|it| part.contains_key(it.name()));
            if let Some(next) = parts.find(is_due) {
                due.retain(|change| next.contains_key(change.name()));
            }
        } else {
            due.retain(|change| !is_suspect(change.name()));
        }
        due
    }

    /// Keeps only what this holds for, by name and version.
    pub(super) fn retain(&mut self, holds: impl Fn(&str, Option<&str>) -> bool) {
        self.parked.retain(|name, parked| holds(name, parked.version.as_deref()));
        for part in &mut self.parts {
            part.retain(|name, version| holds(name, version.as_deref()));
        }
        self.parts.retain(|part| !part.is_empty());
    }

    /// Whether this holds for all that is parked, by name and version.
    pub(super) fn all(&self, holds: impl Fn(&str, Option<&str>) -> bool) -> bool {
        self.parked.iter().all(|(name, parked)| holds(name, parked.version.as_deref()))
    }

    /// Forgets a resource that was accepted, or asked for again.
    pub(super) fn forget(&mut self, name: &str) {
        self.parked.remove(name);
        for part in &mut self.parts {
            part.remove(name);
        }
        self.parts.retain(|part| !part.is_empty());
    }

    /// Whether this resource is not to be told.
    pub(super) fn is_parked(&self, name: &str) -> bool {
        self.parked.contains_key(name)
    }

    /// Whether the client has come to accept everything.
    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.parts.is_empty()
    }

    /// The resources that are parked.
    pub(super) fn parked(&self) -> BTreeMap<String, Rejection> {
        let parked = self.parked.iter().filter_map(|(name, Parked { version, message })| {
            let (version, message) = (version.as_ref()?.to_string(), message.clone());
            Some((name.to_string(), Rejection { version, message }))
        });
        parked.collect()
    }
}
