//! What a stream offers its client of one type: the newest snapshot, and what must outlive it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::envoy::{Kind, Resource};
use crate::persistent;
use crate::xds::snapshot::{Set, Snapshot};

/// What a stream offers its client of one type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    newest: &'a Set,
    /// No name of it is in `newest`.
    lingering: Option<&'a Resources>,
}

/// Changes of what is offered, by name in order. They are many where a client begins, and borrowed.
pub(super) type Changes<'a> = Vec<Change<'a>>;

/// What becomes of a name.
#[derive(Debug, Clone)]
pub(super) enum Change<'a> {
    /// It is this from now on.
    There(&'a Arc<Resource>),
    /// There is no such resource (any more).
    Gone(Arc<str>),
}

impl<'a> Change<'a> {
    pub(super) fn new(name: &Arc<str>, to: Option<&'a Arc<Resource>>) -> Self {
        to.map_or_else(|| Self::Gone(Arc::clone(name)), Self::There)
    }

    /// Of what.
    pub(super) fn name(&self) -> &Arc<str> {
        match self {
            Self::There(resource) => &resource.name,
            Self::Gone(name) => name,
        }
    }

    /// Whether there is something of that name.
    pub(super) fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }
}

type Resources = BTreeMap<Arc<str>, Arc<Resource>>;

/// Clusters that the newest snapshot has dropped but that the client may still have routes to, and
/// their endpoints.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    clusters: Resources,
    endpoints: Resources,
}

/// Looks resources up by names that come in order.
pub(super) struct Walk<'a> {
    newest: persistent::Walk<'a, Arc<str>, Resource>,
    lingering: Option<&'a Resources>,
}

impl<'a> Walk<'a> {
    /// The resource of this name, which comes behind the last.
    pub(super) fn get(&mut self, name: &str) -> Option<&'a Arc<Resource>> {
        self.newest.get(name).or_else(|| self.lingering?.get(name))
    }
}

impl<'a> Offer<'a> {
    /// All but what lingers.
    pub(super) fn newest(&self) -> &'a Set {
        self.newest
    }

    /// Resources by names that come in order.
    pub(super) fn walk(&self) -> Walk<'a> {
        Walk { newest: self.newest.walk(), lingering: self.lingering }
    }

    /// The resource of this name.
    pub(super) fn get(&self, name: &str) -> Option<&'a Arc<Resource>> {
        let lingering = || self.lingering.and_then(|lingering| lingering.get(name));
        self.newest.get_shared(name).or_else(lingering)
    }

    /// The version of the resource of this name.
    pub(super) fn version(&self, name: &str) -> Option<&'a str> {
        self.get(name).map(|resource| &*resource.version)
    }

    /// All resources.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Arc<Resource>> {
        let newest = self.newest.iter_shared().map(|(_, resource)| resource);
        newest.chain(self.lingering.into_iter().flat_map(BTreeMap::values))
    }

    /// Whether it is the newest and nothing else.
    pub(super) fn is_newest(&self) -> bool {
        self.lingering.is_none_or(BTreeMap::is_empty)
    }
}

impl Lingering {
    /// Keeps the clusters of `last` that `newest` dropped, where the client may hold them.
    pub(super) fn keep(
        &mut self,
        last: &Snapshot,
        newest: &Snapshot,
        client_may_hold: impl Fn(&str) -> bool,
    ) {
        for change in last.of(Kind::Cluster).changes(newest.of(Kind::Cluster)) {
            let name = change.key;
            if change.after.is_some() {
                self.clusters.remove(name);
                self.endpoints.remove(name);
            } else if client_may_hold(name) {
                self.clusters.extend(change.before.map(|it| (name.clone(), it.clone())));
                let endpoints = last.of(Kind::Endpoints).get_shared(name);
                self.endpoints.extend(endpoints.map(|it| (name.clone(), it.clone())));
            }
        }
    }

    /// Drops them all: the client has no route to any of them.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// What is offered of a kind.
    pub(super) fn offer<'a>(&'a self, kind: Kind, newest: &'a Snapshot) -> Offer<'a> {
        let lingering = match kind {
            Kind::Cluster => Some(&self.clusters),
            Kind::Endpoints => Some(&self.endpoints),
            Kind::Secret
            | Kind::Extension
            | Kind::Listener
            | Kind::Routes
            | Kind::VirtualHost
            | Kind::WholeRoutes => None,
        };
        Offer { newest: newest.of(kind), lingering }
    }
}
