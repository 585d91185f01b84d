//! The Swarm, as everything after this module sees it: one complete, consistent [`Picture`].
//!
//! Docker's all-optional answers are converted to these types once, at the edge. Only what routing
//! needs is kept: environment variables, arguments and mounts of services are secrets of their
//! owners; they pass through as bytes and are never decoded, kept or logged.
//!
//! [`run`] is the source. Its parts, in the order in which an answer passes them:
//!
//! ```text
//! call ─▶ docker ─▶ cut ─▶ listing ─▶ convert ─▶ reader ─▶ belief ─▶ Observed
//!           watch ─▶ convert ─▶ mirror ─┘
//!                     pace, events: when to read
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::few::Few;
use crate::persistent::Map;

mod address;
mod belief;
mod call;
mod convert;
mod cut;
mod docker;
mod events;
mod id;
mod listing;
mod mirror;
mod pace;
mod reader;
mod shape;
mod source;
mod stall;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
mod watch;

pub use address::{Address, AddressError, NoTls};
pub(crate) use call::{CallError, Cause, Method};
pub(crate) use docker::Docker;
pub use id::{NetworkId, NodeId, SecretId, ServiceId, ServiceName, TaskId};
pub use source::{Settings, run};
pub use tls::{Engine, Identity, Tls, TlsError};
pub use watch::wire;

/// A picture, and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The Swarm.
    pub picture: Arc<Picture>,
    /// Where the picture is from.
    pub freshness: Freshness,
    /// How its changes come.
    pub via: Via,
}

/// How changes of the Swarm come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// By reading again and again.
    #[default]
    Polled,
    /// By a manager's watch, the moment they are made.
    Pushed,
}

/// Where a picture is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// An earlier run kept it; nothing has been read since.
    Kept,
    /// It was read in this run. How long ago tells [`Health::staleness`].
    Live,
}

/// How the reading of the Swarm goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The address that is read.
    pub source: String,
    /// The version of the API that was agreed on, such as `1.44`; none before the first answer.
    pub api_version: Option<String>,
    /// When the last complete read ended; none before the first.
    pub last_complete: Option<Instant>,
    /// What the last cycle failed with, and what to do; none if it was complete.
    pub failing: Option<String>,
    /// Why the last complete read is not believed; none if it is.
    pub doubt: Option<String>,
    /// What of the Swarm may not be read, and what to allow; the rest goes on without it.
    pub unread: Option<String>,
    /// How changes come.
    pub via: Via,
    /// Why they are not pushed although they should be, and what to do.
    pub watch_failing: Option<String>,
    /// Watches that ended or did not begin.
    pub watch_failures: u64,
    /// Cycles that were complete.
    pub complete_cycles: u64,
    /// Cycles, or tries to connect, that failed.
    pub failed_cycles: u64,
}

impl Health {
    /// How old the last complete read is; none before the first.
    pub fn staleness(&self, now: Instant) -> Option<Duration> {
        self.last_complete.map(|last| now.saturating_duration_since(last))
    }
}

/// Everything the controller knows of a Swarm at one moment, from reads that all succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// All services, with and without our labels.
    pub services: Map<ServiceId, Service>,
    /// All tasks whose desired state is `running`, whatever their present state.
    pub tasks: Map<TaskId, Task>,
    /// All networks of swarm scope.
    pub networks: Map<NetworkId, Network>,
    /// All nodes.
    pub nodes: Map<NodeId, Node>,
    /// The names of all secrets; none where they are not read. Their data is never read: Docker's
    /// API does not give it.
    pub secrets: Option<Map<String, SecretId>>,
}

/// Whether the names of secrets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They are: somebody has to know which exist.
    Read,
    /// `GET /secrets` is never asked.
    Leave,
}

/// A Swarm service, narrowed to what routing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its ID, never reused.
    pub id: ServiceId,
    /// Its name; unique at any one time.
    pub name: ServiceName,
    /// When it was created, by the manager's clock.
    pub created_at: SystemTime,
    /// `Version.Index`: grows with each write of the service.
    pub version: u64,
    /// The labels of the service (`docker service create --label`, Compose `deploy.labels`).
    pub labels: Few<String, String>,
    /// The `com.docker.lb.*` labels of its containers: a common mistake that deserves a hint.
    pub misplaced_labels: Few<String, String>,
    /// The networks that the service is attached to by its specification, in its order; ingress,
    /// and what is not in [`Picture::networks`] (such as `host`), left out.
    pub networks: Vec<NetworkId>,
    /// Whether it has virtual IPs.
    pub resolution: Resolution,
    /// Its virtual IPs by network. Swarm assigns them a moment after the service is created or
    /// attached to a network.
    pub vips: Few<NetworkId, IpAddr>,
    /// The secrets that are mounted into its tasks.
    pub secrets: Vec<MountedSecret>,
    /// How many tasks it asks for.
    pub scale: Scale,
    /// Whether an update or a rollback is under way.
    pub update: Update,
}

/// A secret as a service's tasks see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedSecret {
    /// The secret's ID.
    pub id: SecretId,
    /// The secret's name.
    pub name: String,
    /// The file that holds it: absolute, or below `/run/secrets`.
    pub target: String,
}

/// How a service's name resolves (`--endpoint-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// `vip`: to a virtual IP on each of its networks.
    VirtualIp,
    /// `dnsrr`: to the addresses of its tasks; it has no virtual IP.
    RoundRobin,
}

/// How many tasks a service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// This many, anywhere.
    Replicated(u64),
    /// One on each eligible node.
    Global,
    /// Tasks that run to completion (`replicated-job`, `global-job`).
    Job,
}

/// Whether Swarm is replacing the tasks of a service right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Update {
    /// `UpdateStatus` is absent, completed or paused.
    Idle,
    /// `UpdateStatus` is `updating` or `rollback_started`.
    Rolling,
}

/// A task whose desired state is `running`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its ID.
    pub id: TaskId,
    /// The service that owns it.
    pub service: ServiceId,
    /// Its number within a replicated service, from 1; none in global mode.
    pub slot: Option<u64>,
    /// Where it was placed; none before it is assigned.
    pub node: Option<NodeId>,
    /// How far it has come.
    pub state: TaskState,
    /// Its address on each of its networks. Known before the container exists.
    pub addresses: Few<NetworkId, IpAddr>,
    /// The secrets that it holds. Those of its service's specification come with a new task.
    #[serde(default)]
    pub secrets: BTreeSet<SecretId>,
}

/// How far a task that should run has come. A stop shows as absence from [`Picture::tasks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// `new` to `starting`, and any state that this version does not know.
    Waiting,
    /// `running`: its process runs, and its health check (if it has one) has passed once.
    Running,
    /// `complete`, `shutdown`, `failed`, `rejected`, `remove` or `orphaned`.
    Ended,
}

/// A network of swarm scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its ID.
    pub id: NetworkId,
    /// Its name; a stack's networks carry the stack's name as prefix.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Traffic between tasks.
    Tasks,
    /// Swarm's own routing mesh: never an endpoint's network.
    Ingress,
}

/// A node of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its ID.
    pub id: NodeId,
    /// The host name it reported.
    pub hostname: String,
}
