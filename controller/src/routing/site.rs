//! Pools → hosts: which pool answers which path of which host, and what else the host does.

use std::collections::BTreeMap;

use super::ownership::Grants;
use super::pool::{self, Answering};
use super::{Route, Routes, SiteRoutes, SiteTls};
use crate::labels::{Claim, Host, Intent, NodeCluster, PathPrefix, Scheme, Tls};
use crate::swarm::{Picture, ServiceId};

/// What the proxies of each node cluster answer.
pub(super) fn build(
    picture: &Picture,
    intents: &BTreeMap<ServiceId, Intent>,
    grants: &Grants,
) -> BTreeMap<NodeCluster, Routes> {
    let mut clusters: BTreeMap<NodeCluster, Routes> = BTreeMap::new();
    for Answering { cluster, name, pool, claims } in pool::build(picture, intents, grants) {
        let routes = clusters.entry(cluster).or_default();
        for member in pool.services.iter().filter_map(|id| intents.get(id)) {
            routes.networks.insert(member.network.clone());
        }
        for claim in claims {
            let Some(owner) = grants.owner(&claim).and_then(|id| intents.get(id)) else { continue };
            note_secrets(owner, routes);
            let Claim { site, path } = claim;
            let site = routes.sites.entry(site.host).or_default();
            site.paths.insert(path, Route { pool: name.clone(), options: owner.route.clone() });
        }
        routes.pools.insert(name, pool);
    }
    for (site, owner) in &grants.sites {
        let (owner, routes) = (intents.get(owner), clusters.get_mut(&site.cluster));
        let (Some(owner), Some(routes)) = (owner, routes) else { continue };
        note_secrets(owner, routes);
        if let Some(routes) = routes.sites.get_mut(&site.host) {
            apply(owner, &site.host, routes);
        }
    }
    clusters
}

fn note_secrets(owner: &Intent, routes: &mut Routes) {
    for secret in &owner.secrets {
        routes.secrets.entry(secret.clone()).or_default().insert(owner.service.clone());
    }
}

/// Does with a host what its holder asks for.
fn apply(owner: &Intent, host: &Host, site: &mut SiteRoutes) {
    site.tls = match &owner.site.tls {
        Tls::None => SiteTls::None,
        Tls::Terminated(certificate) => SiteTls::Terminated(certificate.clone()),
        Tls::Passthrough => match site.paths.get(&PathPrefix::root()) {
            Some(route) => SiteTls::Passthrough(route.pool.clone()),
            None => SiteTls::None,
        },
    };
    site.plain = owner.site.plain;
    site.http_redirect = owner.site.redirects.on(Scheme::Http, host).cloned();
    site.https_redirect = owner.site.redirects.on(Scheme::Https, host).cloned();
}
