//! The last endpoints of a pool stay for the moment in which they still serve.
//!
//! Swarm tells a task to stop, takes it out of its network's load balancing, and signals it 2 s
//! later. An endpoint leaves its pool as soon as the stop is seen, which leaves those 2 s to its
//! last requests. Where no other endpoint is there to take new ones, it serves them too.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Endpoint, Pool, Presence, Routing, Target, Turn};
use crate::labels::Claim;
use crate::swarm::{Picture, TaskId};

/// Puts into an empty pool the endpoints that answered its claims in the last turn, if their tasks are
/// gone for less than `linger`. Tells since when each of these tasks is missed.
pub(super) fn keep<'a>(
    pool: &mut Pool,
    claims: impl Iterator<Item = &'a Claim>,
    picture: &Picture,
    last: &Turn,
    (now, linger): (SystemTime, Duration),
) -> BTreeMap<TaskId, SystemTime> {
    let mut missed = BTreeMap::new();
    let mut kept = Vec::new();
    if !pool.endpoints.is_empty() {
        return missed;
    }
    for endpoint in claims.flat_map(|claim| lost(claim, &last.routing)) {
        let Target::Task { task, node, .. } = &endpoint.target else { continue };
        let since = *last.missed.get(task).unwrap_or(&now);
        // A clock that was set back ends the wait, too.
        let over = now.duration_since(since).map_or(true, |gone| gone >= linger);
        if over || !told_to_stop(endpoint, task, pool, picture) {
            continue;
        }
        missed.insert(task.clone(), since);
        let presence = Presence::Leaving;
        let target = Target::Task { task: task.clone(), node: node.clone(), presence };
        kept.push(Endpoint { target, ..endpoint.clone() });
    }
    pool.endpoints = super::pool::in_order(kept);
    missed
}

/// The endpoints that answered a claim.
fn lost<'a>(claim: &Claim, before: &'a Routing) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
    let routes = before.clusters.get(&claim.site.cluster);
    let pool =
        routes.and_then(|routes| routes.pools.get(routes.pool_of(&claim.site.host, &claim.path)?));
    pool.into_iter().flat_map(|pool| pool.endpoints.iter())
}

/// Whether an endpoint is gone because its task was told to stop: not because the task died, nor
/// because its service no longer answers here.
fn told_to_stop(endpoint: &Endpoint, task: &TaskId, pool: &Pool, picture: &Picture) -> bool {
    let answers = pool.services.contains(&endpoint.service)
        || !picture.services.contains_key(&endpoint.service);
    answers && !picture.tasks.contains_key(task)
}
