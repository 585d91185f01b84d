//! Builders for tests: services, tasks and swarms in a line each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::key_of;
use super::{
    Care, Code, Intent, Kept, NodeCluster, PREFIX, Proxies, ProxyService, Reading, Running,
    Surroundings,
};
use crate::swarm::{
    MountedSecret, Network, NetworkId, NodeId, Picture, Purpose, Resolution, Scale, SecretId,
    Service, ServiceId, ServiceName, Task, TaskId, TaskState,
};

/// A service of one replica on network `net`, without labels. Its ID is `id-` and its name.
pub(crate) fn a_service(name: &str) -> Service {
    Service {
        networks: vec![NetworkId::new("id-net")],
        ..crate::swarm::testing::a_service(&format!("id-{name}"), name)
    }
}

impl Service {
    /// Sets a label of ours.
    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(key_of(name), value.to_owned());
        self
    }

    /// Takes a label of ours away.
    pub(crate) fn without(self, name: &str) -> Self {
        let others = self.labels.iter().filter(|(key, _)| **key != key_of(name));
        let labels = others.map(|(key, value)| (key.clone(), value.clone())).collect();
        Self { labels, ..self }
    }

    /// Sets the two labels that every service needs; the port is 80.
    pub(crate) fn serving(self, hosts: &str) -> Self {
        self.label("hosts", hosts).label("port", "80")
    }

    /// Puts a label of ours on the containers.
    pub(crate) fn misplaced(mut self, name: &str, value: &str) -> Self {
        self.misplaced_labels.insert(format!("{PREFIX}{name}"), value.to_owned());
        self
    }

    /// Attaches it to these networks, and no other.
    pub(crate) fn on(mut self, networks: &[&str]) -> Self {
        self.networks = networks.iter().map(|name| NetworkId::new(format!("id-{name}"))).collect();
        self
    }

    /// Gives it a virtual IP on network `net`.
    pub(crate) fn vip(mut self, address: &str) -> Self {
        self.vips.insert(NetworkId::new("id-net"), address.parse().unwrap());
        self
    }

    /// Lets it have no virtual IP.
    pub(crate) fn dnsrr(self) -> Self {
        Self { resolution: Resolution::RoundRobin, vips: [].into(), ..self }
    }

    /// Sets how many tasks it asks for.
    pub(crate) fn scale(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// Sets its age, in seconds after the epoch.
    pub(crate) fn created_at(self, seconds: u64) -> Self {
        Self { created_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), ..self }
    }
}

/// A picture under construction, and the proxy's networks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Swarm {
    pub(crate) picture: Picture,
    pub(crate) proxy_networks: BTreeSet<String>,
    pub(crate) proxies: BTreeMap<NodeCluster, ProxyService>,
}

/// A swarm with network `net` and nothing else.
pub(crate) fn a_swarm() -> Swarm {
    Swarm::default().network("net")
}

impl Swarm {
    /// Adds a network. Its ID is `id-` and its name.
    pub(crate) fn network(self, name: &str) -> Self {
        self.with_network(name, Purpose::Tasks)
    }

    /// Adds an ingress network.
    pub(crate) fn ingress(self, name: &str) -> Self {
        self.with_network(name, Purpose::Ingress)
    }

    fn with_network(mut self, name: &str, purpose: Purpose) -> Self {
        let id = NetworkId::new(format!("id-{name}"));
        self.picture.networks.insert(id.clone(), Network { id, name: name.to_owned(), purpose });
        self
    }

    /// Tells that the proxy is on a network.
    pub(crate) fn proxy_on(mut self, network: &str) -> Self {
        self.proxy_networks.insert(network.to_owned());
        self
    }

    /// Adds the service of the default cluster's proxies, on no network and without secrets.
    pub(crate) fn proxy(mut self, name: &str, care: Care) -> Self {
        let proxy = ProxyService { name: ServiceName::new(name), care };
        self.proxies.insert(NodeCluster::default(), proxy);
        self.service(a_service(name).on(&[]))
    }

    /// Attaches the default cluster's proxies to a network.
    pub(crate) fn proxy_attached(self, network: &str) -> Self {
        self.with_proxy(|proxy| proxy.networks.push(NetworkId::new(format!("id-{network}"))))
    }

    /// Mounts a secret into the default cluster's proxies. Its ID is `id-` and its name.
    pub(crate) fn holding(self, name: &str, target: &str) -> Self {
        let id = SecretId::new(format!("id-{name}"));
        let secret = MountedSecret { id, name: name.to_owned(), target: target.to_owned() };
        self.with_proxy(|proxy| proxy.secrets.push(secret))
    }

