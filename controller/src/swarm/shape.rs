//! Docker's JSON, narrowed to what Waggle reads; every other field is skipped undecoded.
//!
//! What Docker leaves out or writes as `null` is an `Option`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerService {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) version: DockerVersion,
    pub(super) created_at: String,
    pub(super) spec: DockerSpec,
    pub(super) endpoint: Option<DockerEndpoint>,
    pub(super) update_status: Option<DockerUpdate>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerVersion {
    pub(super) index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerSpec {
    pub(super) name: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) task_template: Option<DockerTemplate>,
    /// Where clients before API 1.25 wrote the networks.
    pub(super) networks: Option<Vec<DockerTarget>>,
    pub(super) mode: Option<DockerMode>,
    pub(super) endpoint_spec: Option<DockerEndpointSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerEndpointSpec {
    pub(super) mode: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerTemplate {
    pub(super) container_spec: Option<DockerContainer>,
    pub(super) networks: Option<Vec<DockerTarget>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerContainer {
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) secrets: Option<Vec<DockerMount>>,
}

/// A secret as a container sees it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerMount {
    #[serde(rename = "SecretID")]
    pub(super) secret_id: String,
    pub(super) secret_name: String,
    /// Absent where it is no file but for a plugin.
    pub(super) file: Option<DockerFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerFile {
    pub(super) name: String,
}

/// A secret of the Swarm. Its labels are its owner's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerSecret {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) spec: DockerNamed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerNamed {
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerTarget {
    pub(super) target: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerMode {
    pub(super) replicated: Option<DockerReplicated>,
    pub(super) global: Option<IgnoredAny>,
    pub(super) replicated_job: Option<IgnoredAny>,
    pub(super) global_job: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerReplicated {
    pub(super) replicas: Option<u64>,
}

#[derive(Default, Deserialize)]
pub(super) struct DockerEndpoint {
    #[serde(rename = "VirtualIPs")]
    pub(super) virtual_ips: Option<Vec<DockerVip>>,
}

#[derive(Deserialize)]
pub(super) struct DockerVip {
    #[serde(rename = "NetworkID", default)]
    pub(super) network_id: String,
    #[serde(rename = "Addr", default)]
    pub(super) addr: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerUpdate {
    pub(super) state: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerTask {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) version: DockerVersion,
    #[serde(rename = "ServiceID")]
    pub(super) service_id: String,
    pub(super) slot: Option<u64>,
    #[serde(rename = "NodeID")]
    pub(super) node_id: Option<String>,
    pub(super) status: Option<DockerStatus>,
    pub(super) networks_attachments: Option<Vec<DockerAttachment>>,
    pub(super) spec: Option<DockerTaskSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerTaskSpec {
    pub(super) container_spec: Option<DockerHeld>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerHeld {
    pub(super) secrets: Option<Vec<DockerMount>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerStatus {
    pub(super) state: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerAttachment {
    pub(super) network: Option<DockerAttached>,
    pub(super) addresses: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct DockerAttached {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

/// What an engine tells of itself.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerInfo {
    pub(super) swarm: Option<DockerMember>,
}

/// What a member of a Swarm tells of it; only a manager knows the cluster.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerMember {
    pub(super) cluster: Option<DockerCluster>,
}

#[derive(Deserialize)]
pub(super) struct DockerCluster {
    #[serde(rename = "TLSInfo")]
    pub(super) tls_info: Option<DockerTrust>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerTrust {
    pub(super) trust_root: Option<String>,
}
