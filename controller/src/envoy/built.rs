//! What follows from routes, made from what followed from the last ones.
//!
//! ```text
//! pools that changed ─▶ clusters, endpoints
//!        │ (others answer under the name)
//! hosts that changed ─▶ virtual hosts
//!        └────────────▶ routes, secrets, HTTPS listener
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chain::{Chain, End};
use super::digest::Digest;
use super::resource::collection;
use super::route::{self, Encoded, name_within};
use super::virtual_host::{nobody, virtual_host};
use super::{
    Kind, Resource, Resources, Settings, assembly, chain, cluster, endpoint, extension, listener,
    tls,
};
use crate::labels::{Host, Scheme};
use crate::persistent::{Change, Map};
use crate::routing::{Pool, PoolName, Routes, SiteTls};
use crate::side_by_side;

/// The resources of a node cluster, and what they were made of.
#[derive(Debug, Clone)]
pub struct Built {
    routes: Routes,
    /// Hosts as they answer over TLS; only those that do, here.
    secure: Map<Host, Encoded>,
    /// By route configuration, what its hosts add up to.
    digests: BTreeMap<String, Digest>,
    resources: Resources,
}

impl Built {
    /// What Envoys get where no service answers. To be made once: it holds the filter's code,
    /// hundreds of kilobytes to encode and hash.
    pub fn without_routes(settings: &Settings) -> Self {
        let fixed = extension::resources(settings).chain([listener::http(settings)]);
        let mut built = Self {
            routes: Routes::default(),
            secure: Map::default(),
            digests: BTreeMap::new(),
            resources: fixed.collect(),
        };
        let [plain, _] = encoded(&Host::AnyOther, &built.routes, settings);
        built.take_plain(&Host::AnyOther, plain);
        built.take_routes(&[], settings);
        built
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
        let each: Vec<_> = hosts.iter().copied().collect();
        let encoded = side_by_side::map(&each, |host| encoded(host, routes, settings));
        for (host, [plain, secure]) in each.into_iter().zip(encoded) {
            next.take_plain(host, plain);
            match secure {
                Some(secure) => drop(next.secure.put(host.clone(), secure)),
                None => drop(next.secure.remove(host)),
            }
        }
        let chains = chain::of(routes);
        next.take_secure(&hosts, &chains);
        next.take_routes(&chains, settings);
        next.resources.replace(Kind::Secret, tls::secrets(routes, &chains), &[]);
        let listeners = listener::https(&chains, settings).into_iter().collect();
        next.resources.replace(Kind::Listener, listeners, &[route::HTTP]);
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

    /// Takes a host as it answers plain HTTP.
    fn take_plain(&mut self, host: &Host, encoded: Option<Encoded>) {
        let host = host.to_string();
        match encoded {
            Some(encoded) => self.put_host(encoded.within(route::HTTP, &host)),
            None => self.remove_host(&name_within(route::HTTP, &host)),
        }
    }

    /// Has the hosts of each chain that ends here, and of no other. Of those that were there, `changed`
    /// are not as they were.
    fn take_secure(&mut self, changed: &BTreeSet<&Host>, chains: &[Chain<'_>]) {
        let mut there = BTreeSet::new();
        for chain in ending_here(chains) {
            for host in route::own_hosts(chain) {
                let name = name_within(&chain.name, &host.to_string());
                let all = self.resources.of(Kind::VirtualHost);
                let as_it_was = !changed.contains(&host) && all.contains_key(&*name);
                let encoded = self.secure.get(&host).filter(|_| !as_it_was);
                if let Some(host) = encoded.map(|it| it.within(&chain.name, &host.to_string())) {
                    self.put_host(host);
                }
                there.insert(name);
            }
            if let Some(elsewhere) = route::elsewhere(chain, &self.routes) {
                self.put_host(elsewhere.within(&chain.name, route::ELSEWHERE));
                there.insert(name_within(&chain.name, route::ELSEWHERE));
            }
        }
        let is_gone = |name: &&Arc<str>| {
            collection(Kind::VirtualHost, name) != Some(route::HTTP) && !there.contains(&***name)
        };
        let all = self.resources.of(Kind::VirtualHost).keys();
        let gone: Vec<_> = all.filter(is_gone).cloned().collect();
        gone.iter().for_each(|name| self.remove_host(name));
    }

    /// Makes the route configurations, when all hosts are there.
    fn take_routes(&mut self, chains: &[Chain<'_>], settings: &Settings) {
        let plain = route::configuration(route::HTTP, settings, Scheme::Http);
        let secure = ending_here(chains)
            .map(|chain| route::configuration(&chain.name, settings, Scheme::Https));
        let (mut apart, mut whole) = (Vec::new(), Vec::new());
        for configuration in std::iter::once(plain).chain(secure) {
            let name = configuration.name.clone();
            let hosts = self.digests.get(&name).copied().unwrap_or_default();
            let all = self.resources.of(Kind::VirtualHost);
            whole.push(assembly::whole(&configuration, all, hosts));
            apart.push(route::of_hosts_apart(configuration));
        }
        self.resources.replace(Kind::Routes, apart, &[]);
        self.resources.replace(Kind::WholeRoutes, whole, &[]);
        let there = self.resources.of(Kind::Routes);
        self.digests.retain(|name, _| there.contains_key(&**name));
    }

    fn put_host(&mut self, host: Resource) {
        let (name, came) = (Arc::clone(&host.name), host.digest());
        let before = self.resources.of(Kind::VirtualHost).get(&*name).map(Resource::digest);
        self.resources.put(host);
        self.count(&name, Some(came), before);
    }

    fn remove_host(&mut self, name: &str) {
        let gone = self.resources.remove(Kind::VirtualHost, name);
        self.count(name, None, gone.map(|it| it.digest()));
    }

    fn count(&mut self, name: &str, came: Option<Digest>, gone: Option<Digest>) {
        if let Some(routes) = collection(Kind::VirtualHost, name) {
            let digest = self.digests.entry(routes.to_owned()).or_default();
            *digest = digest.with(came, gone);
        }
    }
}

/// The chains whose connections end in Envoy.
fn ending_here<'c, 'a>(chains: &'c [Chain<'a>]) -> impl Iterator<Item = &'c Chain<'a>> {
    chains.iter().filter(|chain| matches!(chain.end, End::Here(_)))
}

/// The cluster of a pool and its endpoints; none where the pool is gone.
fn made_of(change: &Change<'_, PoolName, Pool>, settings: &Settings) -> Option<[Resource; 2]> {
    let (name, pool) = (change.key, change.after?);
    Some([cluster::resource(name, pool, &settings.limits), endpoint::resource(name, pool)])
}

/// A host as it answers plain HTTP and over TLS; none where it does not.
fn encoded(host: &Host, routes: &Routes, settings: &Settings) -> [Option<Encoded>; 2] {
    let Some(site) = routes.sites.get(host) else {
        return [(*host == Host::AnyOther).then(|| Encoded::new(&nobody())), None];
    };
    let encoded = |scheme| Encoded::new(&virtual_host(host, site, routes, settings, scheme));
    let is_secure = matches!(site.tls, SiteTls::Terminated(_));
    [Some(encoded(Scheme::Http)), is_secure.then(|| encoded(Scheme::Https))]
}

/// Whether the hosts and certificates that lead to a pool have to be looked at: not where only its
/// endpoints are others.
fn answers_as_another(change: &Change<'_, PoolName, Pool>) -> bool {
    let told = |pool: &Arc<Pool>| Pool { endpoints: Arc::default(), ..Pool::clone(pool) };
    change.before.map(told) != change.after.map(told)
}
