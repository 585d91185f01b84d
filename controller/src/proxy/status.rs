//! What people are told of a proxy service.

use std::collections::BTreeSet;
use std::time::Instant;

use super::plan::Wanted;
use super::{Care, Needs};
use crate::labels::NodeCluster;
use crate::swarm::{NetworkId, Picture, Service};

/// A proxy service, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The node clusters that it serves.
    pub clusters: BTreeSet<NodeCluster>,
    /// Who gives it networks and secrets.
    pub care: Care,
    /// The names of the networks that it is on.
    pub networks: Vec<String>,
    /// The names of the secrets that it mounts.
    pub secrets: Vec<String>,
    /// What it needs and does not have: `network NAME`, `secret NAME`.
    pub pending: Vec<String>,
    /// Updates that this controller has made.
    pub updates: u64,
    /// Tries of this controller to read or update it that failed.
    pub failures: u64,
    /// When this controller last made one; none if it has not.
    pub last_update: Option<Instant>,
    /// What is wrong, and what to do; none if nothing is.
    pub failing: Option<String>,
}

impl Status {
    /// A service that was not seen yet.
    pub(super) fn new(clusters: BTreeSet<NodeCluster>, care: Care) -> Self {
        Self {
            clusters,
            care,
            networks: Vec::new(),
            secrets: Vec::new(),
            pending: Vec::new(),
            updates: 0,
            failures: 0,
            last_update: None,
            failing: None,
        }
    }

    /// What a picture shows of it.
    pub(super) fn show(&mut self, service: Option<&Service>, wanted: &Wanted, picture: &Picture) {
        let name = |id: &NetworkId| {
            picture.networks.get(id).map_or_else(|| id.to_string(), |it| it.name.clone())
        };
        let networks = service.map(|it| it.networks.as_slice()).unwrap_or_default();
        let secrets = service.map(|it| it.secrets.as_slice()).unwrap_or_default();
        self.networks = networks.iter().map(&name).collect();
        self.secrets = secrets.iter().map(|secret| secret.name.clone()).collect();
        let Needs { networks: needed, secrets: needed_secrets } = &wanted.needs;
        let absent = needed.iter().filter(|id| !networks.contains(id));
        let lacking =
            needed_secrets.iter().filter(|name| !secrets.iter().any(|it| it.name == name.as_str()));
        let absent = absent.map(|id| format!("network {}", name(id)));
        self.pending = absent.chain(lacking.map(|name| format!("secret {name}"))).collect();
    }
}
