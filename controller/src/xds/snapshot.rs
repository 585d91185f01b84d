//! An immutable, consistent set of resources.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::envoy::{Kind, Resource, Resources, half_of_sha256};
use crate::persistent::Map;

/// All resources of one moment. Every resource that another one names is there.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    resources: Resources,
    kinds: [Version; Kind::ALL.len()],
}

/// The resources of one kind.
pub(super) type Set = Map<Arc<str>, Resource>;

/// The version of a set of resources: the sum of hashes of their names and versions, so that a
/// change costs as much as it changes. It shows whether sets differ; it is no proof against one who
/// looks for two with one sum.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    sum: u128,
    /// In hex.
    text: String,
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

impl Default for Version {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Version {
    fn of(sum: u128) -> Self {
        Self { sum, text: format!("{sum:032x}") }
    }
}

/// Two snapshots are equal if their contents are: versions are made of hashes of those.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.kinds == other.kinds
    }
}

impl Snapshot {
    /// Takes resources in any order. See [`Self::next`] for a snapshot that follows another.
    pub fn new(resources: Vec<Resource>) -> Result<Self, Inconsistent> {
        let mut all = Resources::default();
        for resource in resources {
            let (kind, name) = (resource.kind, Arc::clone(&resource.name));
            if all.of(kind).contains_key(&name) {
                return Err(Inconsistent::Duplicate { kind, name: name.to_string() });
            }
            all.put(resource);
        }
        Self::default().next(all)
    }

    /// The snapshot of these resources. What they share with those of `self` is not looked at.
    pub fn next(&self, resources: Resources) -> Result<Self, Inconsistent> {
        let mut kinds = self.kinds.clone();
        let mut holds_together = true;
        for kind in Kind::ALL {
            let version = &mut kinds[kind as usize];
            let mut sum = version.sum;
            for change in self.of(kind).changes(resources.of(kind)) {
                sum = sum.wrapping_sub(change.before.map_or(0, hash));
                sum = sum.wrapping_add(change.after.map_or(0, hash));
                // Other endpoints of the same cluster name nothing, and are named as before.
                holds_together &=
                    kind == Kind::Endpoints && change.before.is_some() && change.after.is_some();
            }
            if version.sum != sum {
                *version = Version::of(sum);
            }
        }
        let next = Self { resources, kinds };
        if !holds_together {
            next.check()?;
        }
        Ok(next)
    }

    /// The version of a kind: equal wherever and whenever its resources are. 32 hex digits.
    pub fn version(&self, kind: Kind) -> &str {
        &self.kinds[kind as usize].text
    }

    /// The resources of a kind, by name.
    pub(super) fn of(&self, kind: Kind) -> &Set {
        self.resources.of(kind)
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let mut asked_for = BTreeSet::new();
        for by in self.resources.iter() {
            for (kind, name) in by.names.iter() {
                if *kind == Kind::Endpoints && by.name != *name {
                    return Err(Inconsistent::EndpointsElsewhere {
                        cluster: by.name.to_string(),
                        endpoints: name.to_string(),
                    });
                }
                if !self.of(*kind).contains_key(name) {
                    return Err(Inconsistent::Missing {
                        by_kind: by.kind,
                        by: by.name.to_string(),
                        kind: *kind,
                        name: name.to_string(),
                    });
                }
                if *kind == Kind::Endpoints {
                    asked_for.insert(name);
                }
            }
        }
        match self.of(Kind::Endpoints).keys().find(|name| !asked_for.contains(*name)) {
            Some(name) => Err(Inconsistent::Orphan { name: name.to_string() }),
            None => Ok(()),
        }
    }
}

/// The clusters that the resource of this name leads to.
pub(super) fn clusters_of<'a>(set: &'a Set, name: &str) -> impl Iterator<Item = &'a str> {
    let names = set.get(name).into_iter().flat_map(|resource| resource.names.iter());
    names.filter(|(kind, _)| *kind == Kind::Cluster).map(|(_, name)| &**name)
}

/// The version of these resources of one kind, as [`Snapshot::version`] tells it of all of them.
pub(super) fn version<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>) -> String {
    let sum = resources.fold(0_u128, |sum, resource| sum.wrapping_add(hash(resource)));
    Version::of(sum).text
}

fn hash(resource: &Resource) -> u128 {
    let name = resource.name.as_bytes();
    half_of_sha256(&[&name.len().to_be_bytes(), name, resource.version.as_bytes()])
}

#[cfg(test)]
mod tests;
