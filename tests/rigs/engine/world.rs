//! The simulated Swarm itself: what exists, and how a write changes it.
//!
//! Every write takes a new `Version.Index` and leaves the events that Swarm would send in an
//! outbox. Tasks never make events, as in a real Swarm.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::json;

/// Where a task is in its life, in Swarm's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are Swarm's own")]
pub enum State {
    New,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Remove,
    Orphaned,
}

/// The mode of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Replicated(u64),
    Global,
}

/// Which of the two tasks of a slot is there first when a service replaces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    StopFirst,
    StartFirst,
}

/// What a user writes about a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) container_labels: BTreeMap<String, String>,
    pub(super) image: String,
    pub(super) env: Vec<String>,
    /// Targets as written: IDs.
    pub(super) networks: Vec<String>,
    pub(super) mode: Mode,
    pub(super) endpoint_mode: &'static str,
    pub(super) published: Vec<u16>,
    pub(super) order: Order,
    /// The secrets that its tasks see, as they are written.
    pub(super) secrets: Vec<Value>,
    /// The whole specification as a client wrote it, where it has to be shown byte for byte.
    pub(super) written: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Service {
    pub(super) id: String,
    pub(super) index: u64,
    pub(super) created: u64,
    pub(super) spec: Spec,
    pub(super) vips: BTreeMap<String, IpAddr>,
    pub(super) update: Option<&'static str>,
    /// The state in which new tasks begin.
    pub(super) begin_as: State,
    /// What the next tasks get on the service's first network; then addresses of our own.
    pub(super) given: VecDeque<IpAddr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) index: u64,
    pub(super) service: String,
    pub(super) slot: Option<u64>,
    pub(super) node: String,
    pub(super) state: State,
    pub(super) desired: State,
    /// In the order of the service's networks.
    pub(super) addresses: Vec<(String, IpAddr)>,
    /// As it was given them.
    pub(super) secrets: Vec<Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: u64,
    pub(super) ingress: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) index: u64,
    pub(super) hostname: String,
    pub(super) ready: bool,
    /// Whether it shall have no tasks.
    pub(super) drained: bool,
}

impl Node {
    fn takes_tasks(&self) -> bool {
        self.ready && !self.drained
    }
}

/// A whole Swarm.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) index: u64,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) nodes: BTreeMap<String, Node>,
    /// The names of secrets, by ID.
    pub(super) secrets: BTreeMap<String, String>,
    /// Objects that a list serves as they are, by the list's path.
    pub(super) odd: BTreeMap<String, Vec<Value>>,
    pub(super) outbox: Vec<Value>,
    /// Who signs the certificates of its managers, in PEM.
    pub(super) authority: String,
    next_address: u32,
}

impl World {
    /// A Swarm of one node, `node-1`, with its ingress network and no service.
    pub(super) fn new() -> Self {
        let mut world = Self {
            index: 10,
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            networks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            odd: BTreeMap::new(),
            outbox: Vec::new(),
            authority: String::new(),
            next_address: first_address(),
        };
        world.add_node("node-1");
        let id = world.new_id("n");
        world.networks.insert(
            id.clone(),
            Network { id, name: "ingress".into(), created: world.index, ingress: true },
        );
        world.outbox.clear();
        world
    }

