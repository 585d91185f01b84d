//! What is known of the Envoys that are connected, for status, metrics and log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::status::{Rejection, Status};
use crate::envoy::Kind;
use crate::labels::{self, NodeCluster};

/// How many characters of a client's own words are kept.
const KEPT: usize = 1000;

/// Watches all streams.
#[derive(Debug, Default)]
pub struct Observer {
    seen: Mutex<Seen>,
    opinions: watch::Sender<Arc<Opinions>>,
}

/// What the connected Envoys make of what they were told; Envoys that agree are one.
pub type Opinions = BTreeSet<Opinion>;

/// What a connected Envoy makes of a resource: of each of its listeners and routes, and of each other
/// that it refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opinion {
    /// The Envoy's node cluster.
    pub node_cluster: NodeCluster,
    /// The kind of the resource.
    pub kind: Kind,
    /// The name of the resource.
    pub name: String,
    /// The version that it runs on.
    pub accepted: Option<String>,
    /// The version that it refuses, rejected alone, and why. Gone when it accepts another.
    pub refused: Option<Rejection>,
}

#[derive(Debug, Default)]
struct Seen {
    next: u64,
    envoys: BTreeMap<u64, Envoy>,
    responses: BTreeMap<Kind, Responses>,
    rejections: BTreeMap<Kind, u64>,
}

/// What is known at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The Envoys that are connected, by the time of their connection.
    pub envoys: Vec<Envoy>,
    /// How many responses were sent since the start, by type.
    pub responses: BTreeMap<Kind, Responses>,
    /// How many responses were rejected since the start, by type.
    pub rejections: BTreeMap<Kind, u64>,
}

/// Responses that were sent, by variant of the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Responses {
    /// As delta.
    pub delta: u64,
    /// As state of the world.
    pub state_of_the_world: u64,
}

/// A connected Envoy: one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Envoy {
    /// Its node ID, as it says: empty until its first request, and not always unique.
    pub node: String,
    /// Its node cluster, as it says.
    pub cluster: String,
    /// Where it connects from.
    pub peer: Option<SocketAddr>,
    /// The variant of the protocol that it speaks.
    pub variant: Variant,
    /// How far it follows each type that it asked for.
    pub types: BTreeMap<Kind, Status>,
}

/// A variant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Only what changes is told.
    Delta,
    /// All there is is told.
    StateOfTheWorld,
}

impl Observer {
    /// What is known now.
    pub fn report(&self) -> Report {
        let seen = self.lock();
        Report {
            envoys: seen.envoys.values().cloned().collect(),
            responses: seen.responses.clone(),
            rejections: seen.rejections.clone(),
        }
    }

    /// What the connected Envoys make of what they were told, now and from now on.
    pub fn opinions(&self) -> watch::Receiver<Arc<Opinions>> {
        self.opinions.subscribe()
    }

    /// Notes a new stream. It counts as connected until what is returned is dropped.
    pub(super) fn connect(
        self: &Arc<Self>,
        peer: Option<SocketAddr>,
        variant: Variant,
    ) -> Connection {
        let mut seen = self.lock();
        let id = seen.next;
        seen.next += 1;
        let (node, cluster) = (String::new(), String::new());
        seen.envoys.insert(id, Envoy { node, cluster, peer, variant, types: BTreeMap::new() });
        Connection { observer: self.clone(), id, variant }
    }

    fn tell(&self, seen: &Seen) {
        let opinions: Opinions = seen.envoys.values().flat_map(Envoy::opinions).collect();
        self.opinions.send_if_modified(|last| {
            let differs = **last != opinions;
            *last = Arc::new(opinions);
            differs
        });
    }

    // What is counted here stays true if a thread panicked beside it.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Envoy {
    /// Nothing, if no service can name its node cluster.
    fn opinions(&self) -> impl Iterator<Item = Opinion> {
        let node_cluster = NodeCluster::parse(&self.cluster).ok();
        let types = node_cluster.into_iter().flat_map(|cluster| {
            self.types.iter().map(move |(kind, status)| (cluster.clone(), *kind, status))
        });
        types.flat_map(|(node_cluster, kind, status)| {
            let names: BTreeSet<_> = status.accepted.keys().chain(status.refused.keys()).collect();
            names.into_iter().map(move |name| Opinion {
                node_cluster: node_cluster.clone(),
                kind,
                name: name.clone(),
                accepted: status.accepted.get(name).cloned(),
                refused: status.refused.get(name).cloned(),
            })
        })
    }
}

/// A stream, while it lasts.
#[derive(Debug)]
pub(super) struct Connection {
    observer: Arc<Observer>,
    id: u64,
    variant: Variant,
}

impl Connection {
    /// Notes who the client says it is.
    pub(super) fn introduce(&self, node: &str, cluster: &str) {
        if let Some(envoy) = self.observer.lock().envoys.get_mut(&self.id) {
            envoy.node = printable(node);
            envoy.cluster = printable(cluster);
            tracing::info!(
                node = envoy.node, cluster = envoy.cluster, peer = ?envoy.peer, variant = ?envoy.variant,
                "Envoy connected"
            );
        }
    }

    /// Counts a response that was sent.
    pub(super) fn sent(&self, kind: Kind) {
        let mut seen = self.observer.lock();
        let sent = seen.responses.entry(kind).or_default();
        match self.variant {
            Variant::Delta => sent.delta += 1,
            Variant::StateOfTheWorld => sent.state_of_the_world += 1,
        }
    }

    /// Counts and logs a response that was rejected.
    pub(super) fn rejected(&self, kind: Kind, rejection: &Rejection) {
        let mut seen = self.observer.lock();
        *seen.rejections.entry(kind).or_default() += 1;
        let node = seen.envoys.get(&self.id).map(|envoy| envoy.node.as_str());
        tracing::error!(
            node,
            ?kind,
            version = rejection.version,
            reason = rejection.message,
            "Envoy rejected a response; it keeps what it had"
        );
    }

    /// Notes how far the client follows.
    pub(super) fn follows(&self, types: BTreeMap<Kind, Status>) {
        let mut seen = self.observer.lock();
        let Some(envoy) = seen.envoys.get_mut(&self.id) else { return };
        let before = std::mem::replace(&mut envoy.types, types);
        // Most of what a client acknowledges is nobody's opinion.
        if !says_the_same(&before, &envoy.types) {
            self.observer.tell(&seen);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut seen = self.observer.lock();
        if let Some(envoy) = seen.envoys.remove(&self.id) {
            tracing::info!(node = envoy.node, peer = ?envoy.peer, "Envoy disconnected");
            self.observer.tell(&seen);
        }
    }
}

/// Whether two states of a client make the same opinions.
fn says_the_same(before: &BTreeMap<Kind, Status>, after: &BTreeMap<Kind, Status>) -> bool {
    let same = |(one, other): ((&Kind, &Status), (&Kind, &Status))| {
        one.0 == other.0 && one.1.accepted == other.1.accepted && one.1.refused == other.1.refused
    };
    before.len() == after.len() && before.iter().zip(after).all(same)
}

/// A client's words, cut and without control characters: they may hold what anyone wrote.
pub(super) fn printable(words: &str) -> String {
    labels::printable(words.chars().take(KEPT))
}
