//! What follows from routes, made from what followed from the last ones.
//!
//! ```text
//! pools that changed ─▶ clusters, endpoints
//!        │ (others answer under the name)
//! hosts that changed ─▶ virtual hosts, as bytes ─▶ routes
//!        └────────────────────────────────────────▶ secrets, HTTPS listener
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use super::route::{self, Encoded};
use super::virtual_host::virtual_host;
use super::{
    Kind, Resource, Resources, Settings, chain, cluster, endpoint, extension, listener, tls,
};
use crate::labels::{Host, Scheme};
use crate::persistent::{Change, Map};
use crate::routing::{Pool, PoolName, Routes, SiteTls};
use crate::side_by_side;

/// The resources of a node cluster, and what they were made of.
#[derive(Debug, Clone)]
pub struct Built {
    routes: Routes,
    plain: Map<Host, Encoded>,
    /// As they answer over TLS; only those that do, here.
    secure: Map<Host, Encoded>,
    resources: Resources,
}

impl Built {
    /// What Envoys get where no service answers. To be made once: it holds the filter's code,
    /// hundreds of kilobytes to encode and hash.
    pub fn without_routes(settings: &Settings) -> Self {
        let fixed = extension::resources(settings).chain([listener::http(settings)]);
        let plain = Map::default();
        let routes = route::plain(&plain, settings);
        Self {
            routes: Routes::default(),
            plain,
            secure: Map::default(),
            resources: fixed.chain([routes]).collect(),
        }
    }

    /// All resources.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// What follows from these routes. The settings must be those that `self` was made with. What is
    /// equal is shared with `self`.
    #[must_use]
    pub fn next(&self, routes: &Routes, settings: &Settings) -> Self {
        let mut next = self.clone();
        next.routes = routes.clone();
        let pools: Vec<_> = self.routes.pools.changes(&routes.pools).collect();
        let made = side_by_side::map(&pools, |change| made_of(change, settings));
        for (change, made) in pools.iter().zip(made) {
            next.take_pool(change.key, made);
        }
        let renewed = pools.iter().filter(|change| answers_as_another(change));
        let renewed: BTreeSet<_> = renewed.map(|change| change.key).collect();
        let mut hosts: BTreeSet<&Host> =
            self.routes.sites.changes(&routes.sites).map(|change| change.key).collect();
        if hosts.is_empty() && renewed.is_empty() {
            return next;
        }
        let leads_there = |(_, site): &(&Host, &crate::routing::SiteRoutes)| {
            site.paths.values().any(|route| renewed.contains(&route.pool))
        };
        hosts.extend(routes.sites.iter().filter(leads_there).map(|(host, _)| host));
        let hosts: Vec<_> = hosts.into_iter().collect();
        let encoded = side_by_side::map(&hosts, |host| encoded(host, routes, settings));
        for (host, [plain, secure]) in hosts.into_iter().zip(encoded) {
            for (all, one) in [(&mut next.plain, plain), (&mut next.secure, secure)] {
                match one {
                    Some(one) => drop(all.put(host.clone(), one)),
                    None => drop(all.remove(host)),
                }
            }
        }
        next.take_chains(settings);
        next
    }

    fn take_pool(&mut self, name: &PoolName, made: Option<[Resource; 2]>) {
        if let Some(made) = made {
            for resource in made {
                self.resources.put(resource);
            }
        } else {
            self.resources.remove(Kind::Cluster, name.as_str());
            self.resources.remove(Kind::Endpoints, name.as_str());
        }
    }

    /// Makes what depends on all hosts together.
    fn take_chains(&mut self, settings: &Settings) {
        let chains = chain::of(&self.routes);
        let mut routes = vec![route::plain(&self.plain, settings)];
        routes.extend(route::secure(&self.secure, &self.routes, &chains, settings));
        let listeners = listener::https(&chains, settings).into_iter().collect();
        self.resources.replace(Kind::Secret, tls::secrets(&self.routes, &chains), &[]);
        self.resources.replace(Kind::Listener, listeners, &[route::HTTP]);
        self.resources.replace(Kind::Routes, routes, &[]);
    }
}

/// The cluster of a pool and its endpoints; none where the pool is gone.
fn made_of(change: &Change<'_, PoolName, Pool>, settings: &Settings) -> Option<[Resource; 2]> {
    let (name, pool) = (change.key, change.after?);
    Some([cluster::resource(name, pool, &settings.limits), endpoint::resource(name, pool)])
}

/// A host as it answers plain HTTP and over TLS; none where it does not.
fn encoded(host: &Host, routes: &Routes, settings: &Settings) -> [Option<Encoded>; 2] {
    let Some(site) = routes.sites.get(host) else { return [None, None] };
    let encoded = |scheme| Encoded::new(&virtual_host(host, site, routes, settings, scheme));
    let is_secure = matches!(site.tls, SiteTls::Terminated(_));
    [Some(encoded(Scheme::Http)), is_secure.then(|| encoded(Scheme::Https))]
}

/// Whether the hosts and certificates that lead to a pool have to be looked at: not where only its
/// endpoints are others.
fn answers_as_another(change: &Change<'_, PoolName, Pool>) -> bool {
    let told = |pool: &Pool| Pool { endpoints: Arc::default(), ..pool.clone() };
    change.before.map(told) != change.after.map(told)
}
