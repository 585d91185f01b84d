//! Small routings, made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use waggle_controller::envoy::{FilterCode, Limits, Resource, Settings, resources};
use waggle_controller::labels::{
    Affinity, Care, CookieName, Host, HostPattern, NodeCluster, PathPrefix, Plain, PoolOptions,
    ProxyService, RouteOptions,
};
use waggle_controller::routing::{
    self, Connections, Endpoint, Pool, PoolName, Presence, Route, Routes, ShareHosts, SiteRoutes,
    SiteTls, Target, Turn,
};
use waggle_controller::swarm::{
    MountedSecret, Network, NetworkId, Picture, Purpose, Resolution, Scale, SecretId, Service,
    ServiceId, ServiceName, Task, TaskId, TaskState, Update,
};
use waggle_filter::config::{InfoHeaders, PluginConfig};

/// The address of every [`vip`].
pub(crate) const VIP_ADDRESS: &str = "10.0.1.2";

/// Settings with a filter that does nothing.
pub(crate) fn settings() -> Settings {
    Settings {
        http_port: 8080,
        https_port: 8443,
        public_http_port: 80,
        public_https_port: 443,
        trusted_hops: 0,
        filter_code: FilterCode::Inline(b"\0asm\x01\0\0\0".to_vec()),
        filter: PluginConfig {
            keys: vec!["c2VjcmV0".to_owned()],
            info_headers: InfoHeaders::Shown,
            ..PluginConfig::default()
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
        endpoints: [].into(),
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
    let add = |swarm: Swarm, (name, labels): &(&str, &[(&str, &str)])| swarm.service(name, labels);
    let turn = services.iter().fold(Swarm::default(), add).turn();
    turn.routing.clusters.get(&NodeCluster::default()).cloned().unwrap_or_default()
}

/// A Swarm under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Swarm {
    picture: Picture,
    proxies: BTreeMap<NodeCluster, ProxyService>,
}

impl Swarm {
    /// Adds a service of one running task on network `net`, younger than those before it.
    pub(crate) fn service(
        mut self,
        name: &str,
        labels: &[(impl AsRef<str>, impl AsRef<str>)],
    ) -> Self {
        let prefix = |name: &str| if name.starts_with("waggle.") { "" } else { "com.docker.lb." };
        let key = |name: &str| format!("{}{name}", prefix(name));
        let label = |(name, value): &(_, _)| {
            let (name, value): (&str, &str) = (AsRef::as_ref(name), AsRef::as_ref(value));
            (key(name), value.to_owned())
        };
        let number = self.picture.services.len() + 1;
        let service = Service {
            id: id(name),
            name: ServiceName::new(name),
            created_at: SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64),
            version: 1,
            labels: labels.iter().map(label).collect(),
            misplaced_labels: [].into(),
            networks: vec![],
            resolution: Resolution::VirtualIp,
            vips: [].into(),
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
            addresses: [].into(),
            secrets: BTreeSet::new(),
        };
        self.picture.tasks.insert(task.id.clone(), task);
        self.picture.services.insert(service.id.clone(), service);
        self.attached(name, "net")
    }

    /// Attaches a service to one more network, which is made if need be; its task and its virtual IP
    /// get addresses there.
    pub(crate) fn attached(mut self, service: &str, network: &str) -> Self {
        let id = NetworkId::new(network);
        let net = Network { id: id.clone(), name: network.to_owned(), purpose: Purpose::Tasks };
        self.picture.networks.insert(id.clone(), net);
        let number = self.picture.services.len();
        let service = self.find(service);
        let index = service.networks.len();
        let address = |kind: usize| -> IpAddr {
            let host = kind * 0x0100_0000 + index * 0x0001_0000 + 0x0200 + number;
            Ipv4Addr::from(0x0a00_0000 + u32::try_from(host).unwrap()).into()
        };
        service.networks.push(id.clone());
        service.vips.insert(id.clone(), address(1));
        let owner = service.id.clone();
        let tasks = self.picture.tasks.values().filter(|task| task.service == owner);
        let tasks: Vec<_> = tasks.map(|task| task.id.clone()).collect();
        for task in tasks {
            let task = self.picture.tasks.get_mut(&task).unwrap();
            task.addresses.insert(id.clone(), address(0));
        }
        self
    }

    /// Makes a service the proxies of the default cluster, which hold these secrets as these files.
    pub(crate) fn proxy(mut self, name: &str, secrets: &[(&str, &str)]) -> Self {
        let mounted = |(name, target): &(&str, &str)| MountedSecret {
            id: SecretId::new(*name),
            name: (*name).to_owned(),
            target: (*target).to_owned(),
        };
        self.find(name).secrets = secrets.iter().map(mounted).collect();
        let proxy = ProxyService { name: ServiceName::new(name), care: Care::Owner };
        self.proxies.insert(NodeCluster::default(), proxy);
        self
    }

    fn find(&mut self, name: &str) -> &mut Service {
        let wanted = id(name);
        self.picture.services.get_mut(&wanted).unwrap_or_else(|| panic!("no service {name}"))
    }

    /// The first turn of its routing.
    pub(crate) fn turn(&self) -> Turn {
        let settings = routing::Settings {
            share_hosts: ShareHosts::Any,
            proxy_networks: BTreeSet::new(),
            proxies: self.proxies.clone(),
            linger: Duration::ZERO,
        };
        routing::route(&self.picture, &settings, &Turn::default(), SystemTime::UNIX_EPOCH)
    }
}

/// What the Envoys of each node cluster are told.
pub(crate) fn told(turn: &Turn) -> BTreeMap<NodeCluster, Vec<Resource>> {
    let clusters = turn.routing.clusters.iter();
    clusters.map(|(name, routes)| (name.clone(), resources(routes, &settings()))).collect()
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

pub(crate) fn id(service: &str) -> ServiceId {
    ServiceId::new(format!("id-of-{service}"))
}
