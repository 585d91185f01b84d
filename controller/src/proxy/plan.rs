//! What to change of a proxy service, if anything: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::revision::{Attached, Mount, NETWORKS, OURS, Revision, SECRETS};
use super::{Needs, json as text};
use crate::labels::SecretName;
use crate::swarm::{NetworkId, Picture, Purpose, SecretId};

/// Who may read a mounted secret's file, as `docker service update --secret-add` has it: all.
const MODE: u32 = 0o444;

/// What is needed, with what is known of it. What does not exist cannot be attached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) needs: Needs,
    /// The names of the needed networks that exist.
    pub(super) networks: BTreeMap<NetworkId, String>,
    /// The IDs of the needed secrets that exist.
    pub(super) secrets: BTreeMap<SecretName, SecretId>,
}

impl Wanted {
    /// Looks the needs up in a picture.
    pub(super) fn new(needs: Needs, picture: &Picture) -> Self {
        let networks = needs.networks.iter().filter_map(|id| {
            let network = picture.networks.get(id).filter(|it| it.purpose == Purpose::Tasks)?;
            Some((id.clone(), network.name.clone()))
        });
        let known = picture.secrets.as_ref();
        let secrets = needs
            .secrets
            .iter()
            .filter_map(|name| Some((name.clone(), known?.get(name.as_str())?.clone())));
        Self { networks: networks.collect(), secrets: secrets.collect(), needs }
    }
}

/// Something that a proxy was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Network(NetworkId),
    Secret(SecretName),
}

impl fmt::Display for Item {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(id) => write!(out, "network {id}"),
            Self::Secret(name) => write!(out, "secret {name}"),
        }
    }
}

impl Needs {
    /// Each of it.
    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        let networks = self.networks.iter().cloned().map(Item::Network);
        networks.chain(self.secrets.iter().cloned().map(Item::Secret))
    }

    /// Without these.
    fn without(mut self, items: &BTreeSet<Item>) -> Self {
        self.networks.retain(|id| !items.contains(&Item::Network(id.clone())));
        self.secrets.retain(|name| !items.contains(&Item::Secret(name.clone())));
        self
    }
}

/// Since when attached things are without need, as far as this process has seen.
pub(super) type Unneeded = BTreeMap<Item, Instant>;

/// What to do with a proxy service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// It has what it needs.
    Nothing,
    /// It has more than it needs; look again then.
    Until(Instant),
    /// It is to be updated.
    Update(Update),
}

/// One update of a proxy service.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// The whole new specification. It carries its owner's secrets.
    pub(super) spec: String,
    /// What it attaches.
    pub(super) attached: Needs,
    /// What it detaches.
    pub(super) detached: Needs,
}

impl Update {
    /// Everything that it attaches or detaches.
    pub(super) fn items(&self) -> BTreeSet<Item> {
        self.attached.items().chain(self.detached.items()).collect()
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec: _, attached, detached } = self;
        let mut out = out.debug_struct("Update");
        out.field("attached", attached).field("detached", detached).finish_non_exhaustive()
    }
}

/// Plans for one state of a service. `unneeded` is what was noted before; what is to be noted now
/// is returned. What is refused is neither attached nor detached. Needed secrets that cannot be
/// mounted, because another has their file, are told.
///
/// Equal arguments give equal plans, and a service that was updated as planned needs nothing more:
/// several controllers may plan for one service.
pub(super) fn plan(
    revision: &Revision,
    wanted: &Wanted,
    unneeded: &Unneeded,
    refused: &BTreeSet<Item>,
    grace: Duration,
    now: Instant,
) -> Result<(Plan, Unneeded, BTreeSet<SecretName>), serde_json::Error> {
    let attached = revision.attached()?;
    let (missing, blocked) = missing(&attached, wanted);
    let missing = missing.without(refused);
    let unneeded: Unneeded = spare(&attached, &wanted.needs)
        .map(|item| (item.clone(), unneeded.get(&item).copied().unwrap_or(now)))
        .collect();
    let spare = || unneeded.iter().filter(|(item, _)| !refused.contains(item));
    let overdue = |since: &Instant| now.saturating_duration_since(*since) >= grace;
    let mut detached = Needs::default();
    for (item, _) in spare().filter(|(_, since)| overdue(since)) {
        match item.clone() {
            Item::Network(id) => drop(detached.networks.insert(id)),
            Item::Secret(name) => drop(detached.secrets.insert(name)),
        }
    }
    let plan = if missing == Needs::default() && detached == Needs::default() {
        let next = spare().map(|(_, since)| since).min();
        let next = next.and_then(|since| since.checked_add(grace));
        next.map_or(Plan::Nothing, Plan::Until)
    } else {
        let spec = edit(&revision.spec, &attached, wanted, &missing, &detached)?;
        Plan::Update(Update { spec, attached: missing, detached })
    };
    Ok((plan, unneeded, blocked))
}

