//! All services' intents → hosts, pools and endpoints: who owns what, and who answers.
//!
//! Pure: the picture, the settings, the last turn and the time go in; the next turn comes out.
//!
//! ```text
//! picture ─▶ labels::read ─▶ ownership ─▶ site ─▶ pool ─▶ leaving ─▶ Turn
//!                 ▲              ▲                            ▲         │
//!                 └──────────────┴────── the last turn ───────┴─────────┘
//! ```
//!
//! `work` takes the steps, each for what has changed since the last turn only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::labels::{
    Certificate, Claim, Host, Kept, NodeCluster, PathPrefix, Plain, PoolOptions, Problem,
    ProxyService, Redirect, RouteOptions, SecretName, Site,
};
use crate::persistent::Map;
use crate::swarm::{NetworkId, NodeId, Picture, ServiceId, ServiceName, TaskId};

mod leaving;
mod ownership;
mod pool;
mod site;
mod work;

pub use ownership::ShareHosts;

/// What the routing depends on beside the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who may join a host that another service holds.
    pub share_hosts: ShareHosts,
    /// Names or IDs of the networks that the proxy is on; empty where nobody told.
    pub proxy_networks: BTreeSet<String>,
    /// The service that runs the proxies of a node cluster, where somebody told: what it lacks is
    /// known then.
    pub proxies: BTreeMap<NodeCluster, ProxyService>,
    /// How long the last endpoints of a pool are kept after their tasks were first seen to go. A
    /// task serves for 2 s after it was told to stop; this is less by the time that it takes to
    /// see that.
    pub linger: Duration,
}

/// What one run of [`route`] made, and what the next one needs.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The routing.
    pub routing: Arc<Routing>,
    /// What outlives a restart.
    pub ledger: Ledger,
    /// When to route again even if nothing changes: the end of the first leaving endpoint.
    pub wake_at: Option<SystemTime>,
    /// Services that the next turn leaves out, as if they asked for nothing. What they hold stays
    /// theirs. No turn sets it.
    pub left_out: BTreeSet<ServiceId>,
    /// When the tasks of the leaving endpoints were first missed.
    missed: BTreeMap<TaskId, SystemTime>,
    memo: work::Memo,
}

/// Two turns are equal if they say the same, whatever they know of how they came to it.
impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        let said = |it: &Self| (it.wake_at, it.left_out.clone(), it.missed.clone());
        self.routing == other.routing && self.ledger == other.ledger && said(self) == said(other)
    }
}

impl Eq for Turn {}

impl Turn {
    /// The turn to begin with after a restart.
    pub fn resume(ledger: Ledger) -> Self {
        Self { ledger, ..Self::default() }
    }
}

/// What the routing remembers of the past, kept on disk so that a restart gives no host away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The incumbent of each claim. It keeps the claim for as long as it asks for it.
    holders: Map<Claim, ServiceId>,
    /// The incumbent of each host. It keeps the host for as long as it holds a path of it and asks
    /// for something of the whole.
    sites: Map<Site, ServiceId>,
    /// The required labels of each service, as they were last valid.
    kept: Map<ServiceId, Kept>,
}

/// Routes a whole Swarm, `now`, after the `last` turn.
///
/// Equal arguments give equal turns. A service whose labels are bad changes nothing for the others.
/// What has not changed since the last turn is not looked at; the result is as if all of it had been.
pub fn route(picture: &Picture, settings: &Settings, last: &Turn, now: SystemTime) -> Turn {
    work::Work::after(last, picture, settings, now).turn()
}

/// The routing of one Swarm at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// What the proxies of each node cluster answer; the clusters that a service is in.
    pub clusters: BTreeMap<NodeCluster, Routes>,
    /// Every service that carries our labels, with what became of it.
    pub services: Map<ServiceId, Outcome>,
}

/// What the proxies of one node cluster answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// The hosts.
    pub sites: Map<Host, SiteRoutes>,
    /// The pools. Each is named by at least one path of a host.
    pub pools: Map<PoolName, Pool>,
    /// The networks of the endpoints.
    pub networks: Arc<BTreeSet<NetworkId>>,
    /// The secrets that hold certificates, keys and authorities, each with the services that asked
    /// for it.
    pub secrets: Map<SecretName, BTreeSet<ServiceId>>,
}

