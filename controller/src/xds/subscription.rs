//! One client and one type: what it asked for, what it holds, and what it is owed.
//!
//! Both variants of the protocol share this state; they differ in what a request means and in how a
//! response tells a change ([`Telling`]). At most one response is outstanding; what changes
//! meanwhile is found when it is answered, by comparing what the client holds with the newest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::interest::{self, Interest, Silence};
use super::message::{Names, Request, Response};
use super::offer::{Changes, Offer};
use super::rejected::{Rejected, Versions};
use super::snapshot;
use super::status::{Rejection, Status};
use crate::envoy::Kind;

/// One client's subscription of one type.
#[derive(Debug)]
pub(super) struct Subscription {
    kind: Kind,
    telling: Telling,
    interest: Interest,
    /// What the client holds of what it wants. Each name that it asked for is here.
    held: BTreeMap<Arc<str>, Held>,
    /// What to look at for changes.
    suspects: Suspects,
    outstanding: Option<Outstanding>,
    rejected: Rejected,
    last_nonce: String,
    /// A response is due even if it tells nothing.
    owed: bool,
    /// The client has answered a response.
    answered: bool,
    status: Status,
}

/// How a response tells what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Only the changes; what is gone by name.
    Delta,
    /// State of the world, clusters and listeners: all there is. What is left out is gone.
    Whole,
    /// State of the world, all other types: the changes. What is gone cannot be told.
    Named,
}

/// The names under which what a client holds may not be what it should. A change of one resource
/// costs a look at that one, however many there are.
#[derive(Debug)]
enum Suspects {
    /// All of them.
    All,
    /// These. Under each other name the client holds what is offered, or wants nothing.
    These(BTreeSet<Arc<str>>),
}

/// What the client holds under one name.
#[derive(Debug, Default)]
struct Held {
    /// The version that it acknowledged. `None`: none, or that it is gone.
    version: Option<Arc<str>>,
    /// It may hold another one, or it asked again since it was last told: it is to be sent whatever
    /// its version is.
    doubtful: bool,
}

/// A response that the client has not answered.
#[derive(Debug)]
struct Outstanding {
    version: String,
    told: Versions,
}

impl Default for Suspects {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Suspects {
    fn add(&mut self, name: &Arc<str>) {
        if let Self::These(names) = self {
            names.insert(Arc::clone(name));
        }
    }
}

impl Subscription {
    /// A subscription that opens with this request, which is the stream's first for its type. A
    /// nonce in it belongs to another stream.
    pub(super) fn open(kind: Kind, names: Names) -> Self {
        let whole = matches!(kind, Kind::Cluster | Kind::Listener);
        let telling = match (&names, whole) {
            (Names::Delta { .. }, _) => Telling::Delta,
            (Names::Whole(_), true) => Telling::Whole,
            (Names::Whole(_), false) => Telling::Named,
        };
        let silence = if whole { Silence::Everything } else { Silence::Nothing };
        let mut opened = Self {
            kind,
            telling,
            interest: Interest::default(),
            held: BTreeMap::new(),
            suspects: Suspects::All,
            outstanding: None,
            rejected: Rejected::default(),
            last_nonce: String::new(),
            owed: false,
            answered: false,
            status: Status::default(),
        };
        match names {
            Names::Whole(names) => opened.replace(names, silence),
            Names::Delta { subscribe, unsubscribe, initial } => {
                if subscribe.is_empty() && silence == Silence::Everything {
                    opened.interest.imply();
                }
                opened.adjust(subscribe, &unsubscribe);
                opened.owed = opened.interest.is_wildcard() && initial.is_empty();
                opened.inherit(initial);
            }
        }
        opened
    }

