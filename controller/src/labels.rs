//! One service's labels → what it asks for ([`Intent`]), and every [`Problem`] on the way.
//!
//! The rules are the label contract's (`docs/labels.md`). Nothing here looks at a second service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::swarm::{NetworkId, ServiceId, ServiceName};

mod problem;
mod value;

pub use problem::{Code, Problem, Severity};
pub use value::{CookieName, HostPattern, Port};

/// What every key of ours begins with.
pub const PREFIX: &str = "com.docker.lb.";

/// What one service asks for: its labels, parsed and made whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The service's ID.
    pub service: ServiceId,
    /// The service's name.
    pub name: ServiceName,
    /// When the service was created: decides between claimants without an incumbent.
    pub created_at: SystemTime,
    /// What it wants to answer for; never empty.
    pub claims: BTreeSet<Claim>,
    /// The container port of its tasks, or of its VIP.
    pub port: Port,
    /// The network whose addresses become endpoints.
    pub network: NetworkId,
    /// Where its requests go.
    pub backend: Backend,
}

/// What a service wants to answer for: the key of ownership.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Claim {
    /// Requests for a host, or for all hosts under a suffix (`hosts`).
    Host(HostPattern),
    /// Requests for every host that nobody claims (`default_backend`).
    AnyOther,
}

/// Where the requests of a service go (`backend_mode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// To its running tasks.
    Tasks(Affinity),
    /// To its one virtual IP on the chosen network; Swarm balances from there.
    Vip(IpAddr),
}

/// Whether the requests of a session go to the same task (`sticky_session_cookie`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Affinity {
    /// Each request goes anywhere.
    None,
    /// The application's cookie of this name marks a session, which stays on its task.
    Cookie(CookieName),
}
