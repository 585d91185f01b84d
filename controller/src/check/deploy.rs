//! Stacks and what already runs → the picture of the Swarm after `docker stack deploy`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::finding::{Finding, Place};
use super::stack::{Label, Origin, Resource, Service, Stack};
use crate::labels::Severity;
use crate::swarm::{self, Network, NetworkId, Picture, Purpose, SecretId, ServiceId, ServiceName};

/// The label that `docker stack deploy` puts on each service: the stack's name.
const STACK: &str = "com.docker.stack.namespace";

/// The key of the network of a service that names none.
const DEFAULT_NETWORK: &str = "default";

/// Networks and drivers of one node: a service on them has no address that a proxy could reach.
const LOCAL: [&str; 4] = ["bridge", "host", "none", "null"];

/// Whether several files may describe one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// The later ones change the earlier ones, as `docker stack deploy -c FILE -c FILE` has it.
    OneStack,
    /// Each is a stack of its own.
    StackEach,
}

/// The Swarm with the stacks in it.
#[derive(Debug, Default)]
pub(super) struct Deployed {
    /// The Swarm.
    pub(super) picture: Picture,
    /// Where the services of the files are written.
    pub(super) written: BTreeMap<ServiceId, Written>,
    /// What is wrong with the files; those of services that carry no label of ours included.
    pub(super) findings: Vec<(Option<ServiceId>, Finding)>,
}

/// Where a service and its labels are written.
#[derive(Debug)]
pub(super) struct Written {
    place: Place,
    labels: BTreeMap<String, Label>,
    misplaced: BTreeMap<String, Label>,
}

impl Written {
    /// Where a label is; a label that is not there is missing where its service is.
    pub(super) fn place(&self, label: Option<&str>) -> Place {
        let label = label.and_then(|key| self.labels.get(key).or_else(|| self.misplaced.get(key)));
        label.map_or(&self.place, |label| &label.place).clone()
    }
}

/// Puts stacks into a Swarm: `running`, or one that is unknown. A service that runs already is
/// replaced; it stays as old as it is. New ones are younger than all that run, in the order in
/// which they are written.
pub(super) fn deploy(stacks: Vec<Stack>, files: Files, running: Option<Picture>) -> Deployed {
    let known = running.is_some();
    let picture = running.unwrap_or_default();
    let services = || picture.services.values();
    let networks = picture.networks.values();
    let mut deployment = Deployment {
        known,
        clock: services().map(|it| it.created_at).max().unwrap_or(SystemTime::UNIX_EPOCH),
        running: services().map(|it| (it.name.clone(), it.id.clone())).collect(),
        networks: networks.map(|it| (it.name.clone(), it.id.clone())).collect(),
        deployed: Deployed { picture, ..Deployed::default() },
    };
    let mut merged: Vec<Stack> = Vec::new();
    for stack in stacks {
        match merged.iter_mut().find(|it| it.name == stack.name) {
            Some(first) => deployment.merge(first, stack, files),
            None => merged.push(stack),
        }
    }
    for stack in &merged {
        deployment.add_resources(stack);
    }
    for stack in merged {
        deployment.add(stack);
    }
    deployment.deployed
}

struct Deployment {
    /// Whether the Swarm is known: then what is external must be there.
    known: bool,
    /// When the newest service was made.
    clock: SystemTime,
    /// The services that run, by name.
    running: BTreeMap<ServiceName, ServiceId>,
    /// The networks that are there, or that the stacks make, by name.
    networks: BTreeMap<String, NetworkId>,
    deployed: Deployed,
}

impl Deployment {
    /// Joins a stack of the same name.
    fn merge(&mut self, first: &mut Stack, second: Stack, files: Files) {
        first.findings.extend(second.findings);
        first.networks.extend(second.networks);
        first.secrets.extend(second.secrets);
        for (name, service) in second.services {
            match first.services.get_mut(&name) {
                None => drop(first.services.insert(name, service)),
                Some(earlier) if files == Files::OneStack => earlier.change(service),
                Some(earlier) => {
                    let message = format!("the service is in {} already", earlier.place);
                    let fix = "give --stack if the files make one stack, else a `name` at the top \
                               of each";
                    let place = service.place.clone();
                    let finding =
                        Finding::new(place, "defined-twice", Severity::Error, message, fix);
                    let service = Some(in_stack(&first.name, &name));
                    self.deployed.findings.push((None, Finding { service, ..finding }));
                }
            }
        }
    }

    /// What a stack makes, so that others find it whatever the order of the files.
    fn add_resources(&mut self, stack: &Stack) {
        let makes = |resource: &&Resource| resource.origin == Origin::Stack;
        let networks = stack.networks.values().filter(makes).filter(|network| !is_local(network));
        let default = stack.services.values().any(|service| service.networks.is_empty());
        let default = default.then(|| in_stack(&stack.name, DEFAULT_NETWORK));
        for name in networks.map(|network| network.name.clone()).chain(default) {
            let id = NetworkId::new(name.as_str());
            self.networks.entry(name).or_insert(id);
        }
        let Some(secrets) = &mut self.deployed.picture.secrets else { return };
        for secret in stack.secrets.values().filter(makes) {
            if !secrets.contains_key(&secret.name) {
                secrets.insert(secret.name.clone(), SecretId::new(secret.name.as_str()));
            }
        }
    }

