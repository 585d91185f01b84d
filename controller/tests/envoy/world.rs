//! Small routings, made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use waggle_controller::envoy::{FilterCode, Limits, Settings};
use waggle_controller::labels::{
    Affinity, CookieName, Host, HostPattern, NodeCluster, PathPrefix, Plain, PoolOptions,
    RouteOptions,
};
use waggle_controller::routing::{
    self, Connections, Endpoint, Pool, PoolName, Presence, Route, Routes, ShareHosts, SiteRoutes,
    SiteTls, Target, Turn,
};
use waggle_controller::swarm::{
    Network, NetworkId, Picture, Purpose, Resolution, Scale, Service, ServiceId, ServiceName, Task,
    TaskId, TaskState, Update,
};
use waggle_filter::config::{InfoHeaders, PluginConfig};

/// The address of every [`vip`].
pub(crate) const VIP_ADDRESS: &str = "10.0.1.2";

/// Settings with a filter that does nothing.
pub(crate) fn settings() -> Settings {
    Settings {
        http_port: 8080,
        https_port: 8443,
        public_https_port: 443,
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
        options: PoolOptions::default(),
        connections: Connections::Kept,
        endpoints: vec![],
    };
    PoolBuilder(PoolName::new(services.join("+")), pool)
}

impl PoolBuilder {
    pub(crate) fn affinity(mut self, affinity: Affinity) -> Self {
        self.1.options.affinity = affinity;
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

/// Hosts that are each answered by one pool.
pub(crate) fn routing<const N: usize>(sites: [(Host, PoolBuilder); N]) -> Routes {
    let mut routes = Routes::default();
    for (host, PoolBuilder(name, pool)) in sites {
        let way = Route { pool: name.clone(), options: RouteOptions::default() };
        let site = SiteRoutes {
            tls: SiteTls::None,
            plain: Plain::Served,
            http_redirect: None,
            https_redirect: None,
            paths: BTreeMap::from([(PathPrefix::root(), way)]),
        };
        routes.sites.insert(host, site);
        routes.pools.insert(name, pool);
    }
    routes
}

/// The routes of services with these labels of ours, each with a running task on one network. A
/// service is named before its labels; a label of Interlock's goes without its prefix.
pub(crate) fn labelled(services: &[(&str, &[(&str, &str)])]) -> Routes {
    let mut picture = Picture::default();
    let network = NetworkId::new("net");
    let net = Network { id: network.clone(), name: "net".to_owned(), purpose: Purpose::Tasks };
    picture.networks.insert(network.clone(), net);
    for (number, (name, labels)) in (1..).zip(services) {
        let prefix = |name: &str| if name.starts_with("waggle.") { "" } else { "com.docker.lb." };
        let key = |name: &str| format!("{}{name}", prefix(name));
        let service = Service {
            id: id(name),
            name: ServiceName::new(*name),
            created_at: SystemTime::UNIX_EPOCH + Duration::from_secs(number.into()),
            version: 1,
            labels: labels.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect(),
            misplaced_labels: BTreeMap::new(),
            networks: vec![network.clone()],
            resolution: Resolution::VirtualIp,
            vips: BTreeMap::new(),
            secrets: vec![],
            scale: Scale::Replicated(1),
            update: Update::Idle,
        };
        let task = Task {
            id: TaskId::new(format!("{name}.{number}")),
            service: service.id.clone(),
            slot: Some(1),
            node: None,
            state: TaskState::Running,
            addresses: BTreeMap::from([(network.clone(), [10, 0, 2, number].into())]),
            secrets: BTreeSet::new(),
        };
        picture.tasks.insert(task.id.clone(), task);
        picture.services.insert(service.id.clone(), service);
    }
    let settings = routing::Settings {
        share_hosts: ShareHosts::Any,
        proxy_networks: BTreeSet::new(),
        proxies: BTreeMap::new(),
        linger: Duration::ZERO,
    };
    let turn = routing::route(&picture, &settings, &Turn::default(), SystemTime::UNIX_EPOCH);
    turn.routing.clusters.get(&NodeCluster::default()).cloned().unwrap_or_default()
}

pub(crate) fn host(name: &str) -> Host {
    Host::Named(HostPattern::parse(name).unwrap())
}

pub(crate) fn any_other() -> Host {
    Host::AnyOther
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