    /// The next `Version.Index`; the clock of the Swarm ticks with it.
    pub(super) fn tick(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    /// An ID of Swarm's shape: 25 of `0-9a-z`, in the order of creation within its kind, and told
    /// apart by its first 12, which is what Docker's tables show.
    fn new_id(&mut self, kind: &str) -> String {
        let number = self.tick();
        format!("{kind}{number:011}{:013}", 0)
    }

    fn new_address(&mut self) -> IpAddr {
        let address = Ipv4Addr::from(0x7f00_0000 | (self.next_address & 0x00ff_ffff));
        self.next_address += 1;
        IpAddr::V4(address)
    }

    pub(super) fn add_node(&mut self, hostname: &str) {
        let id = self.new_id("w");
        let index = self.index;
        self.outbox.push(json::event(index, "node", "create", &id, hostname));
        let node =
            Node { id: id.clone(), index, hostname: hostname.into(), ready: true, drained: false };
        self.nodes.insert(id, node);
        let global: Vec<String> = self
            .services
            .values()
            .filter(|service| service.spec.mode == Mode::Global)
            .map(|service| service.id.clone())
            .collect();
        for service in global {
            self.fill(&service);
        }
    }

    fn change_node(&mut self, hostname: &str, change: impl FnOnce(&mut Node)) -> String {
        let index = self.tick();
        let Some(node) = self.nodes.values_mut().find(|node| node.hostname == hostname) else {
            panic!("no node named {hostname} in the simulated Swarm");
        };
        change(node);
        node.index = index;
        let id = node.id.clone();
        self.outbox.push(json::event(index, "node", "update", &id, hostname));
        id
    }

    /// The tasks of a node shall shut down; tells those that should run until now.
    fn shut_down_on(&mut self, node: &str) -> Vec<Task> {
        let index = self.index;
        let mut left = Vec::new();
        for task in self.tasks.values_mut().filter(|task| task.node == node) {
            if task.desired <= State::Running {
                left.push(task.clone());
            }
            task.desired = task.desired.max(State::Shutdown);
            task.index = index;
        }
        left
    }

    /// A node shall have no tasks. Those that it has shall shut down; others do not begin by
    /// themselves, since each waits for the end of its predecessor.
    pub(super) fn drain_node(&mut self, hostname: &str) -> Vec<Task> {
        let id = self.change_node(hostname, |node| node.drained = true);
        self.shut_down_on(&id)
    }

    /// A node may have tasks again.
    pub(super) fn activate_node(&mut self, hostname: &str) {
        self.change_node(hostname, |node| node.drained = false);
    }

    /// A node stops answering: its tasks shall shut down (they still say `running`), and others
    /// take their place on the nodes that are left.
    pub(super) fn lose_node(&mut self, hostname: &str) {
        let id = self.change_node(hostname, |node| node.ready = false);
        let left = self.shut_down_on(&id);
        let concerned: BTreeSet<String> = left.into_iter().map(|task| task.service).collect();
        for service in concerned {
            self.fill(&service);
        }
    }

    /// The ID of a network, which is made if there is none of that name.
    pub(super) fn network(&mut self, name: &str) -> String {
        if let Some(network) = self.networks.values().find(|network| network.name == name) {
            return network.id.clone();
        }
        let id = self.new_id("n");
        let created = self.index;
        self.outbox.push(json::event(created, "network", "create", &id, name));
        let network = Network { id: id.clone(), name: name.into(), created, ingress: false };
        self.networks.insert(id.clone(), network);
        id
    }

    pub(super) fn remove_network(&mut self, name: &str) {
        let index = self.tick();
        let found = self.networks.values().find(|network| network.name == name);
        if let Some(id) = found.map(|network| network.id.clone()) {
            self.networks.remove(&id);
            self.outbox.push(json::event(index, "network", "remove", &id, name));
        }
    }

    /// The ID of a secret, which is made if there is none of that name.
    pub(super) fn secret(&mut self, name: &str) -> String {
        if let Some((id, _)) = self.secrets.iter().find(|(_, known)| *known == name) {
            return id.clone();
        }
        let id = self.new_id("x");
        self.outbox.push(json::event(self.index, "secret", "create", &id, name));
        self.secrets.insert(id.clone(), name.into());
        id
    }

    /// A secret as a specification mounts it, which is made if need be.
    pub(super) fn mount(&mut self, name: &str, target: &str) -> Value {
        let id = self.secret(name);
        let file = json!({"Name": target, "UID": "0", "GID": "0", "Mode": 0o444});
        json!({"File": file, "SecretID": id, "SecretName": name})
    }

    pub(super) fn remove_secret(&mut self, name: &str) {
        let index = self.tick();
        let found = self.secrets.iter().find(|(_, known)| *known == name);
        if let Some(id) = found.map(|(id, _)| id.clone()) {
            self.secrets.remove(&id);
            self.outbox.push(json::event(index, "secret", "remove", &id, name));
        }
    }

    pub(super) fn create(
        &mut self,
        spec: Spec,
        begin_as: State,
        given: VecDeque<IpAddr>,
        vip: Option<IpAddr>,
    ) -> String {
        let id = self.new_id("s");
        let index = self.index;
        self.outbox.push(json::event(index, "service", "create", &id, &spec.name));
        let mut vips = BTreeMap::new();
        if let (Some(vip), Some(first)) = (vip, spec.networks.first()) {
            vips.insert(first.clone(), vip);
        }
        let service = Service {
            id: id.clone(),
            index,
            created: index,
            spec,
            vips,
            update: None,
            begin_as,
            given,
        };
        self.services.insert(id.clone(), service);
        self.settle_vips(&id);
        // It has none yet: looking for them among those of all others is most of what a big Swarm takes.
        self.fill_beside(&id, &[]);
        id
    }

    /// Changes what a user wrote of a service, as `docker service update` does.
    pub(super) fn update(&mut self, id: &str, change: impl FnOnce(&mut Spec)) {
        let index = self.tick();
        let service = self.service_mut(id);
        // A client of today writes what it knows, and nothing else.
        service.spec.written = None;
        change(&mut service.spec);
        service.index = index;
        service.update = None;
        let name = service.spec.name.clone();
        self.outbox.push(json::event(index, "service", "update", id, &name));
        self.settle_vips(id);
        self.fill(id);
    }

    pub(super) fn set_update_status(&mut self, id: &str, status: &'static str) {
        let index = self.tick();
        let service = self.service_mut(id);
        service.index = index;
        service.update = Some(status);
        let event = json::event(index, "service", "update", id, &service.spec.name);
        self.outbox.push(json::with_update_state(event, status));
    }

    /// The service goes at once; its tasks shall be removed, and linger.
    pub(super) fn remove(&mut self, id: &str) {
        let index = self.tick();
        if let Some(service) = self.services.remove(id) {
            self.outbox.push(json::event(index, "service", "remove", id, &service.spec.name));
        }
        for task in self.tasks.values_mut().filter(|task| task.service == id) {
            task.desired = State::Remove;
            task.index = index;
        }
    }

    /// One virtual IP for each network of a service in `vip` mode, and none in `dnsrr` mode.
    fn settle_vips(&mut self, id: &str) {
        let spec = self.service_mut(id).spec.clone();
        let wanted = match spec.endpoint_mode {
            "vip" => self.networks_of(&spec),
            _ => Vec::new(),
        };
        let mut vips = std::mem::take(&mut self.service_mut(id).vips);
        vips.retain(|network, _| wanted.contains(network));
        for network in wanted {
            vips.entry(network).or_insert_with(|| self.new_address());
        }
        self.service_mut(id).vips = vips;
    }

    /// The networks whose addresses a task of this service gets: its own, and ingress if it
    /// publishes a port.
    fn networks_of(&self, spec: &Spec) -> Vec<String> {
        let ingress = self.networks.values().find(|network| network.ingress);
        let ingress = ingress.filter(|_| !spec.published.is_empty());
        spec.networks.iter().cloned().chain(ingress.map(|network| network.id.clone())).collect()
    }

    /// Brings the number of tasks to what the service asks for: new ones begin, the highest
    /// slots stop.
    fn fill(&mut self, id: &str) {
        let held = self.tasks.values();
        let held = held.filter(|task| task.service == id && task.desired <= State::Running);
        let held: Vec<Task> = held.cloned().collect();
        self.fill_beside(id, &held);
    }

    /// The same of a service that holds these tasks.
    fn fill_beside(&mut self, id: &str, held: &[Task]) {
        let ready: Vec<String> = self
            .nodes
            .values()
            .filter(|node| node.takes_tasks())
            .map(|node| node.id.clone())
            .collect();
        match self.service_mut(id).spec.mode {
            Mode::Replicated(count) => {
                for slot in 1..=count {
                    if !held.iter().any(|task| task.slot == Some(slot)) {
                        let turn = usize::try_from(slot - 1).unwrap_or(0) % ready.len().max(1);
                        let node = ready.get(turn).cloned().unwrap_or_default();
                        self.begin(id, Some(slot), node);
                    }
                }
                for task in held.iter().filter(|task| task.slot > Some(count)) {
                    self.stop(&task.id, State::Remove);
                }
            }
            Mode::Global => {
                for node in ready {
                    if !held.iter().any(|task| task.node == node) {
                        self.begin(id, None, node);
                    }
                }
            }
        }
    }

    /// Starts one task.
    pub(super) fn begin(&mut self, service: &str, slot: Option<u64>, node: String) -> String {
        let id = self.new_id("t");
        let spec = self.service_mut(service).spec.clone();
        let mut addresses = Vec::new();
        for network in self.networks_of(&spec) {
            let given = &mut self.service_mut(service).given;
            let given = if addresses.is_empty() { given.pop_front() } else { None };
            addresses.push((network, given.unwrap_or_else(|| self.new_address())));
        }
        let task = Task {
            id: id.clone(),
            index: self.index,
            service: service.into(),
            slot,
            node,
            state: self.service_mut(service).begin_as,
            desired: State::Running,
            addresses,
            secrets: spec.secrets,
        };
        self.tasks.insert(id.clone(), task);
        id
    }

    /// Starts one task, in state `preparing`, in the place of another.
    pub(super) fn succeed(&mut self, old: &str, desired: State) -> Task {
        let Some(old) = self.tasks.get(old).cloned() else {
            panic!("task {old} is no longer in the simulated Swarm");
        };
        let node = match self.nodes.get(&old.node) {
            Some(node) if !node.takes_tasks() => self.nodes.values().find(|it| it.takes_tasks()),
            other => other,
        };
        let node = node.map_or_else(String::new, |node| node.id.clone());
        let id = self.begin(&old.service, old.slot, node);
        self.set_state(&id, State::Preparing);
        self.stop(&id, desired);
        self.tasks[&id].clone()
    }

    /// Gives the tasks of a service the secrets of its specification.
    pub(super) fn hand_over_secrets(&mut self, service: &str) {
        let secrets = self.service_mut(service).spec.secrets.clone();
        for task in self.tasks.values_mut().filter(|task| task.service == service) {
            task.secrets.clone_from(&secrets);
        }
    }

    /// Moves a task's desired state; its present state stays.
    pub(super) fn stop(&mut self, id: &str, desired: State) {
        let index = self.tick();
        if let Some(task) = self.tasks.get_mut(id) {
            task.desired = desired;
            task.index = index;
        }
    }

    pub(super) fn set_state(&mut self, id: &str, state: State) {
        let index = self.tick();
        if let Some(task) = self.tasks.get_mut(id) {
            task.state = state;
            task.index = index;
        }
    }

    pub(super) fn forget_task(&mut self, id: &str) {
        self.tick();
        self.tasks.remove(id);
    }

    fn service_mut(&mut self, id: &str) -> &mut Service {
        match self.services.get_mut(id) {
            Some(service) => service,
            None => panic!("service {id} is no longer in the simulated Swarm"),
        }
    }
}

/// Where this engine's own addresses begin within `127.0.0.0/8`: engines of processes that run
/// side by side, and engines of one process, start 256 apart. `127.0.x.y` stays free for others.
fn first_address() -> u32 {
    static ENGINES: AtomicU32 = AtomicU32::new(0);
    let engine = ENGINES.fetch_add(1, Ordering::Relaxed);
    let block = std::process::id().wrapping_add(engine.wrapping_mul(8192)) % 0xfe00;
    0x0001_0001 + (block << 8)
}
