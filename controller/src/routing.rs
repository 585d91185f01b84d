//! All services' intents → hosts, pools and endpoints: who owns what, and who answers.
//!
//! Pure: the picture, the ledger and the time go in; the routing and the next ledger come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::labels::{Affinity, Claim, Problem};
use crate::swarm::{NodeId, ServiceId, ServiceName, TaskId};

/// The routing of one Swarm at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// Which pool answers each claim. Every pool named here is in `pools`.
    pub routes: BTreeMap<Claim, PoolName>,
    /// The pools. Each is named by at least one route.
    pub pools: BTreeMap<PoolName, Pool>,
    /// Every service that carries our labels, with what became of it.
    pub services: BTreeMap<ServiceId, Outcome>,
}

/// The name of a pool: its services' names, sorted and joined by `+` (`demo`, `demo+demo-canary`),
/// cut and ended by a hash where that is too long or where the pool's settings differ from another's
/// with the same services. It is the name of an Envoy cluster.
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
    /// The incumbent's stickiness.
    pub affinity: Affinity,
    /// How long connections to its endpoints may live.
    pub connections: Connections,
    /// Its endpoints, sorted by address; one address is there once.
    pub endpoints: Vec<Endpoint>,
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
        endpoints: Vec<Endpoint>,
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
