//! A task, as an engine tells it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

/// A task that Swarm wants to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The task's ID.
    pub id: String,
    /// The ID of its service.
    pub service: String,
    /// The ID of its node; empty before it has one.
    pub node: String,
    /// `running`, or how far it has come.
    pub state: String,
    /// Its container, once it has one.
    pub container: Option<String>,
    /// Its address on each network, by the network's name.
    pub addresses: BTreeMap<String, IpAddr>,
}

/// A task as the engine tells it, of what is used here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EngineTask {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(default, rename = "NodeID")]
    node_id: String,
    status: Status,
    #[serde(default)]
    networks_attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    state: String,
    #[serde(default)]
    container_status: ContainerStatus,
}

#[derive(Default, Deserialize)]
struct ContainerStatus {
    #[serde(default, rename = "ContainerID")]
    container_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    network: Network,
    #[serde(default)]
    addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
}

impl From<EngineTask> for Task {
    fn from(task: EngineTask) -> Self {
        let container = Some(task.status.container_status.container_id);
        let addresses = task.networks_attachments.into_iter().filter_map(|attachment| {
            let address = attachment.addresses.first()?;
            Some((attachment.network.spec.name, without_prefix(address)?))
        });
        Self {
            id: task.id,
            service: task.service_id,
            node: task.node_id,
            state: task.status.state,
            container: container.filter(|id| !id.is_empty()),
            addresses: addresses.collect(),
        }
    }
}

/// The address of `10.0.1.3/24`.
pub(super) fn without_prefix(written: &str) -> Option<IpAddr> {
    written.split('/').next()?.parse().ok()
}
