//! Small routings, made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use waggle_controller::envoy::{FilterCode, Limits, Settings};
use waggle_controller::labels::{Affinity, Claim, CookieName, HostPattern};
use waggle_controller::routing::{
    Connections, Endpoint, Pool, PoolName, Presence, Routing, Target,
};
use waggle_controller::swarm::{ServiceId, TaskId};
use waggle_filter::config::{InfoHeaders, PluginConfig};

/// The address of every [`vip`].
pub(crate) const VIP_ADDRESS: &str = "10.0.1.2";

/// Settings with a filter that does nothing.
pub(crate) fn settings() -> Settings {
    Settings {
        http_port: 8080,
        https_port: 8443,
        trusted_hops: 0,
        filter_code: FilterCode::Inline(b"\0asm\x01\0\0\0".to_vec()),
        filter: PluginConfig {
            keys: vec!["c2VjcmV0".to_owned()],
            info_headers: InfoHeaders::Shown,
        },
        server_info: "waggle/0.1.0 (abcdef0) linux/amd64".to_owned(),
        limits: Limits::default(),
    }
}

/// A pool of services, empty at first, and its name.
pub(crate) struct PoolBuilder(PoolName, Pool);

pub(crate) fn pool<const N: usize>(services: [&str; N]) -> PoolBuilder {
    let pool = Pool {
        services: services.into_iter().map(id).collect::<BTreeSet<_>>(),
        affinity: Affinity::None,
        connections: Connections::Kept,
        endpoints: vec![],
    };
    PoolBuilder(PoolName::new(services.join("+")), pool)
}

impl PoolBuilder {
    pub(crate) fn affinity(mut self, affinity: Affinity) -> Self {
        self.1.affinity = affinity;
        self
    }

    pub(crate) fn connections(mut self, connections: Connections) -> Self {
        self.1.connections = connections;
        self
    }

    pub(crate) fn endpoints<const N: usize>(mut self, endpoints: [Endpoint; N]) -> Self {
        self.1.endpoints = endpoints.into();
        self
    }
}

pub(crate) fn routing<const N: usize>(routes: [(Claim, PoolBuilder); N]) -> Routing {
    let mut routing = Routing { services: BTreeMap::new(), ..Routing::default() };
    for (claim, PoolBuilder(name, pool)) in routes {
        routing.routes.insert(claim, name.clone());
        routing.pools.insert(name, pool);
    }
    routing
}

pub(crate) fn host(name: &str) -> Claim {
    Claim::Host(HostPattern::parse(name).unwrap())
}

pub(crate) fn any_other() -> Claim {
    Claim::AnyOther
}

pub(crate) fn sticky(cookie: &str) -> Affinity {
    Affinity::Cookie(CookieName::parse(cookie).unwrap())
}

/// The task of a service at `10.0.2.number:80`.
pub(crate) fn task(service: &str, number: u8) -> Endpoint {
    Endpoint {
        address: SocketAddr::from(([10, 0, 2, number], 80)),
        service: id(service),
        target: Target::Task {
            task: TaskId::new(format!("{service}.{number}")),
            node: None,
            presence: Presence::Running,
        },
    }
}

/// The virtual IP of a service.
pub(crate) fn vip(service: &str) -> Endpoint {
    Endpoint {
        address: SocketAddr::new(VIP_ADDRESS.parse().unwrap(), 80),
        service: id(service),
        target: Target::Vip,
    }
}

fn id(service: &str) -> ServiceId {
    ServiceId::new(format!("id-of-{service}"))
}
