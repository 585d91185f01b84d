//! One connection's reads: what was read before is not read, or not parsed, again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{CallError, Cause};
use super::convert::{self, Draft, Names, Versioned};
use super::docker::Docker;
use super::events::Heard;
use super::listing::{Change, Listing, Oddity};
use super::{Network, NetworkId, Node, NodeId, Picture, SecretId, Secrets, Task};
use crate::persistent::Map;

/// Networks, nodes and secrets are read this often even without an event: an event stream can die
/// silently.
const REFRESH: Duration = Duration::from_mins(1);

/// Reads pictures from one connection.
pub(super) struct Reader<'a> {
    docker: &'a Docker,
    /// Until the first read is over, what was known before it: what is equal is shared with that, which
    /// others hold.
    held: Arc<Picture>,
    services: Listing<Draft>,
    tasks: Listing<Versioned<Task>>,
    networks: Map<NetworkId, Network>,
    nodes: Map<NodeId, Node>,
    read_secrets: Secrets,
    secrets: Option<Map<String, SecretId>>,
    /// Why the secrets are not known, although they should be.
    unread: Option<CallError>,
    secret_oddities: Vec<Oddity>,
    /// Targets of services that no network had when the networks were last read.
    unknown: BTreeSet<String>,
    /// The last read was given up: what it had taken is not in the picture.
    unfinished: bool,
    /// The events that networks, nodes and secrets are as new as, and when they were read.
    fresh: Option<(Heard, Instant)>,
    picture: Arc<Picture>,
}

/// What a complete read found, object by object.
pub(super) struct Lists<'a> {
    pub(super) services: &'a [Arc<Draft>],
    pub(super) tasks: &'a [Arc<Versioned<Task>>],
    pub(super) networks: &'a Map<NetworkId, Network>,
    pub(super) nodes: &'a Map<NodeId, Node>,
    pub(super) secrets: Option<&'a Map<String, SecretId>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(docker: &'a Docker, read_secrets: Secrets, held: Arc<Picture>) -> Self {
        Self {
            docker,
            held,
            services: Listing::new("service"),
            tasks: Listing::new("task"),
            networks: Map::default(),
            nodes: Map::default(),
            read_secrets,
            secrets: None,
            unread: None,
            secret_oddities: Vec::new(),
            unknown: BTreeSet::new(),
            unfinished: false,
            fresh: None,
            picture: Arc::default(),
        }
    }

    /// Reads a complete picture, or fails as a whole. The same `Arc` again means that nothing has
    /// changed. `heard` is what the event stream had told before this read. It may be given up, and
    /// another one begun.
    pub(super) async fn read(&mut self, heard: &Heard) -> Result<Arc<Picture>, CallError> {
        let was_given_up = std::mem::replace(&mut self.unfinished, true);
        let (mut services, mut tasks) = (self.services.again(), self.tasks.again());
        let mut names = Names::default();
        let held = &self.held.tasks;
        let mut task = |docker, odd: &mut dyn FnMut(String)| {
            let Versioned { version, object } = convert::task(docker, &mut names, odd)?;
            let equal = held.get_shared(&object.id).filter(|held| **held == object).cloned();
            Ok(Versioned { version, object: equal.unwrap_or(object) })
        };
        tokio::try_join!(
            self.docker.services(|piece| services.take(piece, convert::service)),
            self.docker.tasks(|piece| tasks.take(piece, &mut task)),
        )?;
        let cut = |path, error: serde_json::Error| {
            self.docker.failed(path, Cause::Unreadable(error.to_string()))
        };
        let services = services.end().map_err(|error| cut("/services", error))?;
        let tasks = tasks.end().map_err(|error| cut("/tasks", error))?;
        let (services, tasks) = (self.services.adopt(services), self.tasks.adopt(tasks));
        self.held = Arc::default();
        let others = self.read_others(heard).await?;
        if [services, tasks, others] == [Change::Same; 3] && !was_given_up {
            self.unfinished = false;
            return Ok(Arc::clone(&self.picture));
        }
        let (mut services, mut unknown) = convert::resolve(self.drafts(), &self.networks);
        if !unknown.is_subset(&self.unknown) {
            self.networks = convert::networks(self.docker.networks().await?);
            (services, unknown) = convert::resolve(self.drafts(), &self.networks);
        }
        self.unknown = unknown;
        let services = services.into_iter().map(|(id, service)| (id, Arc::new(service)));
        let services = self.picture.services.following(services.collect());
        let tasks = self.tasks.objects().iter().map(|task| &task.object);
        let tasks = tasks.map(|task| (task.id.clone(), Arc::clone(task)));
        let tasks = self.picture.tasks.following(tasks.collect());
        let (networks, nodes) = (self.networks.clone(), self.nodes.clone());
        let secrets = self.secrets.clone();
        self.picture = Arc::new(Picture { services, tasks, networks, nodes, secrets });
        self.unfinished = false;
        Ok(Arc::clone(&self.picture))
    }

    fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.services.objects().iter().map(|draft| &**draft)
    }

    /// The lists of the last complete read.
    pub(super) fn lists(&self) -> Lists<'_> {
        Lists {
            services: self.services.objects(),
            tasks: self.tasks.objects(),
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
        let lists = self.services.oddities().iter().chain(self.tasks.oddities());
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
    async fn secrets(&mut self) -> Result<Option<Map<String, SecretId>>, CallError> {
        let read = self.docker.secrets().await;
        let (secrets, unread) = match read {
            Ok(body) => {
                let parsed = convert::secrets(&body);
                let unreadable = |error: serde_json::Error| Cause::Unreadable(error.to_string());
                let parsed = parsed.map_err(unreadable);
                let (secrets, odd) =
                    parsed.map_err(|cause| self.docker.failed("/secrets", cause))?;
                self.secret_oddities = odd;
                let pair = |secret: &Arc<(String, SecretId)>| (secret.0.clone(), secret.1.clone());
                (Some(secrets.iter().map(pair).collect()), None)
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
