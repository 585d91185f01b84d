//! An immutable, consistent set of resources.

use std::sync::Arc;

use crate::envoy::{Digest, Kind, Resource, Resources, members};
use crate::persistent::Map;
use crate::side_by_side;

/// All resources of one moment. Every resource that another one names is there.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    resources: Resources,
    kinds: [Version; Kind::ALL.len()],
}

/// The resources of one kind.
pub(super) type Set = Map<Arc<str>, Resource>;

/// The version of a set of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    digest: Digest,
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
        Self::of(Digest::default())
    }
}

impl Version {
    fn of(digest: Digest) -> Self {
        Self { digest, text: digest.to_string() }
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
        let (mut came, mut is_any_gone) = (Vec::new(), false);
        for kind in Kind::ALL {
            let version = &mut kinds[kind as usize];
            let mut digest = version.digest;
            for change in self.of(kind).changes(resources.of(kind)) {
                let [after, before] = [change.after, change.before].map(|it| it.map(Arc::as_ref));
                digest = digest.with(after.map(Resource::digest), before.map(Resource::digest));
                match (before, after) {
                    (Some(before), Some(after)) if before.names == after.names => {}
                    // Endpoints may have lost their cluster.
                    (Some(_), Some(_)) if kind == Kind::Cluster => is_any_gone = true,
                    (_, Some(after)) => came.push(after),
                    (_, None) => is_any_gone = true,
                }
            }
            if version.digest != digest {
                *version = Version::of(digest);
            }
        }
        if is_any_gone {
            came = resources.iter().collect();
        }
        side_by_side::map(&came, |it| check(it, &resources))
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(Self { resources, kinds })
    }

    /// The version of a kind: equal wherever and whenever its resources are. 32 hex digits.
    pub fn version(&self, kind: Kind) -> &str {
        &self.kinds[kind as usize].text
    }

    /// The resources of a kind, by name.
    pub(super) fn of(&self, kind: Kind) -> &Set {
        self.resources.of(kind)
    }

    /// The clusters that the resource of this kind and name leads to.
    pub(super) fn clusters_of<'a>(
        &'a self,
        kind: Kind,
        name: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let hosts = (kind == Kind::WholeRoutes).then(|| members(self.of(Kind::VirtualHost), name));
        let all = self.of(kind).get(name).into_iter().chain(hosts.into_iter().flatten());
        let names = all.flat_map(|resource| resource.names.iter());
        names.filter(|(kind, _)| *kind == Kind::Cluster).map(|(_, name)| &**name)
    }
}

/// Checks that all is there that a resource names, and for endpoints, that their cluster names them.
fn check(by: &Resource, all: &Resources) -> Result<(), Inconsistent> {
    for (kind, name) in by.names.iter() {
        if *kind == Kind::Endpoints && by.name != *name {
            return Err(Inconsistent::EndpointsElsewhere {
                cluster: by.name.to_string(),
                endpoints: name.to_string(),
            });
        }
        if !all.of(*kind).contains_key(name) {
            return Err(Inconsistent::Missing {
                by_kind: by.kind,
                by: by.name.to_string(),
                kind: *kind,
                name: name.to_string(),
            });
        }
    }
    let names_it = |cluster: &Resource| {
        cluster.names.iter().any(|(kind, name)| (*kind, name) == (Kind::Endpoints, &by.name))
    };
    if by.kind == Kind::Endpoints && !all.of(Kind::Cluster).get(&*by.name).is_some_and(names_it) {
        return Err(Inconsistent::Orphan { name: by.name.to_string() });
    }
    Ok(())
}

/// The version of these resources of one kind, as [`Snapshot::version`] tells it of all of them.
pub(super) fn version<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>) -> String {
    let digest = Digest::default();
    resources.fold(digest, |sum, resource| sum.with(Some(resource.digest()), None)).to_string()
}

#[cfg(test)]
mod tests;
