//! One turn: what has changed since the last one, and what follows from that.
//!
//! Each step marks what the next one has to make anew:
//!
//! ```text
//! tasks ──────────────────────────────────────▶ pools ─▶ outcomes
//! services ─▶ readings ─▶ hosts (their claims) ──▲ ▲        ▲
//!                 │            └─────────────────┼─┼────────┤
//!                 └──────────────────────────────┘ └ those with leaving endpoints
//! ```
//!
//! Without a memo everything has changed: then it is a turn like any other, from an empty Swarm to
//! this one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::ownership::Grant;
use super::pool::Key;
use super::{Ledger, PoolName, Routing, Settings, Turn};
use crate::labels::{
    self, Claim, Intent, Problem, Proxies, Reading, Running, SecretName, Site, Surroundings,
};
use crate::persistent::Map;
use crate::side_by_side;
use crate::swarm::{NetworkId, Picture, ServiceId, Task, TaskId, TaskState};

mod hosts;
mod pools;

/// What a turn was made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    /// None where nothing may be taken over into the next turn.
    settings: Option<Settings>,
    picture: Picture,
    running: Running,
    intents: Map<ServiceId, Intent>,
    /// What is wrong with the labels of each service that has any of ours.
    problems: Map<ServiceId, Vec<Problem>>,
    claims: Map<Claim, Claimed>,
    uses: Map<Site, Uses>,
    pools: Map<Key, Answering>,
    /// Pools whose endpoints leave.
    leaving: BTreeSet<Key>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claimed {
    claimants: BTreeSet<ServiceId>,
    grant: Grant,
    key: Key,
    /// What those who meet here should know of each other.
    problems: Vec<Problem>,
}

/// What the proxies need for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Uses {
    networks: BTreeSet<NetworkId>,
    secrets: BTreeMap<SecretName, BTreeSet<ServiceId>>,
}

/// A pool's name, and the claims that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answering {
    name: PoolName,
    claims: BTreeSet<Claim>,
}

/// A turn in the making.
pub(super) struct Work<'a> {
    picture: &'a Picture,
    settings: &'a Settings,
    last: &'a Turn,
    now: SystemTime,
    memo: Memo,
    routing: Routing,
    ledger: Ledger,
    missed: BTreeMap<TaskId, SystemTime>,
    touched: Touched,
}

/// The tasks of a service that run no more, and those that run now.
#[derive(Default)]
struct Moved<'a> {
    went: Vec<&'a Arc<Task>>,
    came: Vec<&'a Arc<Task>>,
}

/// What has to be made anew.
#[derive(Default)]
struct Touched {
    /// Hosts, each with those who ask for one of its paths for the first time, or no longer.
    sites: BTreeMap<Site, BTreeMap<Claim, BTreeSet<ServiceId>>>,
    /// Services whose pools may have changed.
    members: BTreeSet<ServiceId>,
    pools: BTreeSet<Key>,
    outcomes: BTreeSet<ServiceId>,
}

impl<'a> Work<'a> {
    /// The turn after `last`. Where services are left out, or the settings are others, nothing of
    /// it is taken over but what it remembers.
    pub(super) fn after(
        last: &'a Turn,
        picture: &'a Picture,
        settings: &'a Settings,
        now: SystemTime,
    ) -> Self {
        let goes_on = last.left_out.is_empty() && last.memo.settings.as_ref() == Some(settings);
        let (memo, routing, ledger) = if goes_on {
            (last.memo.clone(), Routing::clone(&last.routing), last.ledger.clone())
        } else {
            Default::default()
        };
        let (missed, touched) = (BTreeMap::new(), Touched::default());
        Self { picture, settings, last, now, memo, routing, ledger, missed, touched }
    }

    /// Takes all steps.
    pub(super) fn turn(mut self) -> Turn {
        let before = self.memo.running.clone();
        self.find_running();
        self.read_labels(&before);
        self.settle_hosts();
        self.fill_pools();
        self.tell_outcomes();
        self.hold_for_those_left_out();
        self.memo.picture = self.picture.clone();
        // Whoever is left out now is looked at again in the next turn.
        let goes_on = self.last.left_out.is_empty();
        self.memo.settings = goes_on.then(|| self.settings.clone());
        let first = self.missed.values().min();
        Turn {
            routing: Arc::new(self.routing),
            ledger: self.ledger,
            left_out: BTreeSet::new(),
            wake_at: first.and_then(|missed| missed.checked_add(self.settings.linger)),
            missed: self.missed,
            memo: self.memo,
        }
    }

