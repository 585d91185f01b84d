//! Claims → pools: services that answer the same claim put their endpoints together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::ownership::Grant;
use super::{Connections, Endpoint, Pool, PoolName, Presence, Target};
use crate::labels::{Backend, Intent, NodeCluster, PoolOptions, Running, Transport, Verify, Vip};
use crate::persistent::Map;
use crate::swarm::{Picture, Scale, ServiceId};

/// The longest name that is not cut, in characters.
const LONGEST_NAME: usize = 128;

/// The cluster by which an Envoy reaches its controller (`envoy/bootstrap.yaml`). Envoy would ignore
/// a pool of this name, and send the pool's requests to the controller.
const CONTROLLER: &str = "xds";

/// What tells two pools apart. Everything else of a pool follows from its services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) cluster: NodeCluster,
    services: BTreeSet<ServiceId>,
    options: PoolOptions,
}

impl Key {
    /// The pool of those who answer a claim, with its owner's options.
    pub(super) fn new(owner: &Intent, grant: &Grant) -> Self {
        Self {
            cluster: owner.cluster.clone(),
            services: grant.members(),
            options: owner.pool.clone(),
        }
    }

    /// The services that answer.
    pub(super) fn members<'a>(
        &'a self,
        intents: &'a Map<ServiceId, Intent>,
    ) -> impl Iterator<Item = &'a Intent> {
        self.services.iter().filter_map(|id| intents.get(id))
    }

    /// The pool's name. A lone service decides all settings of its pool; where several could,
    /// settings that are not the plain ones show in the name, so that it does not depend on any other
    /// pool.
    pub(super) fn name(&self, intents: &Map<ServiceId, Intent>) -> PoolName {
        name(&self.members(intents).collect::<Vec<_>>(), &self.options)
    }
}

/// The pool of a key, as it is now.
pub(super) fn build(
    key: &Key,
    picture: &Picture,
    intents: &Map<ServiceId, Intent>,
    running: &Running,
) -> Pool {
    let members: Vec<_> = key.members(intents).collect();
    let endpoints = if is_barred(&key.options) {
        Vec::new()
    } else {
        members.iter().flat_map(|intent| endpoints(intent, picture, running)).collect()
    };
    Pool {
        connections: connections(&members),
        options: key.options.clone(),
        services: key.services.clone(),
        endpoints: in_order(endpoints),
    }
}

/// Whether tasks should prove their name and cannot: nothing is sent to them.
fn is_barred(options: &PoolOptions) -> bool {
    matches!(options.transport, Transport::Tls { verify: Verify::Impossible, .. })
}

fn connections(members: &[&Intent]) -> Connections {
    let vip = members.iter().any(|intent| matches!(intent.backend, Backend::Vip(_)));
    if vip { Connections::Renewed } else { Connections::Kept }
}

/// The addresses where a service answers now. Those of a virtual IP do not depend on any task.
fn endpoints(intent: &Intent, picture: &Picture, running: &Running) -> Vec<Endpoint> {
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
            let tasks = running.get(&intent.service).into_iter().flat_map(BTreeMap::values);
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
pub(super) fn in_order(mut endpoints: Vec<Endpoint>) -> Arc<[Endpoint]> {
    fn order(endpoint: &Endpoint) -> (SocketAddr, &ServiceId, Option<&crate::swarm::TaskId>) {
        (endpoint.address, &endpoint.service, endpoint.target.task())
    }
    endpoints.sort_by(|one, other| order(one).cmp(&order(other)));
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    endpoints.into()
}

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
