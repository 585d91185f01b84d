//! A service as `GET /services/{name}` shows it: of its specification only what is cared for is
//! read, and all of it is kept as text.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Needs, json};
use crate::swarm::{NetworkId, SecretId, ServiceName};

/// Where the service's specification keeps its networks.
pub(super) const NETWORKS: &[&str] = &["TaskTemplate", "Networks"];
/// Where clients before API 1.25 kept them; it counts only where the other is empty.
const OLD_NETWORKS: &[&str] = &["Networks"];
/// Where it keeps its secrets.
pub(super) const SECRETS: &[&str] = &["TaskTemplate", "ContainerSpec", "Secrets"];
/// The label by which every controller knows what controllers have attached, and may detach.
pub(super) const OURS: &[&str] = &["Labels", "waggle.managed"];

/// One state of a service. Its specification carries its owner's secrets: it is never shown.
pub(super) struct Revision {
    /// The service's name.
    pub(super) name: ServiceName,
    /// `Version.Index`: a write has to name it, and fails where it is no longer the last.
    pub(super) version: u64,
    /// `Spec`, as Docker wrote it.
    pub(super) spec: String,
    /// What became of the last update.
    pub(super) rollout: Rollout,
}

/// What became of a service's last update. The texts are Swarm's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rollout {
    /// There was none, or it is complete.
    Settled,
    /// Tasks are being replaced.
    Rolling,
    /// Swarm stopped it: new tasks fail.
    Paused(String),
    /// The specification is the one before the update again, by Swarm or by hand.
    RolledBack(String),
}

/// What a service is attached to.
pub(super) struct Attached<'a> {
    /// Its networks, by ID or name, each with its text.
    pub(super) networks: Vec<(NetworkId, &'a str)>,
    /// Its secrets.
    pub(super) secrets: Vec<Mount<'a>>,
    /// What of it controllers have attached, as the label tells.
    pub(super) ours: Needs,
}

/// A secret of a service.
pub(super) struct Mount<'a> {
    pub(super) id: SecretId,
    pub(super) name: String,
    /// The file below `/run/secrets`, or an absolute path elsewhere; none where it is no file.
    pub(super) file: Option<String>,
    /// Its text.
    pub(super) text: &'a str,
}

impl Revision {
    /// Reads the answer of `GET /services/{name}`.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let service: DockerService<'_> = serde_json::from_slice(body)?;
        let spec = service.spec.get();
        let named: DockerNamed = serde_json::from_str(spec)?;
        let DockerUpdate { state, message } = service.update_status.unwrap_or_default();
        let rollout = match state.as_deref() {
            Some("updating") => Rollout::Rolling,
            Some("paused") => Rollout::Paused(message),
            Some(rollback) if rollback.starts_with("rollback") => Rollout::RolledBack(message),
            _ => Rollout::Settled,
        };
        let name = ServiceName::new(named.name);
        Ok(Self { name, version: service.version.index, spec: spec.to_owned(), rollout })
    }

    /// What the service is attached to.
    pub(super) fn attached(&self) -> Result<Attached<'_>, serde_json::Error> {
        let mut targets = elements(&self.spec, NETWORKS)?;
        if targets.is_empty() {
            targets = elements(&self.spec, OLD_NETWORKS)?;
        }
        let networks = targets.into_iter().map(|text| {
            let target: DockerTarget = serde_json::from_str(text)?;
            Ok((NetworkId::new(target.target), text))
        });
        let secrets = elements(&self.spec, SECRETS)?.into_iter().map(|text| {
            let mount: DockerMount = serde_json::from_str(text)?;
            let file = mount.file.map(|file| file.name);
            Ok(Mount { id: SecretId::new(mount.secret_id), name: mount.secret_name, file, text })
        });
        Ok(Attached {
            networks: networks.collect::<Result<_, serde_json::Error>>()?,
            secrets: secrets.collect::<Result<_, serde_json::Error>>()?,
            ours: self.ours(),
        })
    }

    /// A hash of what controllers never touch: another one means that the owner was here.
    pub(super) fn owners_part(&self) -> u64 {
        let mut spec: Value = serde_json::from_str(&self.spec).unwrap_or_default();
        for path in [NETWORKS, SECRETS, OURS] {
            let Some((last, way)) = path.split_last() else { continue };
            let parent = way.iter().try_fold(&mut spec, |parent, key| parent.get_mut(key));
            parent.and_then(Value::as_object_mut).and_then(|parent| parent.remove(*last));
        }
        let mut hasher = DefaultHasher::new();
        spec.hash(&mut hasher);
        hasher.finish()
    }

    /// What the label tells; nothing where it is not there, or not as a controller writes it.
    fn ours(&self) -> Needs {
        let label = json::get(&self.spec, OURS).ok().flatten();
        let text: Option<String> = label.and_then(|label| serde_json::from_str(label).ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

/// The texts of a list's elements; none where there is no list.
fn elements<'a>(spec: &'a str, path: &[&str]) -> Result<Vec<&'a str>, serde_json::Error> {
    let Some(list) = json::get(spec, path)? else { return Ok(Vec::new()) };
    let elements: Vec<&RawValue> = serde_json::from_str(list)?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerService<'a> {
    version: DockerVersion,
    #[serde(borrow)]
    spec: &'a RawValue,
    update_status: Option<DockerUpdate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerVersion {
    index: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerUpdate {
    state: Option<String>,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerNamed {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerTarget {
    target: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerMount {
    #[serde(rename = "SecretID")]
    secret_id: String,
    secret_name: String,
    file: Option<DockerNamed>,
}
