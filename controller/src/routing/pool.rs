//! Claims → pools: services that answer the same claim put their endpoints together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::ownership::Grants;
use super::{Connections, Endpoint, Pool, PoolName, Presence, Target};
use crate::labels::{Backend, Claim, Intent, NodeCluster, PoolOptions, Transport, Verify, Vip};
use crate::swarm::{Picture, Scale, ServiceId, Task, TaskState};

/// The longest name that is not cut, in characters.
const LONGEST_NAME: usize = 128;

/// The cluster by which an Envoy reaches its controller (`envoy/bootstrap.yaml`). Envoy would ignore
/// a pool of this name, and send the pool's requests to the controller.
const CONTROLLER: &str = "xds";

/// What tells two pools apart. Everything else of a pool follows from its services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    cluster: NodeCluster,
    services: BTreeSet<ServiceId>,
    options: PoolOptions,
}

/// A pool, and the claims that it answers.
pub(super) struct Answering {
    pub(super) cluster: NodeCluster,
    pub(super) name: PoolName,
    pub(super) pool: Pool,
    pub(super) claims: Vec<Claim>,
}

/// The pools of all claims.
pub(super) fn build(
    picture: &Picture,
    intents: &BTreeMap<ServiceId, Intent>,
    grants: &Grants,
) -> Vec<Answering> {
    let mut claims_by_pool: BTreeMap<Key, Vec<Claim>> = BTreeMap::new();
    for (claim, grant) in &grants.claims {
        let Some(owner) = intents.get(&grant.owner) else { continue };
        let key = Key {
            cluster: owner.cluster.clone(),
            services: grant.members(),
            options: owner.pool.clone(),
        };
        claims_by_pool.entry(key).or_default().push(claim.clone());
    }

    let running = running_tasks(picture);
    let build = |(key, claims): (Key, Vec<Claim>)| {
        let members: Vec<_> = key.services.iter().filter_map(|id| intents.get(id)).collect();
        let name = name(&members, &key.options);
        let endpoints = if is_barred(&key.options) {
            Vec::new()
        } else {
            members.iter().flat_map(|intent| endpoints(intent, picture, &running)).collect()
        };
        let pool = Pool {
            connections: connections(&members),
            options: key.options,
            services: key.services,
            endpoints: in_order(endpoints),
        };
        Answering { cluster: key.cluster, name, pool, claims }
    };
    claims_by_pool.into_iter().map(build).collect()
}

/// Whether tasks should prove their name and cannot: nothing is sent to them.
fn is_barred(options: &PoolOptions) -> bool {
    matches!(options.transport, Transport::Tls { verify: Verify::Impossible, .. })
}

/// The running tasks of each service.
fn running_tasks(picture: &Picture) -> BTreeMap<&ServiceId, Vec<&Task>> {
    let mut by_service: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for task in picture.tasks.values().filter(|task| task.state == TaskState::Running) {
        by_service.entry(&task.service).or_default().push(task);
    }
    by_service
}

fn connections(members: &[&Intent]) -> Connections {
    let vip = members.iter().any(|intent| matches!(intent.backend, Backend::Vip(_)));
    if vip { Connections::Renewed } else { Connections::Kept }
}

/// The addresses where a service answers now. Those of a virtual IP do not depend on any task.
fn endpoints(
    intent: &Intent,
    picture: &Picture,
    running: &BTreeMap<&ServiceId, Vec<&Task>>,
) -> Vec<Endpoint> {
    let endpoint = |address, target| Endpoint {
        address: SocketAddr::new(address, intent.port.get()),
        service: intent.service.clone(),
        target,
    };
    match intent.backend {
        Backend::Vip(Vip::Awaited) => Vec::new(),
        Backend::Vip(Vip::Assigned(address)) => {
            let scale = picture.services.get(&intent.service).map(|service| service.scale);
            let wanted = !matches!(scale, None | Some(Scale::Replicated(0)));
            wanted.then(|| endpoint(address, Target::Vip)).into_iter().collect()
        }
        Backend::Tasks => {
            let tasks = running.get(&intent.service).into_iter().flatten();
            let reachable = tasks.filter_map(|task| {
                let address = *task.addresses.get(&intent.network)?;
                let presence = Presence::Running;
                let target =
                    Target::Task { task: task.id.clone(), node: task.node.clone(), presence };
                Some(endpoint(address, target))
            });
            reachable.collect()
        }
    }
}

/// Endpoints by address, each address once: where two share one, that of the first service, then
/// of the first task, holds.
pub(super) fn in_order(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    fn order(endpoint: &Endpoint) -> (SocketAddr, &ServiceId, Option<&crate::swarm::TaskId>) {
        (endpoint.address, &endpoint.service, endpoint.target.task())
    }
    endpoints.sort_by(|one, other| order(one).cmp(&order(other)));
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    endpoints
}

/// The pool's name. A lone service decides all settings of its pool; where several could, settings
/// that are not the plain ones show in the name, so that it does not depend on any other pool.
fn name(members: &[&Intent], options: &PoolOptions) -> PoolName {
    let mut names: Vec<_> = members.iter().map(|intent| intent.name.as_str()).collect();
    names.sort_unstable();
    let joined = names.join("+");
    let is_whole = joined.len() <= LONGEST_NAME && joined != CONTROLLER;
    let settings = (members.len() > 1 && *options != PoolOptions::default()).then_some(options);
    if is_whole && settings.is_none() && names.iter().all(|name| is_plain(name)) {
        return PoolName(joined.into());
    }
    let told = |c: char| if is_sign_of_a_name(c) || c == '+' { c } else { '_' };
    let told: String = joined.chars().take(LONGEST_NAME).map(told).collect();
    let whole = serde_json::to_string(&(names, settings));
    let whole = whole.expect("names, numbers and enums always make JSON");
    PoolName(Arc::from(format!("{told}~{:016x}", fnv1a(&whole))))
}

/// Whether a service has a name as Swarm gives them. Of other names, two could make one pool's name.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_sign_of_a_name)
}

fn is_sign_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// FNV-1a, 64 bits: the same in every build, unlike the standard library's hashes.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
