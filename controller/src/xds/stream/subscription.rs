//! One client and one type: what it asked for, what it holds, and what it is owed.
//!
//! Both variants of the protocol share this state; they differ in what a request means and in how a
//! response tells a change ([`Telling`]). At most one response is outstanding; what changes
//! meanwhile is found when it is answered, by comparing what the client holds with the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::holdings::{Held, Holdings, Widened};
use super::interest::Silence;
use super::offer::{Change, Changes, Offer};
use super::rejected::{Rejected, Versions};
use crate::envoy::{Kind, Resource};
use crate::xds::message::{Names, Request, Response};
use crate::xds::snapshot::{self, Set};
use crate::xds::status::{Rejection, Status};

/// One client's subscription of one type.
#[derive(Debug)]
pub(super) struct Subscription {
    kind: Kind,
    telling: Telling,
    holdings: Holdings,
    /// The version of the response that the client has not answered. What that tells is noted in the
    /// holdings.
    outstanding: Option<String>,
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

impl Subscription {
    /// A subscription that opens with this request, which is the stream's first for its type. A
    /// nonce in it belongs to another stream. `there_are` are the resources, as far as is known.
    pub(super) fn open(kind: Kind, names: Names, there_are: &Set) -> Self {
        let whole = matches!(kind, Kind::Cluster | Kind::Listener);
        let telling = match (&names, whole) {
            (Names::Delta { .. }, _) => Telling::Delta,
            (Names::Whole(_), true) => Telling::Whole,
            (Names::Whole(_), false) => Telling::Named,
        };
        // Envoy asks for hosts without a name too, though by delta alone.
        let everything = whole || kind == Kind::VirtualHost;
        let silence = if everything { Silence::Everything } else { Silence::Nothing };
        let mut holdings = Holdings::default();
        let owed = match names {
            Names::Whole(names) => holdings.replace(names, silence) == Widened::ToEverything,
            Names::Delta { subscribe, unsubscribe, initial } => {
                if subscribe.is_empty() && silence == Silence::Everything {
                    holdings.imply();
                }
                holdings.adjust(subscribe, &unsubscribe, there_are);
                let owed = holdings.interest().is_wildcard() && initial.is_empty();
                holdings.inherit(initial);
                owed
            }
        };
        Self {
            kind,
            telling,
            holdings,
            outstanding: None,
            rejected: Rejected::default(),
            last_nonce: String::new(),
            owed,
            answered: false,
            status: Status::default(),
        }
    }

    /// Takes a later request. Returns the rejection that it carries.
    pub(super) fn hear(&mut self, request: Request, there_are: &Set) -> Option<Rejection> {
        let answers = !request.nonce.is_empty() && request.nonce == self.last_nonce;
        if matches!(request.names, Names::Whole(_)) && !answers && !request.nonce.is_empty() {
            // The client had not seen the last response; it will name all it wants in answer to it.
            return None;
        }
        let rejection = answers.then(|| self.conclude(request.error)).flatten();
        let widened = match request.names {
            Names::Whole(names) => {
                let silence = self.holdings.interest().silence();
                self.holdings.replace(names, silence)
            }
            Names::Delta { subscribe, unsubscribe, .. } => {
                // What is asked for again is told again.
                let named = subscribe.iter().chain(&unsubscribe);
                named.for_each(|name| self.rejected.forget(name));
                self.holdings.adjust(subscribe, &unsubscribe, there_are)
            }
        };
        self.rejected.retain(|name, _| self.holdings.interest().wants(name));
        // A client that begins to ask for everything is owed a response.
        self.owed |= widened == Widened::ToEverything;
        rejection
    }

    /// The answer to the outstanding response: an ACK, or with an error a NACK.
    fn conclude(&mut self, error: Option<String>) -> Option<Rejection> {
        let version = self.outstanding.take()?;
        self.answered = true;
        if !self.rejected.is_empty() {
            self.holdings.told().for_each(|(name, _)| self.rejected.forget(name));
        }
        if let Some(message) = error {
            self.suspect(&message);
            self.status.rejected = Some(Rejection { version, message });
            return self.status.rejected.clone();
        }
        if !self.holdings.accept_all() {
            self.holdings.conclude(|_, held, told| held.version = told);
        }
        self.status.acknowledged = Some(version);
        if self.rejected.is_empty() {
            self.status.rejected = None;
        }
        None
    }

    /// Looks for what is bad in a response that was rejected. What it told may be applied in part:
    /// it is in doubt.
    fn suspect(&mut self, message: &str) {
        let is_whole = self.telling == Telling::Whole;
        let is_alone = self.holdings.told().count() == 1;
        let mut bad = Versions::new();
        self.holdings.conclude(|name, held, told| {
            // Told beside what is bad, as all there is was; or gone, which is no one's fault.
            let is_good = held.version == told && (is_whole || is_alone && told.is_none());
            held.doubtful = !is_good;
            if !is_good {
                bad.insert(Arc::clone(name), told);
            }
        });
        bad.retain(|name, _| self.holdings.interest().wants(name));
        if is_whole || is_alone {
            self.rejected.park(bad, message);
        } else {
            self.rejected.split(bad);
        }
    }

    /// Makes a resource be sent (again), even if the client has its version.
    pub(super) fn doubt(&mut self, name: &Arc<str>) {
        self.holdings.doubt(name);
        self.rejected.forget(name);
    }

