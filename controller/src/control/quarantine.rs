//! The last net: a service that makes Envoys refuse what others share with it is left out.
//!
//! Labels are validated, so nothing here should ever have to work. Where it does, all services of a
//! node cluster would stay as they were for the fault of one. Pure: what is to be told, what the Envoys
//! make of it and the time go in; whom to leave out comes out.
//!
//! ```text
//!           refused             suspects left              a culprit
//!  calm ──────────────▶ search ───────────────▶ search ──────────────▶ calm, without the culprit
//!                         └──── no answer in time, or nobody's fault ──▶ calm, with everybody
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::envoy::{Kind, Resource, Resources};
use crate::labels::NodeCluster;
use crate::persistent::Map;
use crate::swarm::ServiceId;
use crate::xds::{Opinion, Opinions};

mod search;

use search::{Blameless, Found, Search};

/// How long the Envoys may take to answer a trial.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after a trial without an answer the next search may begin.
const REST: Duration = Duration::from_mins(1);

/// What is known of the faults of services, of all node clusters.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    wards: BTreeMap<NodeCluster, Ward>,
}

/// What a node cluster is to be told, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    services: Services,
    shared: BTreeMap<Key, String>,
}

/// Services, each with the version of its specification.
pub(super) type Services = Map<ServiceId, u64>;

/// A resource that holds many services.
type Key = (Kind, String);

/// Who is left out, and why.
pub(super) type LeftOut = BTreeMap<ServiceId, Reason>;

/// Why a service is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// It may be at fault; this is being tried.
    Suspect,
    /// It is at fault. An Envoy's own words.
    Culprit(String),
}

/// Whether a plan may go to the Envoys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighed {
    /// It may.
    Send,
    /// Others are to be left out now: make another one.
    PlanAgain,
}

/// What is known of one node cluster.
#[derive(Debug, Default)]
struct Ward {
    services: Services,
    resources: BTreeMap<Key, Known>,
    hunt: Option<Hunt>,
    convicts: BTreeMap<ServiceId, Convict>,
}

/// What is known of one resource.
#[derive(Debug, Default)]
struct Known {
    /// What it was made of when it was last accepted.
    accepted: Services,
    rest: Option<Rest>,
}

/// Until when nothing is tried with a resource. The order matters: which lasts longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// No Envoy answered.
    Until(SystemTime),
    /// It is refused without any service: until it is accepted again.
    Blameless,
}

/// A search for whoever makes a resource be refused.
#[derive(Debug)]
struct Hunt {
    resource: Key,
    search: Search,
    scope: Scope,
    /// What an Envoy said last.
    words: String,
    /// When the trial is over without an answer.
    deadline: SystemTime,
}

/// Who is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Whoever changed since the resource was accepted.
    Changed,
    /// All services of the node cluster.
    All,
}

/// A service at fault, until it changes.
#[derive(Debug)]
struct Convict {
    version: u64,
    words: String,
}

/// What the Envoys make of a version of a resource.
enum Verdict {
    /// All accept it.
    Accepted,
    /// Some accept it, and the others have not answered.
    Partly,
    /// None has answered, or there is none.
    Open,
    /// One refuses it, in these words.
    Refused(String),
}

impl Plan {
    /// What these resources tell; `services` are those of the node cluster, left out or not.
    pub(super) fn new(services: Services, resources: &Resources) -> Self {
        let kinds = [Kind::Listener, Kind::Routes, Kind::WholeRoutes];
        let shared = kinds.map(|kind| resources.of(kind).values());
        let version = |it: &Resource| ((it.kind, it.name.to_string()), it.version.to_string());
        Self { services, shared: shared.into_iter().flatten().map(version).collect() }
    }
}

impl Quarantine {
    /// Whom to leave out, and why.
    pub(super) fn left_out(&self) -> LeftOut {
        self.wards.values().flat_map(Ward::left_out).collect()
    }

    /// Weighs plans that leave out whom they should: what the Envoys make of them already. Each node
    /// cluster that a service names has a plan, also where all its services are left out.
    pub(super) fn weigh(
        &mut self,
        plans: BTreeMap<NodeCluster, Plan>,
        opinions: &Opinions,
        now: SystemTime,
    ) -> Weighed {
        let before = self.left_out();
        self.wards.retain(|cluster, _| plans.contains_key(cluster));
        for (cluster, plan) in plans {
            let opinions: Vec<_> =
                opinions.iter().filter(|it| it.node_cluster == cluster).collect();
            self.wards.entry(cluster).or_default().weigh(plan, &opinions, now);
        }
        if self.left_out() == before { Weighed::Send } else { Weighed::PlanAgain }
    }

    /// When to weigh again even if nothing changes.
    pub(super) fn wake_at(&self) -> Option<SystemTime> {
        self.wards.values().filter_map(Ward::wake_at).min()
    }
}

impl Ward {
    fn left_out(&self) -> impl Iterator<Item = (ServiceId, Reason)> {
        let suspects = self.hunt.iter().flat_map(|hunt| hunt.search.left_out());
        let culprits = self.convicts.iter();
        let culprits = culprits.map(|(id, it)| (id.clone(), Reason::Culprit(it.words.clone())));
        suspects.map(|id| (id.clone(), Reason::Suspect)).chain(culprits)
    }

    fn weigh(&mut self, plan: Plan, opinions: &[&Opinion], now: SystemTime) {
        if self.follow(plan.services) == Weighed::PlanAgain {
            return;
        }
        self.resources.retain(|key, _| plan.shared.contains_key(key));
        match self.hunt.take() {
            Some(hunt) => {
                let version = plan.shared.get(&hunt.resource);
                // A resource that went with those who are left out is no longer refused.
                let verdict = version.map_or(Verdict::Accepted, |version| {
                    verdict(&hunt.resource, version, opinions)
                });
                self.go_on(hunt, verdict, now);
            }
            None => self.look(plan.shared, opinions, now),
        }
    }

