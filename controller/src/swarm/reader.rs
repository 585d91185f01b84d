//! One connection's reads: what was read before is not read, or not parsed, again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{CallError, Cause};
use super::convert::{self, Draft, Oddity, Sifted, Versioned};
use super::docker::Docker;
use super::events::Heard;
use super::{Network, NetworkId, Node, NodeId, Picture, SecretId, Secrets, Task};

/// Networks, nodes and secrets are read this often even without an event: an event stream can die
/// silently.
const REFRESH: Duration = Duration::from_mins(1);

/// Reads pictures from one connection.
pub(super) struct Reader<'a> {
    docker: &'a Docker,
    services: Parsed<Draft>,
    tasks: Parsed<Versioned<Task>>,
    networks: BTreeMap<NetworkId, Network>,
    nodes: BTreeMap<NodeId, Node>,
    read_secrets: Secrets,
    secrets: Option<BTreeMap<String, SecretId>>,
    /// Why the secrets are not known, although they should be.
    unread: Option<CallError>,
    secret_oddities: Vec<Oddity>,
    /// Targets of services that no network had when the networks were last read.
    unknown: BTreeSet<String>,
    /// The events that networks, nodes and secrets are as new as, and when they were read.
    fresh: Option<(Heard, Instant)>,
    picture: Arc<Picture>,
}

/// What a complete read found, object by object.
pub(super) struct Lists<'a> {
    pub(super) services: &'a [Draft],
    pub(super) tasks: &'a [Versioned<Task>],
    pub(super) networks: &'a BTreeMap<NetworkId, Network>,
    pub(super) nodes: &'a BTreeMap<NodeId, Node>,
    pub(super) secrets: Option<&'a BTreeMap<String, SecretId>>,
}

/// A list, and the hash of the body that it came from: not the body, which carries secrets.
struct Parsed<T> {
    hash: Option<u64>,
    list: Vec<T>,
    oddities: Vec<Oddity>,
}

/// Whether a read showed anything but the same again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    New,
}

impl<'a> Reader<'a> {
    pub(super) fn new(docker: &'a Docker, read_secrets: Secrets) -> Self {
        Self {
            docker,
            services: Parsed::new(),
            tasks: Parsed::new(),
            networks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            read_secrets,
            secrets: None,
            unread: None,
            secret_oddities: Vec::new(),
            unknown: BTreeSet::new(),
            fresh: None,
            picture: Arc::default(),
        }
    }

    /// Reads a complete picture, or fails as a whole. The same `Arc` again means that nothing has
    /// changed. `heard` is what the event stream had told before this read.
    pub(super) async fn read(&mut self, heard: &Heard) -> Result<Arc<Picture>, CallError> {
        let (services, tasks) = tokio::try_join!(self.docker.services(), self.docker.tasks())?;
        let services = self.services.take(&services, convert::services);
        let services = services.map_err(|cause| self.docker.failed("/services", cause))?;
        let tasks = self.tasks.take(&tasks, convert::tasks);
        let tasks = tasks.map_err(|cause| self.docker.failed("/tasks", cause))?;
        let others = self.read_others(heard).await?;
        if [services, tasks, others] == [Change::Same; 3] {
            return Ok(Arc::clone(&self.picture));
        }
        let (mut services, mut unknown) = convert::resolve(&self.services.list, &self.networks);
        if !unknown.is_subset(&self.unknown) {
            self.networks = convert::networks(self.docker.networks().await?);
            (services, unknown) = convert::resolve(&self.services.list, &self.networks);
        }
        self.unknown = unknown;
        let tasks = self.tasks.list.iter().map(|task| &task.object);
        let tasks = tasks.map(|task| (task.id.clone(), task.clone())).collect();
        let (networks, nodes) = (self.networks.clone(), self.nodes.clone());
        let secrets = self.secrets.clone();
        self.picture = Arc::new(Picture { services, tasks, networks, nodes, secrets });
        Ok(Arc::clone(&self.picture))
    }