    /// Looks at what has changed since the last look.
    pub(super) fn look(&mut self, offer: Offer) {
        self.holdings.look(offer);
    }

    /// Whether the client holds some version of this resource.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.holdings.holds(name)
    }

    /// Whether the client may hold this resource, or will once it has read what was sent.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        self.holdings.may_hold(name)
    }

    /// Whether the client asks for this resource.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.holdings.interest().wants(name)
    }

    /// Whether the client asks for this very name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.holdings.interest().names(name)
    }

    /// Whether the client holds any resource, or will once it has read what was sent.
    pub(super) fn may_hold_any(&self) -> bool {
        self.holdings.may_hold_any()
    }

    /// Whether the client holds no version of this resource, or asked for it again.
    pub(super) fn is_in_doubt(&self, name: &str) -> bool {
        self.holdings.is_in_doubt(name)
    }

    /// Whether a response waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.outstanding.is_some()
    }

    /// What the response that waits for its answer changes, by name.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = &Arc<str>> {
        self.holdings.told().map(|(name, _)| name)
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
            Kind::Listener | Kind::Routes | Kind::WholeRoutes => self.holdings.versions(),
            Kind::Cluster
            | Kind::Endpoints
            | Kind::Secret
            | Kind::Extension
            | Kind::VirtualHost => BTreeMap::new(),
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
    pub(super) fn part_of<'a>(&self, due: Changes<'a>) -> Changes<'a> {
        let mut part = self.rejected.part_of(due);
        if self.kind == Kind::Secret {
            part.truncate(1);
        }
        part
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
        let has_changed = |(name, told): (&Arc<str>, Option<&Arc<str>>)| {
            offer.version(name) != told.map(|version| &**version)
        };
        self.is_waiting()
            && (self.holdings.told().any(has_changed)
                || self.due(offer).any(|(_, held, _)| !held.is_told()))
    }

    /// Whether the client has acknowledged all that is offered, but for changes whose turn it is not:
    /// of a name to something that is there, or is gone.
    pub(super) fn is_current(&self, offer: Offer, is_turn: impl Fn(&str, bool) -> bool) -> bool {
        !self.is_waiting()
            && self.rejected.is_empty()
            && !self.due(offer).any(|(name, _, target)| is_turn(name, target.is_some()))
    }

    /// What the client is to be told: where what it holds is not what is offered, but not what it
    /// rejected.
    pub(super) fn changes<'a>(&self, offer: Offer<'a>) -> Changes<'a> {
        self.due(offer).map(|(name, _, target)| Change::new(name, target)).collect()
    }

    /// Whether the client is to be told of anything that it is gone.
    pub(super) fn is_to_lose(&self, offer: Offer) -> bool {
        self.due(offer).any(|(_, _, target)| target.is_none())
    }

    fn due<'a, 'o: 'a>(
        &'a self,
        offer: Offer<'o>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Held, Option<&'o Arc<Resource>>)> {
        self.holdings.differing(offer).filter(|(name, _, target)| {
            let can_be_told = target.is_some() || self.telling != Telling::Named;
            can_be_told && !self.rejected.is_parked(name)
        })
    }

    /// The response that tells these changes. It is outstanding from now on.
    pub(super) fn tell(
        &mut self,
        changes: &[Change],
        offer: Offer,
        newest: &str,
        nonce: String,
    ) -> Response {
        let is_whole = self.telling == Telling::Whole;
        let mut removed = Vec::new();
        let mut resources = if self.holdings.tell_all(changes) {
            offer.newest().iter_shared().map(|(_, resource)| Arc::clone(resource)).collect()
        } else {
            self.note_told(changes, offer, &mut removed)
        };
        let mut version = newest.to_owned();
        if is_whole {
            let all = offer.iter().filter(|resource| self.wants(&resource.name));
            resources = all.cloned().collect();
            version = snapshot::version(resources.iter());
        }
        self.owed = false;
        self.last_nonce.clone_from(&nonce);
        self.outstanding = Some(version.clone());
        Response { kind: self.kind, nonce, version, resources, removed }
    }

    /// Notes that changes are told. Returns the resources that there are, and tells which are gone;
    /// neither where all there is is told.
    fn note_told(
        &mut self,
        changes: &[Change],
        offer: Offer,
        removed: &mut Vec<String>,
    ) -> Vec<Arc<Resource>> {
        let is_whole = self.telling == Telling::Whole;
        let mut resources = Vec::new();
        let (mut changes, mut offered) = (changes.iter().peekable(), offer.walk());
        for (name, held) in self.holdings.apart_mut() {
            let target = match changes.next_if(|change| change.name() == name) {
                Some(Change::There(resource)) => Some(*resource),
                Some(Change::Gone(_)) => None,
                // It is told with all there is.
                None if is_whole => match offered.get(name) {
                    Some(resource) => Some(resource),
                    None => continue,
                },
                None => continue,
            };
            held.told = Some(target.map(|resource| Arc::clone(&resource.version)));
            held.doubtful = false;
            match target {
                _ if is_whole => {}
                Some(resource) => resources.push(Arc::clone(resource)),
                None => removed.push(name.to_string()),
            }
        }
        resources
    }
}