/// How one host is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteRoutes {
    /// What answers TLS.
    pub tls: SiteTls,
    /// What plain HTTP gets.
    pub plain: Plain,
    /// Where requests over plain HTTP are sent on to.
    pub http_redirect: Option<Redirect>,
    /// Where requests over TLS are sent on to.
    pub https_redirect: Option<Redirect>,
    /// Which pool answers which paths; the longest prefix wins. Never empty.
    pub paths: BTreeMap<PathPrefix, Route>,
}

/// What answers TLS for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SiteTls {
    /// Nothing.
    #[default]
    None,
    /// The proxy, with this certificate.
    Terminated(Certificate),
    /// The endpoints of this pool.
    Passthrough(PoolName),
}

/// How the paths under one prefix of a host are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Who answers. Every pool named here is in [`Routes::pools`].
    pub pool: PoolName,
    /// How the request is treated on its way there.
    pub options: RouteOptions,
}

/// What the proxies of a node cluster need to reach the pools and to answer for the hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The networks of the endpoints.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<NetworkId>,
    /// The secrets that hold certificates, keys and authorities.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
}

impl Routing {
    /// The pool that answers a claim.
    pub fn pool_of(&self, claim: &Claim) -> Option<&PoolName> {
        self.clusters.get(&claim.site.cluster)?.pool_of(&claim.site.host, &claim.path)
    }
}

impl Routes {
    /// What the proxies need to reach the pools and to answer for the hosts.
    pub fn needs(&self) -> Needs {
        let secrets = self.secrets.keys().cloned().collect();
        Needs { networks: BTreeSet::clone(&self.networks), secrets }
    }

    fn pool_of(&self, host: &Host, path: &PathPrefix) -> Option<&PoolName> {
        self.sites.get(host)?.paths.get(path).map(|route| &route.pool)
    }
}

/// The name of a pool: its services' names, sorted and joined by `+` (`demo`, `demo+demo-canary`),
/// cut and ended by a hash where that is too long or taken, or where several services share a pool
/// with settings that another pool of theirs need not have. It is the name of an Envoy cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(Arc<str>);

impl PoolName {
    /// Takes a name, which must be unique within a [`Routing`].
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as Envoy sees it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// All endpoints of all services that share a route: one Envoy cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its services, at least one.
    pub services: BTreeSet<ServiceId>,
    /// The incumbent's options.
    pub options: PoolOptions,
    /// How long connections to its endpoints may live.
    pub connections: Connections,
    /// Its endpoints, sorted by address; one address is there once.
    pub endpoints: Arc<[Endpoint]>,
}

/// How long connections to a pool's endpoints may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connections {
    /// As long as they are used: each leads to one task.
    Kept,
    /// One second at most: one of the endpoints is a virtual IP, behind which Swarm (IPVS) balances
    /// connections, not requests.
    Renewed,
}

/// One address that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// The service that owns it; a session's token is bound to it.
    pub service: ServiceId,
    /// What is behind the address.
    pub target: Target,
}

/// What is behind an endpoint's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A task.
    Task {
        /// The task's ID.
        task: TaskId,
        /// Where it runs.
        node: Option<NodeId>,
        /// Whether it stays or goes.
        presence: Presence,
    },
    /// A service's virtual IP.
    Vip,
}

impl Target {
    /// The task, unless it is a virtual IP.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::Task { task, .. } => Some(task),
            Self::Vip => None,
        }
    }
}

/// Whether a task's endpoint stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The task should run and does.
    Running,
    /// The task was told to stop; it is the last of its pool and still serves for a moment.
    Leaving,
}

/// What became of a service that carries our labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The service's name.
    pub name: ServiceName,
    /// Whose proxies answer for it.
    pub cluster: NodeCluster,
    /// Whether it is routed, and how.
    pub standing: Standing,
    /// What is worth telling about it.
    pub problems: Vec<Problem>,
}

/// Whether a service is routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is routed.
    Published {
        /// `task` or `vip`.
        mode: Mode,
        /// Its claims, each with the pool that answers it.
        claims: BTreeMap<Claim, PoolName>,
        /// Its own endpoints, wherever they are pooled.
        endpoints: Arc<[Endpoint]>,
    },
    /// It is not routed; its problems say why.
    Rejected,
}

/// The mode a service is routed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To its tasks.
    Task,
    /// To its virtual IP.
    Vip,
}

#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