    fn add(&mut self, stack: Stack) {
        let Stack { name: stack, services, networks, findings, .. } = stack;
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_by(|one, other| one.1.place.cmp(&other.1.place));
        let mut ids = BTreeMap::new();
        for (name, service) in services {
            let name = in_stack(&stack, &name);
            let id = self.add_service(&stack, &name, &networks, service);
            ids.insert(name, id);
        }
        self.deployed.findings.extend(findings.into_iter().map(|finding| {
            let service = finding.service.as_ref().and_then(|name| ids.get(name));
            (service.cloned(), finding)
        }));
    }

    fn add_service(
        &mut self,
        stack: &str,
        name: &str,
        networks: &BTreeMap<Rc<str>, Resource>,
        service: Service,
    ) -> ServiceId {
        let name = ServiceName::new(name);
        let id = self.running.get(&name).cloned();
        let id = id.unwrap_or_else(|| ServiceId::new(name.as_str()));
        let running = self.deployed.picture.services.remove(&id);
        if running.is_none() {
            self.clock += Duration::from_secs(1);
        }
        let attached = self.attach(stack, (&id, &name), networks, &service);
        let values = |labels: &BTreeMap<String, Label>| -> BTreeMap<_, _> {
            labels.iter().map(|(key, label)| (key.clone(), label.value.clone())).collect()
        };
        let mut labels = values(&service.labels);
        labels.insert(STACK.to_owned(), stack.to_owned());
        let deployed = swarm::Service {
            id: id.clone(),
            name,
            created_at: running.as_ref().map_or(self.clock, |service| service.created_at),
            version: running.as_ref().map_or(0, |service| service.version),
            labels: labels.into(),
            misplaced_labels: values(&service.misplaced).into(),
            networks: attached,
            resolution: service.resolution(),
            // Swarm will assign the rest.
            vips: running.map(|service| service.vips.clone()).unwrap_or_default(),
            secrets: Vec::new(),
            scale: service.scale(),
            update: swarm::Update::Idle,
        };
        let Service { place, labels, misplaced, .. } = service;
        self.deployed.picture.services.insert(id.clone(), deployed);
        self.deployed.written.insert(id.clone(), Written { place, labels, misplaced });
        id
    }

    /// The networks of a service; those that only one node has are left out.
    fn attach(
        &mut self,
        stack: &str,
        (id, name): (&ServiceId, &ServiceName),
        networks: &BTreeMap<Rc<str>, Resource>,
        service: &Service,
    ) -> Vec<NetworkId> {
        let default = [(DEFAULT_NETWORK.to_owned(), service.place.clone())].into();
        let keys = if service.networks.is_empty() { &default } else { &service.networks };
        let mut attached = Vec::new();
        for (key, place) in keys {
            let network = networks.get(key.as_str());
            if network.is_some_and(is_local) {
                continue;
            }
            let fault = match network {
                None if key != DEFAULT_NETWORK => Some((
                    "undefined-network",
                    format!(
                        "the file defines no network `{key}`; `docker stack deploy` refuses it"
                    ),
                    format!("add `{key}` to the file's `networks`"),
                )),
                Some(network) if self.lacks(network) => Some((
                    "missing-network",
                    format!("the Swarm has no network `{}`, which is external here", network.name),
                    "create the network, or correct its `name`".to_owned(),
                )),
                _ => None,
            };
            if let Some((code, message, fix)) = fault {
                let finding = Finding::new(place.clone(), code, Severity::Error, message, fix);
                let finding = Finding { service: Some(name.to_string()), ..finding };
                self.deployed.findings.push((Some(id.clone()), finding));
            }
            let network = network.map_or_else(|| in_stack(stack, key), |it| it.name.clone());
            attached.push(self.network(network));
        }
        attached
    }

    /// Whether a network must be there and is not.
    fn lacks(&self, network: &Resource) -> bool {
        self.known
            && network.origin == Origin::External
            && !self.networks.contains_key(&network.name)
    }

    /// The network of this name, in the picture.
    fn network(&mut self, name: String) -> NetworkId {
        let id = self.networks.get(&name).cloned();
        let id = id.unwrap_or_else(|| NetworkId::new(name.as_str()));
        let networks = &mut self.deployed.picture.networks;
        if !networks.contains_key(&id) {
            let network = Network { id: id.clone(), name, purpose: Purpose::Tasks };
            networks.insert(id.clone(), network);
        }
        id
    }
}

/// The name of what belongs to a stack.
fn in_stack(stack: &str, key: &str) -> String {
    format!("{stack}_{key}")
}

/// Whether only one node has a network.
fn is_local(network: &Resource) -> bool {
    let external = network.origin == Origin::External && LOCAL.contains(&network.name.as_str());
    external || network.driver.as_deref().is_some_and(|driver| LOCAL.contains(&driver))
}