    /// Changes the service of the default cluster's proxies.
    pub(crate) fn with_proxy(mut self, change: impl FnOnce(&mut Service)) -> Self {
        let name = &self.proxies[&NodeCluster::default()].name;
        let proxy = self.picture.services.values().find(|it| it.name == *name).unwrap();
        let id = proxy.id.clone();
        change(self.picture.services.get_mut(&id).unwrap());
        self
    }

    /// Tells which secrets there are, and that there are no others.
    pub(crate) fn secrets(mut self, names: &[&str]) -> Self {
        let secrets = names.iter().map(|name| ((*name).to_owned(), SecretId::new(*name)));
        self.picture.secrets = Some(secrets.collect());
        self
    }

    /// Adds a service, or replaces it.
    pub(crate) fn service(mut self, service: Service) -> Self {
        self.picture.services.insert(service.id.clone(), service);
        self
    }

    /// Removes a service; its tasks stay.
    pub(crate) fn no_service(mut self, name: &str) -> Self {
        self.picture.services.remove(&ServiceId::new(format!("id-{name}")));
        self
    }

    /// Adds a running task of a service, with this address on network `net`; the address is its ID.
    pub(crate) fn task(self, service: &str, address: &str) -> Self {
        self.task_in_state(service, address, TaskState::Running)
    }

    /// As [`Swarm::task`], in any state.
    pub(crate) fn task_in_state(mut self, service: &str, address: &str, state: TaskState) -> Self {
        let id = TaskId::new(address);
        let address: IpAddr = address.parse().unwrap();
        let task = Task {
            id: id.clone(),
            service: ServiceId::new(format!("id-{service}")),
            slot: None,
            node: Some(NodeId::new("node")),
            state,
            addresses: [(NetworkId::new("id-net"), address)].into(),
            secrets: BTreeSet::new(),
        };
        self.picture.tasks.insert(id, task);
        self
    }

    /// Gives a task these secrets.
    pub(crate) fn task_holding(mut self, address: &str, secrets: &[&str]) -> Self {
        let held = secrets.iter().map(|name| SecretId::new(format!("id-{name}"))).collect();
        self.picture.tasks.get_mut(&TaskId::new(address)).unwrap().secrets = held;
        self
    }

    /// Removes a task: it was told to stop.
    pub(crate) fn no_task(mut self, address: &str) -> Self {
        self.picture.tasks.remove(&TaskId::new(address));
        self
    }

    fn running(&self) -> Running {
        let mut running: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for task in self.picture.tasks.values().filter(|it| it.state == TaskState::Running) {
            let tasks = running.entry(task.service.clone()).or_default();
            tasks.insert(task.id.clone(), Arc::new(task.clone()));
        }
        running.into_iter().collect()
    }

    /// Reads a service's labels in these surroundings.
    pub(crate) fn read(&self, service: &Service) -> Option<Reading> {
        self.read_after(&Kept::default(), service)
    }

    /// The same, after what was kept of them.
    pub(crate) fn read_after(&self, kept: &Kept, service: &Service) -> Option<Reading> {
        let running = self.running();
        let surroundings = Surroundings {
            networks: &self.picture.networks,
            proxy_networks: &self.proxy_networks,
            proxies: &Proxies::of(&self.picture, &running, &self.proxies),
        };
        super::read(service, surroundings, kept)
    }
}

/// Reads a service's labels in a swarm with network `net`.
pub(crate) fn read(service: &Service) -> Option<Reading> {
    a_swarm().read(service)
}

/// Reads a service's labels after they were valid `before`.
pub(crate) fn read_after(before: &Service, now: &Service) -> Reading {
    let swarm = a_swarm();
    let kept = swarm.read(before).unwrap().kept;
    swarm.read_after(&kept, now).unwrap()
}

/// What a service asks for; it must ask for something.
pub(crate) fn intent(service: &Service) -> Intent {
    let reading = read(service).unwrap();
    reading.intent.unwrap_or_else(|| panic!("rejected: {:?}", reading.problems))
}

/// The hosts that a service asks for.
pub(crate) fn hosts(service: &Service) -> Vec<String> {
    intent(service).hosts.iter().map(ToString::to_string).collect()
}

/// The codes of a service's problems.
pub(crate) fn codes(service: &Service) -> Vec<Code> {
    read(service).unwrap().problems.iter().map(|problem| problem.code).collect()
}