    /// Takes the services of a plan. Says whether others are to be left out by that.
    fn follow(&mut self, services: Services) -> Weighed {
        let changed = self.services.changes(&services).map(|change| change.key.clone());
        let changed: BTreeSet<_> = changed.collect();
        let before: LeftOut = self.left_out().collect();
        self.services = services;
        self.convicts.retain(|id, convict| self.services.get(id) == Some(&convict.version));
        if let Some(hunt) = self.hunt.as_mut().filter(|_| !changed.is_empty()) {
            hunt.search.disturb(&changed, |id| self.services.contains_key(id));
        }
        self.hunt.take_if(|hunt| hunt.search.is_over());
        if self.left_out().collect::<LeftOut>() == before {
            Weighed::Send
        } else {
            Weighed::PlanAgain
        }
    }

    /// Looks whether anything is refused, and begins a search then.
    fn look(&mut self, shared: BTreeMap<Key, String>, opinions: &[&Opinion], now: SystemTime) {
        let served = self.served();
        for (resource, version) in shared {
            let known = self.resources.entry(resource.clone()).or_default();
            known.rest = known.rest.filter(|rest| *rest > Rest::Until(now));
            match verdict(&resource, &version, opinions) {
                Verdict::Accepted => *known = Known { accepted: served.clone(), rest: None },
                Verdict::Refused(words) if known.rest.is_none() => {
                    let changed = |id: &&ServiceId| known.accepted.get(*id) != served.get(*id);
                    let suspects = served.keys().filter(changed).cloned().collect();
                    return self.hunt(resource, suspects, Scope::Changed, words, now);
                }
                Verdict::Refused(_) | Verdict::Partly | Verdict::Open => {}
            }
        }
    }

    /// The services that are not left out.
    fn served(&self) -> Services {
        if self.convicts.is_empty() {
            return self.services.clone();
        }
        let served = self.services.iter().filter(|(id, _)| !self.convicts.contains_key(*id));
        served.map(|(id, version)| (id.clone(), *version)).collect()
    }

    /// Begins a search.
    fn hunt(
        &mut self,
        resource: Key,
        suspects: Vec<ServiceId>,
        scope: Scope,
        words: String,
        now: SystemTime,
    ) {
        tracing::warn!(
            kind = resource.0.as_str(),
            name = resource.1,
            reason = words,
            suspects = suspects.len(),
            "Envoys refuse what services share: looking for the one at fault"
        );
        let (search, found) = Search::begin(suspects);
        let hunt = Hunt { resource, search, scope, words, deadline: now + PATIENCE };
        self.conclude(hunt, found, now);
    }

    /// Goes on with a search after a trial.
    fn go_on(&mut self, mut hunt: Hunt, verdict: Verdict, now: SystemTime) {
        let is_late = now >= hunt.deadline;
        let found = match verdict {
            Verdict::Accepted => hunt.search.accepted(),
            Verdict::Partly if is_late => hunt.search.accepted(),
            Verdict::Refused(words) => {
                hunt.words = words;
                hunt.search.refused()
            }
            Verdict::Open if is_late => return self.rest(hunt.resource, Rest::Until(now + REST)),
            Verdict::Partly | Verdict::Open => {
                self.hunt = Some(hunt);
                return;
            }
        };
        hunt.deadline = now + PATIENCE;
        self.conclude(hunt, found, now);
    }

    fn conclude(&mut self, hunt: Hunt, found: Found, now: SystemTime) {
        match (found, hunt.scope) {
            (Ok(culprit), _) => {
                let known = culprit.and_then(|id| Some((*self.services.get(&id)?, id)));
                if let Some((version, id)) = known {
                    let convict = Convict { version, words: hunt.words.clone() };
                    self.convicts.insert(id, convict);
                }
                self.hunt = Some(hunt).filter(|hunt| !hunt.search.is_over());
            }
            (Err(Blameless), Scope::Changed) => {
                let all = self.served().keys().cloned().collect();
                self.hunt(hunt.resource, all, Scope::All, hunt.words, now);
            }
            (Err(Blameless), Scope::All) => self.rest(hunt.resource, Rest::Blameless),
        }
    }

    fn rest(&mut self, resource: Key, rest: Rest) {
        tracing::warn!(
            kind = resource.0.as_str(),
            name = resource.1,
            ?rest,
            "no service is found at fault"
        );
        self.resources.entry(resource).or_default().rest = Some(rest);
    }

    fn wake_at(&self) -> Option<SystemTime> {
        let rests = self.resources.values().filter_map(|known| match known.rest {
            Some(Rest::Until(end)) => Some(end),
            Some(Rest::Blameless) | None => None,
        });
        self.hunt.as_ref().map_or_else(|| rests.min(), |hunt| Some(hunt.deadline))
    }
}

fn verdict(resource: &Key, version: &String, opinions: &[&Opinion]) -> Verdict {
    let about = || opinions.iter().filter(|it| (it.kind, &it.name) == (resource.0, &resource.1));
    let refused = about().filter_map(|it| it.refused.as_ref()).find(|it| it.version == *version);
    let accept = about().filter(|it| it.accepted.as_ref() == Some(version)).count();
    match (refused, accept) {
        (Some(refused), _) => Verdict::Refused(refused.message.clone()),
        (None, 0) => Verdict::Open,
        (None, some) if some == about().count() => Verdict::Accepted,
        (None, _) => Verdict::Partly,
    }
}

#[cfg(test)]
mod tests;
