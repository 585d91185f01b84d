//! One stream: in which order a client hears of changes.
//!
//! Make before break. A change goes out as
//!
//! ```text
//! clusters ─▶ their endpoints ─▶ (clusters acknowledged: they are warm) ─▶ listeners ─▶ routes
//!                                       ─▶ (listeners and routes acknowledged) ─▶ clusters that go
//! ```
//!
//! Secrets and extensions wait for nothing, as clusters and listeners may wait for them. Endpoints
//! wait for nothing either, so that a task that stops is gone at once. Secrets and routes that go wait
//! until nothing uses them. Hosts follow their routes ([`hosts`]). Envoy's own page on this is
//! "Eventual consistency considerations" of its xDS protocol.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::message::{Names, Request, Response};
use super::snapshot::Snapshot;
use super::status::{Rejection, Status};
use crate::envoy::Kind;

mod holdings;
mod hosts;
mod interest;
mod offer;
mod rejected;
mod subscription;

use offer::{Change, Changes, Lingering};
use subscription::Subscription;

/// One client's stream, of either variant.
#[derive(Debug)]
pub(super) struct Stream {
    subscriptions: BTreeMap<Kind, Subscription>,
    /// The newest snapshot that the stream has seen.
    newest: Option<Arc<Snapshot>>,
    lingering: Lingering,
    nonces: Nonces,
}

/// Names responses. No two streams have one in common, of any controller.
#[derive(Debug)]
struct Nonces {
    prefix: String,
    next: u64,
}

/// A request that ends its stream.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    /// An aggregated stream serves many types: each request must name its own.
    #[error("the request names no type_url")]
    NoType,
}

/// What a request told, beside what its client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing of note.
    Nothing,
    /// We serve no such type; there will be no answer.
    UnknownType,
    /// The client rejects a response of this type.
    Rejected(Kind, Rejection),
}

impl Stream {
    /// A stream without any request yet. `prefix` must be its own, on every controller.
    pub(super) fn new(prefix: String) -> Self {
        Self {
            subscriptions: BTreeMap::new(),
            newest: None,
            lingering: Lingering::default(),
            nonces: Nonces { prefix, next: 1 },
        }
    }

    /// Takes a request.
    pub(super) fn request(&mut self, request: Request) -> Result<Heard, Refused> {
        if request.type_url.is_empty() {
            return Err(Refused::NoType);
        }
        let kind = Kind::of_type_url(&request.type_url);
        let kind = match request.names {
            Names::Delta { .. } => kind,
            Names::Whole(_) => kind.and_then(Kind::in_state_of_the_world),
        };
        let Some(kind) = kind else { return Ok(Heard::UnknownType) };
        let newest = self.newest.clone().unwrap_or_default();
        let there_are = newest.of(kind);
        if let Some(subscription) = self.subscriptions.get_mut(&kind) {
            let rejection = subscription.hear(request, there_are);
            return Ok(rejection.map_or(Heard::Nothing, |reason| Heard::Rejected(kind, reason)));
        }
        let inherits =
            matches!(&request.names, Names::Delta { initial, .. } if !initial.is_empty());
        self.subscriptions.insert(kind, Subscription::open(kind, request.names, there_are));
        // Who holds nothing is told of all anyway.
        if kind == Kind::Endpoints && inherits {
            let warming = self.subscriptions.get(&Kind::Cluster).map(Subscription::outstanding);
            let warming: Vec<_> = warming.into_iter().flatten().cloned().collect();
            send_endpoints_of(&mut self.subscriptions, warming.iter());
        }
        Ok(Heard::Nothing)
    }

    /// The next response that brings the client nearer to the newest snapshot. `None`: there is
    /// nothing to say until the client answers or the snapshot changes.
    pub(super) fn next(&mut self, newest: &Arc<Snapshot>) -> Option<Response> {
        self.adopt(newest);
        Kind::ALL.into_iter().find_map(|kind| self.answer(kind, newest))
    }

    /// How far the client follows, by type that it asked for.
    pub(super) fn status(&self) -> BTreeMap<Kind, Status> {
        let each = self.subscriptions.iter();
        each.map(|(kind, subscription)| (*kind, subscription.status())).collect()
    }

    /// Heads for this snapshot.
    fn adopt(&mut self, newest: &Arc<Snapshot>) {
        let last = self.newest.replace(newest.clone());
        if let Some(last) = last.filter(|last| !Arc::ptr_eq(last, newest)) {
            let clusters = self.subscriptions.get(&Kind::Cluster);
            let may_hold = |name: &str| clusters.is_some_and(|clusters| clusters.may_hold(name));
            self.lingering.keep(&last, newest, may_hold);
        }
        for (kind, subscription) in &mut self.subscriptions {
            subscription.look(self.lingering.offer(*kind, newest));
        }
        if self.routes_are_settled(newest) {
            self.lingering.end();
        }
    }

    /// The response of this type whose turn it is.
    fn answer(&mut self, kind: Kind, newest: &Snapshot) -> Option<Response> {
        let offer = self.lingering.offer(kind, newest);
        let subscription = self.subscriptions.get_mut(&kind)?;
        if subscription.is_waiting() {
            return None;
        }
        subscription.release(offer);
        let subscription = self.subscriptions.get(&kind)?;
        let changes = subscription.changes(offer);
        let is_current = changes.is_empty() && offer.is_newest();
        let due = subscription.part_of(self.due(kind, changes, newest)?);
        let is_owed = subscription.is_owed() || self.must_be_heard_first(kind, newest);

        let subscription = self.subscriptions.get_mut(&kind)?;
        if due.is_empty() && !is_owed {
            if is_current {
                subscription.keep_up(newest.version(kind));
            }
            return None;
        }
        let names = due.iter().map(Change::name);
        let in_doubt: Vec<_> = match kind {
            Kind::Routes => names.filter(|it| subscription.is_in_doubt(it)).cloned().collect(),
            _ => Vec::new(),
        };
        let response = subscription.tell(&due, offer, newest.version(kind), self.nonces.next());
        match kind {
            Kind::Cluster => {
                send_endpoints_of(&mut self.subscriptions, due.iter().map(Change::name));
            }
            Kind::Routes => self.send_hosts_of(&in_doubt, newest),
            _ => {}
        }
        Some(response)
    }

