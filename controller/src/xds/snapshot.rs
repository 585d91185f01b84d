//! An immutable, consistent set of resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::references::{self, References};
use crate::envoy::{Kind, Resource};

/// All resources of one moment. Every resource that another one names is there.
#[derive(Debug, Default)]
pub struct Snapshot {
    clusters: Set,
    endpoints: Set,
    secrets: Set,
    extensions: Set,
    listeners: Set,
    routes: Set,
}

/// The resources of one kind.
#[derive(Debug, Default)]
pub(super) struct Set {
    entries: BTreeMap<String, Entry>,
    version: String,
}

/// A resource, and what it names.
#[derive(Debug, Clone)]
struct Entry {
    resource: Arc<Resource>,
    names: Arc<References>,
}

/// Why resources cannot be served. Nothing of them is; the last snapshot stays.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Inconsistent {
    /// Two resources of a kind have one name. Envoy would reject the whole response.
    #[error("two resources of kind {kind:?} are named {name:?}")]
    Duplicate {
        /// The kind of both.
        kind: Kind,
        /// The name of both.
        name: String,
    },
    /// A resource's bytes are not a message of its kind.
    #[error("the {kind:?} resource {name:?} does not decode: {reason}")]
    Undecodable {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// A resource names one that is not there.
    #[error("the {by_kind:?} resource {by:?} names the {kind:?} resource {name:?}: there is none")]
    Missing {
        /// The kind of the one that names.
        by_kind: Kind,
        /// The one that names.
        by: String,
        /// The kind of the one that is missing.
        kind: Kind,
        /// The one that is missing.
        name: String,
    },
    /// A cluster takes its endpoints under another name than its own. Streams order the two by name.
    #[error(
        "the cluster {cluster:?} takes endpoints named {endpoints:?}: leave service_name empty"
    )]
    EndpointsElsewhere {
        /// The cluster.
        cluster: String,
        /// The endpoints' name.
        endpoints: String,
    },
    /// No cluster takes these endpoints.
    #[error("the endpoints {name:?} belong to no cluster that asks for them")]
    Orphan {
        /// The endpoints' name.
        name: String,
    },
}

/// Two snapshots are equal if their contents are: versions are hashes of those.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.of(kind).version == other.of(kind).version)
    }
}

impl Snapshot {
    /// Takes resources in any order. See [`Self::next`] for a snapshot that follows another.
    pub fn new(resources: Vec<impl Into<Arc<Resource>>>) -> Result<Self, Inconsistent> {
        Self::default().next(resources)
    }

    /// The snapshot of these resources. Those that `self` has in the same version are shared with
    /// it and not read again.
    pub fn next(&self, resources: Vec<impl Into<Arc<Resource>>>) -> Result<Self, Inconsistent> {
        let mut next = Self::default();
        for resource in resources {
            let resource: Arc<Resource> = resource.into();
            let (kind, name) = (resource.kind, resource.name.clone());
            let entry = match self.of(kind).entries.get(&name) {
                Some(known) if known.resource.version == resource.version => known.clone(),
                _ => Entry::read(resource)?,
            };
            if next.of_mut(kind).entries.insert(name.clone(), entry).is_some() {
                return Err(Inconsistent::Duplicate { kind, name });
            }
        }
        next.check()?;
        for kind in Kind::ALL {
            let set = next.of_mut(kind);
            set.version = version(set.iter());
        }
        Ok(next)
    }

    /// The version of a kind: a hash of its resources' names and versions, 32 hex digits.
    pub fn version(&self, kind: Kind) -> &str {
        &self.of(kind).version
    }

    /// The resources of a kind, by name.
    pub(super) fn of(&self, kind: Kind) -> &Set {
        match kind {
            Kind::Cluster => &self.clusters,
            Kind::Endpoints => &self.endpoints,
            Kind::Secret => &self.secrets,
            Kind::Extension => &self.extensions,
            Kind::Listener => &self.listeners,
            Kind::Routes => &self.routes,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Set {
        match kind {
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoints => &mut self.endpoints,
            Kind::Secret => &mut self.secrets,
            Kind::Extension => &mut self.extensions,
            Kind::Listener => &mut self.listeners,
            Kind::Routes => &mut self.routes,
        }
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let mut asked_for = BTreeSet::new();
        for by_kind in Kind::ALL {
            for (by, entry) in &self.of(by_kind).entries {
                for (kind, name) in entry.names.iter() {
                    let (kind, name, by) = (*kind, name.clone(), by.clone());
                    if kind == Kind::Endpoints && by != name {
                        return Err(Inconsistent::EndpointsElsewhere {
                            cluster: by,
                            endpoints: name,
                        });
                    }
                    if self.of(kind).get(&name).is_none() {
                        return Err(Inconsistent::Missing { by_kind, by, kind, name });
                    }
                    if kind == Kind::Endpoints {
                        asked_for.insert(name);
                    }
                }
            }
        }
        match self.endpoints.entries.keys().find(|name| !asked_for.contains(*name)) {
            Some(name) => Err(Inconsistent::Orphan { name: name.clone() }),
            None => Ok(()),
        }
    }
}

impl Set {
    /// The resource of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.entries.get(name).map(|entry| &entry.resource)
    }

    /// All resources, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.entries.values().map(|entry| &entry.resource)
    }

    /// The clusters that the resource of this name leads to.
    pub(super) fn clusters_of(&self, name: &str) -> impl Iterator<Item = &str> {
        let names = self.entries.get(name).into_iter().flat_map(|entry| entry.names.iter());
        names.filter(|(kind, _)| *kind == Kind::Cluster).map(|(_, name)| name.as_str())
    }
}

impl Entry {
    fn read(resource: Arc<Resource>) -> Result<Self, Inconsistent> {
        let names = references::of(&resource).map_err(|error| Inconsistent::Undecodable {
            kind: resource.kind,
            name: resource.name.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self { resource, names: Arc::new(names) })
    }
}

/// A hash of names and versions: equal wherever and whenever they are. 32 hex digits.
pub(super) fn version<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>) -> String {
    let mut hash = Sha256::new();
    for resource in resources {
        for text in [&resource.name, &resource.version] {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
    }
    let half = hash.finalize();
    half.iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