    /// Takes a later request. Returns the rejection that it carries.
    pub(super) fn hear(&mut self, request: Request) -> Option<Rejection> {
        let answers = !request.nonce.is_empty() && request.nonce == self.last_nonce;
        match request.names {
            // The client had not seen the last response; it will name all it wants in answer to it.
            Names::Whole(_) if !answers && !request.nonce.is_empty() => None,
            Names::Whole(names) => {
                let rejection = answers.then(|| self.conclude(request.error)).flatten();
                self.replace(names, self.interest.silence());
                rejection
            }
            Names::Delta { subscribe, unsubscribe, .. } => {
                let rejection = answers.then(|| self.conclude(request.error)).flatten();
                let was_wildcard = self.interest.is_wildcard();
                self.adjust(subscribe, &unsubscribe);
                if self.interest.is_wildcard() && !was_wildcard {
                    self.widen();
                }
                rejection
            }
        }
    }

    /// The answer to the outstanding response: an ACK, or with an error a NACK.
    fn conclude(&mut self, error: Option<String>) -> Option<Rejection> {
        let Outstanding { version, told } = self.outstanding.take()?;
        self.answered = true;
        told.keys().for_each(|name| self.rejected.forget(name));
        if let Some(message) = error {
            self.suspect(told, &message);
            self.status.rejected = Some(Rejection { version, message });
            return self.status.rejected.clone();
        }
        for (name, version) in told.into_iter().filter(|(name, _)| self.interest.wants(name)) {
            self.suspects.add(&name);
            let held = self.held.entry(name.clone()).or_default();
            held.version = version;
            if held.version.is_none() && !held.doubtful && !self.interest.names(&name) {
                self.held.remove(&name);
            }
        }
        self.status.acknowledged = Some(version);
        if self.rejected.is_empty() {
            self.status.rejected = None;
        }
        None
    }

    /// Looks for what is bad in a response that was rejected. What it told may be applied in part:
    /// it is in doubt.
    fn suspect(&mut self, mut told: Versions, message: &str) {
        let (is_whole, is_alone) = (self.telling == Telling::Whole, told.len() == 1);
        told.retain(|name, _| self.interest.wants(name));
        told.retain(|name, version| match self.held.get_mut(name) {
            // Told beside what is bad, as all there is was; or gone, which is no one's fault.
            Some(held)
                if held.version == *version && (is_whole || is_alone && version.is_none()) =>
            {
                held.doubtful = false;
                false
            }
            _ => true,
        });
        for name in told.keys() {
            self.suspects.add(name);
            self.held.entry(name.clone()).or_default().doubtful = true;
        }
        if is_whole || is_alone {
            self.rejected.park(told, message);
        } else {
            self.rejected.split(told);
        }
    }

    fn replace(&mut self, names: Vec<String>, silence: Silence) {
        let was_wildcard = self.interest.is_wildcard();
        for name in self.interest.replace(names, silence) {
            self.suspects.add(&name);
            if self.has_outstanding(&name) {
                self.doubt(&name);
            } else {
                self.held.entry(name).or_default();
            }
        }
        if self.interest.is_wildcard() && !was_wildcard {
            self.widen();
        }
        self.forget_unwanted();
    }

    fn adjust(&mut self, subscribe: Vec<String>, unsubscribe: &[String]) {
        for name in subscribe.into_iter().map(Arc::from) {
            self.interest.add(&name);
            if !interest::is_everything(&name) {
                self.held.entry(Arc::clone(&name)).or_default();
                self.doubt(&name);
            }
        }
        for name in unsubscribe {
            let asked = self.interest.remove(name);
            if asked && !interest::is_everything(name) {
                // Under a wildcard the client wants to know what becomes of it.
                self.doubt(name);
            }
        }
        // Nothing that was wanted is unwanted by more that is.
        if !unsubscribe.is_empty() {
            self.forget_unwanted();
        }
    }

    /// Believes what the client says that it holds from an earlier stream.
    fn inherit(&mut self, initial: HashMap<String, String>) {
        for (name, version) in initial {
            if self.interest.wants(&name) {
                let held = Held { version: Some(version.into()), doubtful: false };
                self.held.insert(name.into(), held);
            }
        }
    }