    /// Follows the tasks that run.
    fn find_running(&mut self) {
        let before = self.memo.picture.tasks.clone();
        let runs = |task: &&Arc<Task>| task.state == TaskState::Running;
        let mut moved: HashMap<&ServiceId, Moved<'_>> = HashMap::new();
        for change in before.changes(&self.picture.tasks) {
            if let Some(task) = change.before.filter(runs) {
                moved.entry(&task.service).or_default().went.push(task);
            }
            if let Some(task) = change.after.filter(runs) {
                moved.entry(&task.service).or_default().came.push(task);
            }
        }
        let moved: BTreeMap<_, _> = moved.into_iter().collect();
        for (service, Moved { went, came }) in moved {
            let mut tasks = self.memo.running.get(service).cloned().unwrap_or_default();
            for task in went {
                tasks.remove(&task.id);
            }
            tasks.extend(came.into_iter().map(|task| (task.id.clone(), Arc::clone(task))));
            if tasks.is_empty() {
                self.memo.running.remove(service);
            } else {
                self.memo.running.insert(service.clone(), tasks);
            }
            self.touched.members.insert(service.clone());
        }
    }

    /// Reads the labels of all services that are not as they were, or whose surroundings are not.
    fn read_labels(&mut self, running_before: &Running) {
        let running = self.memo.running.clone();
        let proxies = Proxies::of(self.picture, &running, &self.settings.proxies);
        let before = self.memo.picture.clone();
        let mut due: BTreeSet<ServiceId> =
            before.services.changes(&self.picture.services).map(|it| it.key.clone()).collect();
        if proxies != Proxies::of(&before, running_before, &self.settings.proxies) {
            due.extend(self.picture.services.keys().cloned());
        }
        let networks = before.networks.changes(&self.picture.networks);
        let networks: BTreeSet<_> = networks.map(|change| change.key).collect();
        if !networks.is_empty() {
            let attached = self.picture.services.iter().filter(|(_, service)| {
                service.networks.iter().any(|network| networks.contains(network))
            });
            due.extend(attached.map(|(id, _)| id.clone()));
        }
        let surroundings = Surroundings {
            networks: &self.picture.networks,
            proxy_networks: &self.settings.proxy_networks,
            proxies: &proxies,
        };
        let due: Vec<_> = due.into_iter().collect();
        let read = |id: &ServiceId| {
            let kept = self.last.ledger.kept.get(id).cloned().unwrap_or_default();
            labels::read(self.picture.services.get(id)?, surroundings, &kept)
        };
        let readings = side_by_side::map(&due, read);
        for (id, reading) in due.iter().zip(readings) {
            // Problems of others tell a service's labels as they are written.
            let [before, after] = [&before, self.picture].map(|it| it.services.get(id));
            let is_written_anew = before.map(|it| &it.labels) != after.map(|it| &it.labels);
            self.take_reading(id, reading, is_written_anew);
        }
    }

    fn take_reading(&mut self, id: &ServiceId, reading: Option<Reading>, is_written_anew: bool) {
        self.touched.members.insert(id.clone());
        self.touched.outcomes.insert(id.clone());
        let intent = if let Some(Reading { intent, kept, problems }) = reading {
            self.ledger.kept.put(id.clone(), kept);
            self.memo.problems.put(id.clone(), problems);
            intent.filter(|_| !self.last.left_out.contains(id))
        } else {
            self.ledger.kept.remove(id);
            self.memo.problems.remove(id);
            None
        };
        let before = self.memo.intents.get_shared(id).cloned();
        if before.as_deref() == intent.as_ref() && !is_written_anew {
            return;
        }
        for claim in before
            .iter()
            .flat_map(|intent| intent.claims())
            .chain(intent.iter().flat_map(Intent::claims))
        {
            let claims = self.touched.sites.entry(claim.site.clone()).or_default();
            claims.entry(claim).or_default().insert(id.clone());
        }
        match intent {
            Some(intent) => drop(self.memo.intents.put(id.clone(), intent)),
            None => drop(self.memo.intents.remove(id)),
        }
    }

    /// What services hold that are left out stays theirs.
    fn hold_for_those_left_out(&mut self) {
        let is_away = |id: &ServiceId| {
            self.last.left_out.contains(id) && self.picture.services.contains_key(id)
        };
        if self.last.left_out.is_empty() {
            return;
        }
        let claims = self.last.ledger.holders.iter().filter(|(_, holder)| is_away(holder));
        self.ledger.holders.extend(claims.map(|(claim, it)| (claim.clone(), it.clone())));
        let sites = self.last.ledger.sites.iter().filter(|(_, holder)| is_away(holder));
        self.ledger.sites.extend(sites.map(|(site, it)| (site.clone(), it.clone())));
    }
}