    /// Those of the changes of a type whose turn it is. `None`: no response of that type may go.
    fn due<'a>(
        &self,
        kind: Kind,
        mut changes: Changes<'a>,
        newest: &Snapshot,
    ) -> Option<Changes<'a>> {
        if kind == Kind::VirtualHost {
            if self.routes_come_first() {
                return None;
            }
            let is_turn = self.turn_of_hosts(newest);
            changes.retain(|change| is_turn(change.name(), change.is_there()));
        }
        // A client that did not ask for clusters has none to wait for.
        let Some(clusters) = self.subscriptions.get(&Kind::Cluster) else {
            return Some(changes);
        };
        // To a cluster that the client refuses there is nothing to wait for: routes to it answer 503,
        // and hold up no other.
        let is_settled = |cluster: &str| {
            clusters.holds(cluster) || clusters.refuses(cluster) || !clusters.wants(cluster)
        };
        // Who holds all clusters holds each that is named.
        let holds_all = LazyCell::new(|| self.follows(Kind::Cluster, newest));
        let is_reachable =
            |name: &Arc<str>| *holds_all || newest.clusters_of(kind, name).all(is_settled);
        match kind {
            Kind::Cluster => {
                let may_go = clusters.was_answered() && self.routes_are_settled(newest);
                changes
                    .retain(|change| change.is_there() || may_go || !clusters.holds(change.name()));
            }
            Kind::Endpoints => {
                let holds =
                    |name: &str| self.subscriptions.get(&kind).is_some_and(|it| it.holds(name));
                changes.retain(|change| match change {
                    Change::There(_) => true,
                    Change::Gone(name) => !holds(name) || !clusters.may_hold(name),
                });
            }
            Kind::Secret => {
                let users = [Kind::Cluster, Kind::Listener];
                let are_free = || users.into_iter().all(|user| self.follows(user, newest));
                changes.retain(|change| change.is_there() || are_free());
            }
            Kind::Extension => {}
            Kind::Listener => {
                // State of the world tells all listeners or none.
                if clusters.is_waiting()
                    || !changes.iter().all(|change| is_reachable(change.name()))
                {
                    return None;
                }
            }
            Kind::Routes | Kind::VirtualHost | Kind::WholeRoutes => {
                if clusters.is_waiting() || self.listeners_come_first(newest) {
                    return None;
                }
                let are_free = || self.follows(Kind::Listener, newest);
                changes.retain(|change| match change {
                    Change::There(resource) => is_reachable(&resource.name),
                    Change::Gone(_) => are_free(),
                });
            }
        }
        Some(changes)
    }

    /// Whether the client follows the newest listeners and routes: no other cluster is in use.
    fn routes_are_settled(&self, newest: &Snapshot) -> bool {
        let users = [Kind::Listener, Kind::Routes, Kind::VirtualHost, Kind::WholeRoutes];
        users.into_iter().all(|kind| self.follows(kind, newest))
    }

    /// Whether the client holds what is newest of this type, and nothing else.
    fn follows(&self, kind: Kind, newest: &Snapshot) -> bool {
        let offer = self.lingering.offer(kind, newest);
        let subscription = self.subscriptions.get(&kind);
        let of_hosts = self.turn_of_hosts(newest);
        let is_turn = |name: &str, is_there| kind != Kind::VirtualHost || of_hosts(name, is_there);
        subscription.is_none_or(|it| offer.is_newest() && it.is_current(offer, is_turn))
    }

    /// Whether listeners have changed again before the client answered the last of them.
    fn listeners_come_first(&self, newest: &Snapshot) -> bool {
        let offer = self.lingering.offer(Kind::Listener, newest);
        let listeners = self.subscriptions.get(&Kind::Listener);
        listeners.is_some_and(|it| it.is_overtaken(offer))
    }

    /// Whether a client brought clusters from an earlier stream that are gone now, and has not
    /// answered anything yet. Its first requests for routes may be on their way then. It gets a
    /// response without news: when it answers that, they have arrived.
    fn must_be_heard_first(&self, kind: Kind, newest: &Snapshot) -> bool {
        let offer = self.lingering.offer(kind, newest);
        let clusters = self.subscriptions.get(&Kind::Cluster).filter(|it| !it.was_answered());
        kind == Kind::Cluster && clusters.is_some_and(|it| it.is_to_lose(offer))
    }
}

/// Makes the endpoints of these clusters be sent, even if the client has them: a cluster that is new or
/// changed does not serve before it hears of its endpoints again.
fn send_endpoints_of<'a>(
    subscriptions: &mut BTreeMap<Kind, Subscription>,
    clusters: impl Iterator<Item = &'a Arc<str>>,
) {
    if let Some(endpoints) = subscriptions.get_mut(&Kind::Endpoints) {
        clusters.for_each(|name| endpoints.doubt(name));
    }
}

impl Nonces {
    fn next(&mut self) -> String {
        let nonce = format!("{}-{}", self.prefix, self.next);
        self.next += 1;
        nonce
    }
}

#[cfg(test)]
mod tests;
