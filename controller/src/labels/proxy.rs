//! What is known of the proxies: which networks they are on, which secrets they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use super::{NodeCluster, SecretName};
use crate::persistent::Map;
use crate::swarm::{
    MountedSecret, NetworkId, Picture, SecretId, Service, ServiceId, ServiceName, Task, TaskId,
    Update,
};

/// Where Swarm mounts secrets that name no other place.
const SECRETS: &str = "/run/secrets";

/// The Swarm service whose tasks are the proxies of one node cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyService {
    /// Its name.
    pub name: ServiceName,
    /// Who gives it networks and secrets.
    pub care: Care,
}

/// Who gives a proxy service the networks and secrets that published services need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Its owner: what is missing is a problem that tells the command (`--proxy-service`).
    Owner,
    /// The controller (`--manage-proxy`).
    Controller,
}

/// The service whose tasks are the proxies of a cluster: `NAME`, or `CLUSTER=NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyOf {
    /// The cluster.
    pub cluster: NodeCluster,
    /// The service.
    pub service: ServiceName,
}

/// A text is no [`ProxyOf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a service's name (letters, digits, `-`, `_` and `.`), or for a service cluster \
     CLUSTER=NAME"
)]
pub struct BadProxyOf;

impl FromStr for ProxyOf {
    type Err = BadProxyOf;

    fn from_str(written: &str) -> Result<Self, BadProxyOf> {
        let (cluster, service) = written.trim().split_once('=').unwrap_or(("", written.trim()));
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if service.is_empty() || !service.bytes().all(allowed) {
            return Err(BadProxyOf);
        }
        let cluster = NodeCluster::parse(cluster).map_err(|_| BadProxyOf)?;
        Ok(Self { cluster, service: ServiceName::new(service) })
    }
}

/// The running tasks of each service that has any.
pub type Running = Map<ServiceId, BTreeMap<TaskId, Arc<Task>>>;

/// The proxies of a Swarm, by node cluster, and the secrets that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies<'a> {
    by_cluster: BTreeMap<&'a NodeCluster, Proxy<'a>>,
    secrets: Option<&'a Map<String, SecretId>>,
}

/// The proxies of one node cluster, as the specification of their service has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy<'a> {
    /// Their service.
    pub(super) service: &'a ProxyService,
    networks: BTreeSet<&'a NetworkId>,
    secrets: BTreeMap<&'a str, &'a MountedSecret>,
    /// Whether they are being replaced.
    update: Update,
    /// The secrets of each that runs.
    held: Vec<&'a BTreeSet<SecretId>>,
}

/// Where proxies find a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// In this file; where nothing is known of the proxies, the one that Swarm makes by itself.
    File(SecretName, String),
    /// The proxies do not hold it.
    Detached(SecretName, &'a ProxyService),
    /// The Swarm has no such secret.
    Nowhere,
}

impl<'a> Proxies<'a> {
    /// Looks the services of the proxies up. One that the Swarm does not have is as one that nobody
    /// told of.
    pub fn of(
        picture: &'a Picture,
        running: &'a Running,
        told: &'a BTreeMap<NodeCluster, ProxyService>,
    ) -> Self {
        let find = |name: &ServiceName| picture.services.values().find(|it| it.name == *name);
        let known = told.iter().filter_map(|(cluster, proxy)| {
            Some((cluster, Proxy::new(proxy, find(&proxy.name)?, running)))
        });
        Self { by_cluster: known.collect(), secrets: picture.secrets.as_ref() }
    }

    /// The proxies of a node cluster, where they are known.
    pub(super) fn get(&self, cluster: &NodeCluster) -> Option<&Proxy<'a>> {
        self.by_cluster.get(cluster)
    }

    /// Where the proxies of a node cluster find a secret, which a service of a stack may name
    /// without the stack's name.
    pub(super) fn find(
        &self,
        name: &SecretName,
        stack: Option<&String>,
        cluster: &NodeCluster,
    ) -> Place<'a> {
        let in_stack = stack.and_then(|stack| SecretName::parse(&format!("{stack}_{name}")).ok());
        let names: Vec<_> = [Some(name.clone()), in_stack].into_iter().flatten().collect();
        let exists = |name: &&SecretName| {
            self.secrets.is_none_or(|secrets| secrets.contains_key(name.as_str()))
        };
        let existing = names.iter().find(exists);
        let Some(proxy) = self.get(cluster) else {
            let file = |name: &SecretName| Place::File(name.clone(), format!("{SECRETS}/{name}"));
            return existing.map_or(Place::Nowhere, file);
        };
        let held = names.iter().find_map(|name| Some((name.clone(), proxy.file(name)?)));
        match (held, existing) {
            (Some((name, file)), _) => Place::File(name, file),
            (None, Some(name)) => Place::Detached(name.clone(), proxy.service),
            (None, None) => Place::Nowhere,
        }
    }

    /// Whether each proxy of a node cluster holds a secret: one that was mounted into their service a
    /// moment ago comes with new tasks, while old ones serve to the end of the update. Where nothing
    /// is known of the proxies, they do.
    pub(super) fn all_hold(&self, name: &SecretName, cluster: &NodeCluster) -> bool {
        let Some(proxy) = self.get(cluster) else { return true };
        let by_all =
            |secret: &&MountedSecret| proxy.held.iter().all(|held| held.contains(&secret.id));
        proxy.update == Update::Idle && proxy.secrets.get(name.as_str()).is_some_and(by_all)
    }
}

impl<'a> Proxy<'a> {
    fn new(service: &'a ProxyService, found: &'a Service, running: &'a Running) -> Self {
        let printable = |target: &str| !target.is_empty() && !target.contains(char::is_control);
        let secrets = found.secrets.iter().filter(|secret| printable(&secret.target));
        let running = running.get(&found.id).into_iter().flat_map(BTreeMap::values);
        Self {
            service,
            networks: found.networks.iter().collect(),
            secrets: secrets.map(|secret| (secret.name.as_str(), secret)).collect(),
            update: found.update,
            held: running.map(|task| &task.secrets).collect(),
        }
    }

    /// Whether they are on a network.
    pub(super) fn is_on(&self, network: &NetworkId) -> bool {
        self.networks.contains(network)
    }

    fn file(&self, secret: &SecretName) -> Option<String> {
        let target = &self.secrets.get(secret.as_str())?.target;
        let absolute = target.starts_with('/');
        Some(if absolute { target.clone() } else { format!("{SECRETS}/{target}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_service_and_maybe_a_cluster() {
        for (written, read) in [
            ("proxy", Some(("default", "proxy"))),
            ("=proxy", Some(("default", "proxy"))),
            ("default=proxy", Some(("default", "proxy"))),
            ("east=stack_proxy.1", Some(("east", "stack_proxy.1"))),
            ("", None),
            ("east=", None),
            ("a b", None),
            ("a b=proxy", None),
            ("a=b=c", None),
        ] {
            let proxy = written.parse::<ProxyOf>().ok();
            let parts = proxy.as_ref().map(|it| (it.cluster.as_str(), it.service.as_str()));
            assert_eq!(parts, read, "{written:?}");
        }
    }
}
