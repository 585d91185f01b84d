//! What answers, and what became of each service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::{Answering, Work};
use crate::labels::{Backend, Claim, Intent, Kept};
use crate::routing::pool::{self, Key};
use crate::routing::{Endpoint, Mode, Outcome, Pool, PoolName, Standing, leaving};
use crate::side_by_side;
use crate::swarm::{ServiceId, TaskId};

/// A pool, with its name and those tasks of its leaving endpoints that are missed, since when.
struct Filled {
    name: PoolName,
    pool: Pool,
    missed: BTreeMap<TaskId, SystemTime>,
}

impl Work<'_> {
    /// Makes the pools whose services, tasks or claims have changed, and those with endpoints that
    /// leave: time passes for these.
    pub(super) fn fill_pools(&mut self) {
        let mut due = std::mem::take(&mut self.touched.pools);
        due.append(&mut std::mem::take(&mut self.memo.leaving));
        for intent in self.touched.members.iter().filter_map(|id| self.memo.intents.get(id)) {
            let claimed = intent.claims().filter_map(|claim| self.memo.claims.get(&claim));
            due.extend(claimed.map(|claimed| claimed.key.clone()));
        }
        let due: Vec<_> = due.into_iter().collect();
        let filled = side_by_side::map(&due, |key| self.filled(key));
        let (mut go, mut stay) = (Vec::new(), Vec::new());
        for (key, filled) in due.into_iter().zip(filled) {
            match filled {
                Some(filled) => stay.push((key, filled)),
                None => go.push(key),
            }
        }
        // First those that go: another may take the name.
        for key in go {
            let Some(gone) = self.memo.pools.remove(&key) else { continue };
            if let Some(routes) = self.routing.clusters.get_mut(&key.cluster) {
                routes.pools.remove(&gone.name);
            }
        }
        for (key, filled) in stay {
            self.take_pool(key, filled);
        }
        self.routing.clusters.retain(|_, routes| !routes.pools.is_empty());
    }

    /// A pool as it is now; none if it answers no claim.
    fn filled(&self, key: &Key) -> Option<Filled> {
        let answering = self.memo.pools.get(key).filter(|it| !it.claims.is_empty());
        let Answering { name, claims } = answering?;
        let mut pool = pool::build(key, self.picture, &self.memo.intents, &self.memo.running);
        let time = (self.now, self.settings.linger);
        let missed = leaving::keep(&mut pool, claims.iter(), self.picture, self.last, time);
        Some(Filled { name: name.clone(), pool, missed })
    }

    fn take_pool(&mut self, key: Key, Filled { name, pool, missed }: Filled) {
        let Some(routes) = self.routing.clusters.get_mut(&key.cluster) else { return };
        let services = pool.services.clone();
        if routes.pools.put(name, pool) {
            self.touched.outcomes.extend(services);
        }
        if !missed.is_empty() {
            self.missed.extend(missed);
            self.memo.leaving.insert(key);
        }
    }

    /// Tells what became of each service that any of this concerns.
    pub(super) fn tell_outcomes(&mut self) {
        let touched: Vec<_> = std::mem::take(&mut self.touched.outcomes).into_iter().collect();
        let outcomes = side_by_side::map(&touched, |id| self.outcome(id));
        for (id, outcome) in touched.into_iter().zip(outcomes) {
            match outcome {
                Some(outcome) => drop(self.routing.services.put(id, outcome)),
                None => drop(self.routing.services.remove(&id)),
            }
        }
    }

    fn outcome(&self, id: &ServiceId) -> Option<Outcome> {
        let mut problems = self.memo.problems.get(id)?.clone();
        let name = self.picture.services.get(id)?.name.clone();
        let cluster = self.ledger.kept.get(id).and_then(Kept::cluster).cloned().unwrap_or_default();
        let intent = self.memo.intents.get(id);
        for claim in intent.into_iter().flat_map(Intent::claims) {
            let Some(claimed) = self.memo.claims.get(&claim) else { continue };
            let own = claimed.problems.iter().filter(|problem| problem.service == *id);
            problems.extend(own.cloned());
        }
        problems.sort();
        let standing = intent.map_or(Standing::Rejected, |intent| self.standing(intent));
        Some(Outcome { name, cluster, standing, problems })
    }

    /// What became of a service: the claims that it was granted, and its own endpoints in their
    /// pools.
    fn standing(&self, intent: &Intent) -> Standing {
        let Some(routes) = self.routing.clusters.get(&intent.cluster) else {
            return Standing::Rejected;
        };
        let claims: BTreeMap<Claim, PoolName> = intent
            .claims()
            .filter_map(|claim| {
                let claimed = self.memo.claims.get(&claim)?;
                let name = self.memo.pools.get(&claimed.key)?.name.clone();
                claimed.grant.includes(&intent.service).then_some((claim, name))
            })
            .collect();
        if claims.is_empty() {
            return Standing::Rejected;
        }
        let names: BTreeSet<_> = claims.values().collect();
        let pools: Vec<_> = names.into_iter().filter_map(|name| routes.pools.get(name)).collect();
        let is_own = |endpoint: &&Endpoint| endpoint.service == intent.service;
        let endpoints = match pools.as_slice() {
            // As most are.
            [pool] if pool.endpoints.iter().all(|it| is_own(&it)) => Arc::clone(&pool.endpoints),
            pools => {
                let all = pools.iter().flat_map(|pool| pool.endpoints.iter());
                pool::in_order(all.filter(is_own).cloned().collect())
            }
        };
        let mode = match intent.backend {
            Backend::Tasks => Mode::Task,
            Backend::Vip(_) => Mode::Vip,
        };
        Standing::Published { mode, claims, endpoints }
    }
}