/// What is needed, exists and is not attached; and the secrets whose file another secret has.
fn missing(attached: &Attached<'_>, wanted: &Wanted) -> (Needs, BTreeSet<SecretName>) {
    let networks = wanted.networks.iter().filter(|(id, name)| {
        let is = |target: &NetworkId| target == *id || target.as_str() == name.as_str();
        !attached.networks.iter().any(|(target, _)| is(target))
    });
    let networks = networks.map(|(id, _)| id.clone()).collect();
    let secrets = wanted.secrets.iter().filter(|(_, id)| {
        !attached.secrets.iter().any(|mount| mount.id == **id && mount.file.is_some())
    });
    let taken = |name: &SecretName| attached.secrets.iter().any(|mount| mount.takes(name));
    let (blocked, secrets) = secrets.map(|(name, _)| name.clone()).partition(taken);
    (Needs { networks, secrets }, blocked)
}

impl Mount<'_> {
    /// Whether it has the file that this secret would have.
    fn takes(&self, name: &SecretName) -> bool {
        let file = self.file.as_deref().map(|file| file.trim_start_matches("/run/secrets/"));
        file == Some(name.as_str())
    }

    /// Whether it is this secret where a controller mounts it; its owner may mount it elsewhere.
    fn is_ours(&self, name: &SecretName) -> bool {
        self.name == name.as_str() && self.takes(name)
    }
}

/// What controllers have attached, is attached still, and is not needed.
fn spare(attached: &Attached<'_>, needs: &Needs) -> impl Iterator<Item = Item> {
    let Needs { networks, secrets } = held(attached);
    let networks = networks.into_iter().filter(|id| !needs.networks.contains(id));
    let secrets = secrets.into_iter().filter(|name| !needs.secrets.contains(name));
    networks.map(Item::Network).chain(secrets.map(Item::Secret))
}

/// What controllers have attached and is attached still.
fn held(attached: &Attached<'_>) -> Needs {
    let mut ours = attached.ours.clone();
    ours.networks.retain(|id| attached.networks.iter().any(|(target, _)| target == id));
    ours.secrets.retain(|name| attached.secrets.iter().any(|mount| mount.is_ours(name)));
    ours
}

/// The new specification: the lists that change, and the label that tells what is ours.
fn edit(
    spec: &str,
    attached: &Attached<'_>,
    wanted: &Wanted,
    missing: &Needs,
    detached: &Needs,
) -> Result<String, serde_json::Error> {
    let mut spec = spec.to_owned();
    if !missing.networks.is_empty() || !detached.networks.is_empty() {
        let kept = attached.networks.iter().filter(|(id, _)| !detached.networks.contains(id));
        let new: Vec<String> = missing.networks.iter().map(network).collect();
        let all = kept.map(|(_, text)| *text).chain(new.iter().map(String::as_str));
        spec = text::set(&spec, NETWORKS, &text::list(all))?;
    }
    if !missing.secrets.is_empty() || !detached.secrets.is_empty() {
        let goes = |mount: &Mount<'_>| detached.secrets.iter().any(|name| mount.is_ours(name));
        let kept = attached.secrets.iter().filter(|mount| !goes(mount));
        let known = wanted.secrets.iter().filter(|(name, _)| missing.secrets.contains(name));
        let new: Vec<String> = known.map(|(name, id)| secret(name, id)).collect();
        let all = kept.map(|mount| mount.text).chain(new.iter().map(String::as_str));
        spec = text::set(&spec, SECRETS, &text::list(all))?;
    }
    let mut ours = held(attached);
    ours.networks.retain(|id| !detached.networks.contains(id));
    ours.secrets.retain(|name| !detached.secrets.contains(name));
    ours.networks.extend(missing.networks.iter().cloned());
    ours.secrets.extend(missing.secrets.iter().cloned());
    let label = Value::from(serde_json::to_string(&ours)?);
    text::set(&spec, OURS, &label.to_string())
}

fn network(id: &NetworkId) -> String {
    json!({"Target": id}).to_string()
}

fn secret(name: &SecretName, id: &SecretId) -> String {
    let file = json!({"Name": name, "UID": "0", "GID": "0", "Mode": MODE});
    json!({"File": file, "SecretID": id, "SecretName": name}).to_string()
}

#[cfg(test)]
mod tests;