    /// The lists of the last complete read.
    pub(super) fn lists(&self) -> Lists<'_> {
        Lists {
            services: &self.services.list,
            tasks: &self.tasks.list,
            networks: &self.networks,
            nodes: &self.nodes,
            secrets: self.secrets.as_ref(),
        }
    }

    /// Lets the next read ask for everything, whatever events have told.
    pub(super) fn forget_others(&mut self) {
        self.fresh = None;
    }

    /// What is odd in the lists as they were last read.
    pub(super) fn oddities(&self) -> impl Iterator<Item = &Oddity> {
        let lists = self.services.oddities.iter().chain(&self.tasks.oddities);
        lists.chain(&self.secret_oddities)
    }

    /// Why the secrets are not in the picture, although they were asked for.
    pub(super) fn unread(&self) -> Option<&CallError> {
        self.unread.as_ref()
    }

    /// Reads networks, nodes and secrets where an event says so, or time.
    async fn read_others(&mut self, heard: &Heard) -> Result<Change, CallError> {
        let fresh = self.fresh.as_ref().filter(|(_, read_at)| read_at.elapsed() < REFRESH);
        let networks_due = fresh.is_none_or(|(fresh, _)| fresh.networks != heard.networks);
        let nodes_due = fresh.is_none_or(|(fresh, _)| fresh.nodes != heard.nodes);
        let secrets_due = fresh.is_none_or(|(fresh, _)| fresh.secrets != heard.secrets);
        let read_at = fresh.map_or_else(Instant::now, |(_, read_at)| *read_at);
        let mut change = Change::Same;
        if networks_due {
            let networks = convert::networks(self.docker.networks().await?);
            change = replace(&mut self.networks, networks, change);
        }
        if nodes_due {
            let nodes = convert::nodes(self.docker.nodes().await?);
            change = replace(&mut self.nodes, nodes, change);
        }
        if secrets_due && self.read_secrets == Secrets::Read {
            let secrets = self.secrets().await?;
            change = replace(&mut self.secrets, secrets, change);
        }
        self.fresh = Some((heard.clone(), read_at));
        Ok(change)
    }

    /// The secrets; none where a socket proxy keeps them to itself, which must not cost the rest.
    async fn secrets(&mut self) -> Result<Option<BTreeMap<String, SecretId>>, CallError> {
        let read = self.docker.secrets().await;
        let (secrets, unread) = match read {
            Ok(body) => {
                let parsed = convert::secrets(&body);
                let unreadable = |error: serde_json::Error| Cause::Unreadable(error.to_string());
                let parsed = parsed.map_err(unreadable);
                let (secrets, odd) =
                    parsed.map_err(|cause| self.docker.failed("/secrets", cause))?;
                self.secret_oddities = odd;
                (Some(secrets.into_iter().collect()), None)
            }
            Err(error) if error.cause.is_refusal() => (None, Some(error)),
            Err(error) => return Err(error),
        };
        self.unread = unread;
        Ok(secrets)
    }
}

fn replace<T: PartialEq>(known: &mut T, read: T, change: Change) -> Change {
    if *known == read {
        return change;
    }
    *known = read;
    Change::New
}

impl<T> Parsed<T> {
    fn new() -> Self {
        Self { hash: None, list: Vec::new(), oddities: Vec::new() }
    }

    /// Takes a body, and parses it if it is not the last one again.
    fn take(
        &mut self,
        body: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<Sifted<T>, serde_json::Error>,
    ) -> Result<Change, Cause> {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let hash = Some(hasher.finish());
        if self.hash == hash {
            return Ok(Change::Same);
        }
        let (list, oddities) = parse(body).map_err(|error| Cause::Unreadable(error.to_string()))?;
        *self = Self { hash, list, oddities };
        Ok(Change::New)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_equal_to_the_last_is_not_parsed() {
        let mut list = Parsed::new();
        let mut parses = 0;
        for (body, change) in [
            ("[]", Change::New),
            ("[]", Change::Same),
            ("[ ]", Change::New),
            ("[]", Change::New),
            ("[]", Change::Same),
        ] {
            let taken = list.take(body.as_bytes(), |body| {
                parses += 1;
                convert::tasks(body)
            });
            assert!(taken == Ok(change), "{body:?}");
        }
        assert_eq!(parses, 3);
    }

    #[test]
    fn a_body_that_cannot_be_read_is_tried_again() {
        let mut parsed = Parsed::new();
        for _ in 0..2 {
            assert!(parsed.take(b"[{", convert::tasks).is_err());
        }
    }
}