    /// A client that begins to ask for everything is owed a response. What it reads meanwhile it may
    /// keep or have dropped.
    fn widen(&mut self) {
        self.owed = true;
        self.suspects = Suspects::All;
        let told: Vec<_> = self.outstanding().cloned().collect();
        for name in &told {
            self.doubt(name);
        }
    }

    fn forget_unwanted(&mut self) {
        let interest = &self.interest;
        self.held.retain(|name, _| interest.wants(name));
        self.rejected.retain(|name, _| interest.wants(name));
    }

    /// Makes a resource be sent (again), even if the client has its version.
    pub(super) fn doubt(&mut self, name: &str) {
        let is_known = self.has_outstanding(name) || self.held.contains_key(name);
        if is_known && self.interest.wants(name) {
            let name: Arc<str> = name.into();
            self.suspects.add(&name);
            self.rejected.forget(&name);
            self.held.entry(name).or_default().doubtful = true;
        }
    }

    /// Whether the client holds some version of this resource.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.held.get(name).is_some_and(|held| held.version.is_some())
    }

    /// Whether the client may hold this resource, or will once it has read what was sent.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        let told = self.outstanding.as_ref().and_then(|outstanding| outstanding.told.get(name));
        self.holds(name) || told.is_some_and(Option::is_some)
    }

    /// Whether the client asks for this resource.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.interest.wants(name)
    }

    /// Whether a response waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.outstanding.is_some()
    }

    /// The names in the response that waits for its answer.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = &Arc<str>> {
        self.outstanding.iter().flat_map(|outstanding| outstanding.told.keys())
    }

    fn has_outstanding(&self, name: &str) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.told.contains_key(name))
    }

    /// Whether the client has answered any response on this stream.
    pub(super) fn was_answered(&self) -> bool {
        self.answered
    }

    /// Whether a response is due even if it tells nothing.
    pub(super) fn is_owed(&self) -> bool {
        self.owed
    }

    /// How far the client follows.
    pub(super) fn status(&self) -> Status {
        let mut refused = self.rejected.parked();
        if self.telling == Telling::Whole && refused.len() > 1 {
            // They were rejected together: any of them may be good.
            refused.clear();
        }
        let accepted = match self.kind {
            Kind::Listener | Kind::Routes => {
                let held = self.held.iter();
                let text = |(name, held): (&Arc<str>, &Held)| {
                    Some((name.to_string(), held.version.as_ref()?.to_string()))
                };
                held.filter_map(text).collect()
            }
            Kind::Cluster | Kind::Endpoints | Kind::Secret | Kind::Extension => BTreeMap::new(),
        };
        Status { refused, accepted, ..self.status.clone() }
    }

    /// Whether the client will not have this resource.
    pub(super) fn refuses(&self, name: &str) -> bool {
        self.rejected.is_parked(name)
    }

    /// Of what is due, what may be told in one response. Secrets are told one at a time: Envoy (1.40)
    /// rejects a certificate that it cannot use, but takes the same one when it is told again, so a
    /// second look would not find the culprit.
    pub(super) fn part_of(&self, due: Changes) -> Changes {
        let part = self.rejected.part_of(due);
        match self.kind {
            Kind::Secret => part.into_iter().take(1).collect(),
            _ => part,
        }
    }

    /// Notes that the client needs nothing of this version of the type, unless it rejected it.
    pub(super) fn keep_up(&mut self, version: &str) {
        if !self.rejected.is_empty() {
            return;
        }
        if self.status.acknowledged.as_deref() != Some(version) {
            self.status.acknowledged = Some(version.to_owned());
        }
        self.status.rejected = None;
    }

    /// Lets go of what was rejected and has changed since. Where all there is is told, the rest
    /// goes with it.
    pub(super) fn release(&mut self, offer: Offer) {
        let stands = |name: &str, version: Option<&str>| offer.version(name) == version;
        if self.telling != Telling::Whole {
            self.rejected.retain(stands);
        } else if !self.rejected.all(stands) {
            self.rejected = Rejected::default();
        }
    }

    /// Whether there is news beyond the response that waits for its answer.
    pub(super) fn is_overtaken(&self, offer: Offer) -> bool {
        self.outstanding.as_ref().is_some_and(|Outstanding { told, .. }| {
            told.iter().any(|(name, version)| offer.version(name) != version.as_deref())
                || self.changes(offer).keys().any(|name| !told.contains_key(name))
        })
    }

    /// Whether the client has acknowledged all that is offered.
    pub(super) fn is_current(&self, offer: Offer) -> bool {
        !self.is_waiting() && self.rejected.is_empty() && self.changes(offer).is_empty()
    }

    /// Notes that another resource is offered under a name, or none.
    pub(super) fn look_at(&mut self, name: &Arc<str>) {
        if self.interest.wants(name) {
            self.suspects.add(name);
        }
    }

    /// Looks at what may have changed, and no longer at what has not.
    pub(super) fn settle(&mut self, offer: Offer) {
        let suspects = match std::mem::take(&mut self.suspects) {
            Suspects::These(names) => names,
            Suspects::All => {
                let offered = offer.iter().map(|resource| &resource.name);
                let offered = offered.filter(|_| self.interest.is_wildcard());
                self.held.keys().chain(offered).cloned().collect()
            }
        };
        let suspects = suspects.into_iter().filter(|name| self.is_due(name, offer));
        self.suspects = Suspects::These(suspects.collect());
    }

    /// What the client is to be told: where what it holds is not what is offered, but not what it
    /// rejected.
    pub(super) fn changes(&self, offer: Offer) -> Changes {
        let change = |name: &Arc<str>| {
            self.is_due(name, offer).then(|| (Arc::clone(name), offer.get(name).cloned()))
        };
        let mut changes: Changes = match &self.suspects {
            Suspects::These(names) => names.iter().filter_map(change).collect(),
            Suspects::All => {
                let offered = offer.iter().map(|resource| &resource.name);
                self.held.keys().chain(offered).filter_map(change).collect()
            }
        };
        changes.retain(|name, _| !self.rejected.is_parked(name));
        changes
    }

    /// Whether the client is to be told what is offered under a name: it holds something else.
    fn is_due(&self, name: &str, offer: Offer) -> bool {
        let target = offer.get(name);
        match self.held.get(name) {
            Some(held) => {
                let version = target.map(|resource| &*resource.version);
                let differs = held.doubtful || held.version.as_deref() != version;
                differs && (target.is_some() || self.telling != Telling::Named)
            }
            None => self.interest.is_wildcard() && target.is_some(),
        }
    }

    /// The response that tells these changes. It is outstanding from now on.
    pub(super) fn tell(
        &mut self,
        changes: Changes,
        offer: Offer,
        newest: &str,
        nonce: String,
    ) -> Response {
        let mut told: Versions = changes
            .iter()
            .map(|(name, resource)| (name.clone(), resource.as_ref().map(|r| r.version.clone())))
            .collect();
        let mut version = newest.to_owned();
        let (mut resources, mut removed) = (Vec::new(), Vec::new());
        if self.telling == Telling::Whole {
            resources.extend(offer.iter().filter(|resource| self.wants(&resource.name)).cloned());
            version = snapshot::version(resources.iter());
            told.extend(resources.iter().map(|r| (r.name.clone(), Some(r.version.clone()))));
        } else {
            for (name, resource) in changes {
                match resource {
                    Some(resource) => resources.push(resource),
                    None => removed.push(name.to_string()),
                }
            }
        }
        for name in told.keys() {
            self.held.entry(name.clone()).and_modify(|held| held.doubtful = false);
        }
        self.owed = false;
        self.last_nonce.clone_from(&nonce);
        self.outstanding = Some(Outstanding { version: version.clone(), told });
        Response { kind: self.kind, nonce, version, resources, removed }
    }
}
