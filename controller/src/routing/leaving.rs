//! The last endpoints of a pool stay for the moment in which they still serve.
//!
//! Swarm tells a task to stop, takes it out of its network's load balancing, and signals it 2 s
//! later. An endpoint leaves its pool as soon as the stop is seen, which leaves those 2 s to its
//! last requests. Where no other endpoint is there to take new ones, it serves them too.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Endpoint, Pool, PoolName, Presence, Routes, Target, Turn};
use crate::labels::NodeCluster;
use crate::swarm::{Picture, TaskId};

/// Puts into each empty pool the endpoints that answered its claims in the last turn, if their
/// tasks are gone for less than `linger`. Tells since when each of these tasks is missed.
pub(super) fn keep(
    clusters: &mut BTreeMap<NodeCluster, Routes>,
    picture: &Picture,
    last: &Turn,
    now: SystemTime,
    linger: Duration,
) -> BTreeMap<TaskId, SystemTime> {
    let mut missed = BTreeMap::new();
    for (cluster, routes) in clusters {
        let Some(before) = last.routing.clusters.get(cluster) else { continue };
        let mut kept: BTreeMap<PoolName, Vec<Endpoint>> = BTreeMap::new();
        for (name, pool, endpoint) in lost(routes, before) {
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
            kept.entry(name.clone()).or_default().push(Endpoint { target, ..endpoint.clone() });
        }
        for (name, endpoints) in kept {
            if let Some(pool) = routes.pools.get_mut(&name) {
                pool.endpoints = super::pool::in_order(endpoints);
            }
        }
    }
    missed
}

/// The endpoints of `before` that answered what an empty pool answers now, each with that pool.
fn lost<'a>(
    now: &'a Routes,
    before: &'a Routes,
) -> impl Iterator<Item = (&'a PoolName, &'a Pool, &'a Endpoint)> {
    let paths = now.sites.iter().flat_map(|(host, site)| {
        site.paths.iter().map(move |(path, route)| (host, path, &route.pool))
    });
    paths.flat_map(move |(host, path, name)| {
        let empty = now.pools.get(name).filter(|pool| pool.endpoints.is_empty());
        empty.into_iter().flat_map(move |pool| {
            let before = before.pool_of(host, path).and_then(|name| before.pools.get(name));
            let endpoints = before.into_iter().flat_map(|pool| &pool.endpoints);
            endpoints.map(move |endpoint| (name, pool, endpoint))
        })
    })
}

/// Whether an endpoint is gone because its task was told to stop: not because the task died, nor
/// because its service no longer answers here.
fn told_to_stop(endpoint: &Endpoint, task: &TaskId, pool: &Pool, picture: &Picture) -> bool {
    let answers = pool.services.contains(&endpoint.service)
        || !picture.services.contains_key(&endpoint.service);
    answers && !picture.tasks.contains_key(task)
}
