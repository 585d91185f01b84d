//! Which services belong to which node cluster, in which version.

use std::collections::BTreeMap;

use super::quarantine::Services;
use crate::labels::NodeCluster;
use crate::persistent::Map;
use crate::routing::{Outcome, Routing};
use crate::swarm::{Picture, Service, ServiceId};

/// The services of each node cluster, left out or not, each with its version.
#[derive(Debug, Default)]
pub(super) struct Census {
    outcomes: Map<ServiceId, Outcome>,
    services: Map<ServiceId, Service>,
    clusters: BTreeMap<NodeCluster, Services>,
}

impl Census {
    /// Takes what has changed.
    pub(super) fn take(&mut self, routing: &Routing, picture: &Picture) {
        let outcomes = self.outcomes.changes(&routing.services).map(|change| change.key);
        let services = self.services.changes(&picture.services).map(|change| change.key);
        for id in outcomes.chain(services) {
            let before = self.outcomes.get(id);
            if let Some(services) = before.and_then(|it| self.clusters.get_mut(&it.cluster)) {
                services.remove(id);
            }
            let (outcome, service) = (routing.services.get(id), picture.services.get(id));
            if let (Some(outcome), Some(service)) = (outcome, service) {
                let services = self.clusters.entry(outcome.cluster.clone()).or_default();
                services.insert(id.clone(), service.version);
            }
        }
        self.clusters.retain(|_, services| !services.is_empty());
        self.outcomes = routing.services.clone();
        self.services = picture.services.clone();
    }

    /// The node clusters that a service names.
    pub(super) fn clusters(&self) -> impl Iterator<Item = &NodeCluster> {
        self.clusters.keys()
    }

    /// The services of a node cluster.
    pub(super) fn of(&self, cluster: &NodeCluster) -> Services {
        self.clusters.get(cluster).cloned().unwrap_or_default()
    }
}
