//! From Docker's JSON to our types, once and for all; what a watch tells goes the same way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::listing::{self, Sifted};
use super::shape::{
    DockerInfo, DockerMode, DockerMount, DockerSecret, DockerService, DockerTask, DockerUpdate,
    DockerVip,
};
use crate::persistent::Map;

use super::{
    MountedSecret, Network, NetworkId, Node, NodeId, Purpose, Resolution, Scale, SecretId, Service,
    ServiceId, ServiceName, Task, TaskId, TaskState, Update,
};

/// The prefix of our labels; on a container it is misplaced.
const LABEL_PREFIX: &str = "com.docker.lb.";

/// A service whose networks are still written as its owner wrote them: IDs or names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) service: Service,
    targets: Vec<String>,
}

#[cfg(test)]
impl Draft {
    /// A service that wants to be on these networks.
    pub(super) fn of(service: Service, targets: &[&str]) -> Self {
        Self { service, targets: targets.iter().map(ToString::to_string).collect() }
    }
}

/// An object in one of its versions: `Version.Index` grows with each write of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Versioned<T> {
    pub(super) version: u64,
    pub(super) object: Arc<T>,
}

impl<T> Versioned<T> {
    pub(super) fn new(version: u64, object: T) -> Self {
        Self { version, object: Arc::new(object) }
    }
}

/// Reads one service. `odd` is told what of it is left out.
pub(super) fn service(docker: DockerService, odd: &mut dyn FnMut(String)) -> Result<Draft, String> {
    let DockerService { id, version, created_at, spec, endpoint, update_status } = docker;
    let created_at = humantime::parse_rfc3339_weak(&created_at)
        .map_err(|error| format!("CreatedAt {created_at:?}: {error}"))?;
    let template = spec.task_template.unwrap_or_default();
    let container = template.container_spec.unwrap_or_default();
    let misplaced = container.labels.into_iter().flatten();
    let mut vips = BTreeMap::new();
    for DockerVip { network_id, addr } in
        endpoint.unwrap_or_default().virtual_ips.into_iter().flatten()
    {
        // A VIP that is not assigned yet is written as an empty text.
        match address(&addr) {
            Some(address) => drop(vips.insert(NetworkId::new(network_id), address)),
            None if addr.is_empty() => {}
            None => odd(format!("its virtual IP {addr:?} is no address and is left out")),
        }
    }
    let targets = template.networks.filter(|targets| !targets.is_empty()).or(spec.networks);
    let service = Service {
        id: ServiceId::new(some(id, "ID")?),
        name: ServiceName::new(some(spec.name, "Spec.Name")?),
        created_at,
        version: version.index,
        labels: spec.labels.unwrap_or_default().into(),
        misplaced_labels: misplaced.filter(|(key, _)| key.starts_with(LABEL_PREFIX)).collect(),
        networks: Vec::new(),
        resolution: match spec.endpoint_spec.unwrap_or_default().mode.as_deref() {
            Some("dnsrr") => Resolution::RoundRobin,
            _ => Resolution::VirtualIp,
        },
        vips: vips.into(),
        secrets: container.secrets.into_iter().flatten().filter_map(mounted).collect(),
        scale: spec.mode.unwrap_or_default().into(),
        update: update_status.unwrap_or_default().into(),
    };
    let targets = targets.into_iter().flatten().map(|target| target.target).collect();
    Ok(Draft { service, targets })
}

/// Gives each service its networks. A target that is neither the ID nor the name of a known
/// network is left out, and told.
pub(super) fn resolve<'a>(
    drafts: impl IntoIterator<Item = &'a Draft>,
    networks: &Map<NetworkId, Network>,
) -> (BTreeMap<ServiceId, Service>, BTreeSet<String>) {
    let by_name: BTreeMap<&str, &Network> =
        networks.values().map(|network| (network.name.as_str(), network)).collect();
    let mut unknown = BTreeSet::new();
    let mut services = BTreeMap::new();
    for Draft { service, targets } in drafts {
        let mut service = service.clone();
        for target in targets {
            let network = networks.get(&NetworkId::new(target.as_str()));
            match network.or_else(|| by_name.get(target.as_str()).copied()) {
                Some(network) if network.purpose == Purpose::Ingress => {}
                Some(network) if service.networks.contains(&network.id) => {}
                Some(network) => service.networks.push(network.id.clone()),
                None => drop(unknown.insert(target.clone())),
            }
        }
        services.insert(service.id.clone(), service);
    }
    (services, unknown)
}

/// Names that many objects have in common, each kept once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    fn share(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.0.get(name.as_str()) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// Reads one task; `names` are those that others have in common with it. `odd` is told what of it is
/// left out.
pub(super) fn task(
    docker: DockerTask,
    names: &mut Names,
    odd: &mut dyn FnMut(String),
) -> Result<Versioned<Task>, String> {
    let mut addresses = BTreeMap::new();
    for attachment in docker.networks_attachments.into_iter().flatten() {
        let written = attachment.addresses.unwrap_or_default();
        let Some(network) = attachment.network else { continue };
        match written.iter().find_map(|written| address(written)) {
            Some(address) => {
                addresses.insert(NetworkId::new(names.share(network.id)), address);
            }
            None if written.is_empty() => {}
            None => odd(format!("its addresses {written:?} are none and are left out")),
        }
    }
    let held = docker.spec.unwrap_or_default().container_spec.unwrap_or_default().secrets;
    let written = docker.status.unwrap_or_default().state;
    let node = docker.node_id.filter(|node| !node.is_empty());
    let task = Task {
        id: TaskId::new(some(docker.id, "ID")?),
        service: ServiceId::new(names.share(some(docker.service_id, "ServiceID")?)),
        slot: docker.slot.filter(|slot| *slot > 0),
        node: node.map(|node| NodeId::new(names.share(node))),
        state: written.as_deref().map_or(TaskState::Waiting, state),
        addresses: addresses.into(),
        secrets: held.into_iter().flatten().filter_map(mounted).map(|it| it.id).collect(),
    };
    Ok(Versioned::new(docker.version.index, task))
}

/// Reads a whole `GET /services`.
#[cfg(test)]
pub(super) fn services(body: &[u8]) -> Result<Sifted<Draft>, serde_json::Error> {
    listing::all("service", body, service)
}

/// Reads a whole `GET /tasks`.
#[cfg(test)]
pub(super) fn tasks(body: &[u8]) -> Result<Sifted<Versioned<Task>>, serde_json::Error> {
    let mut names = Names::default();
    listing::all("task", body, |docker, odd: &mut dyn FnMut(String)| task(docker, &mut names, odd))
}

/// Reads `GET /secrets`: the ID of each name.
pub(super) fn secrets(body: &[u8]) -> Result<Sifted<(String, SecretId)>, serde_json::Error> {
    listing::all("secret", body, |docker: DockerSecret, _odd| {
        let id = SecretId::new(some(docker.id, "ID")?);
        Ok((some(docker.spec.name, "Spec.Name")?, id))
    })
}

/// Reads from `GET /info` who signs the certificates of the Swarm's managers (PEM); none where the
/// engine is no manager.
pub(super) fn trust_root(body: &[u8]) -> Result<Option<String>, serde_json::Error> {
    let info: DockerInfo = serde_json::from_slice(body)?;
    let cluster = info.swarm.and_then(|member| member.cluster);
    let root = cluster.and_then(|cluster| cluster.tls_info?.trust_root);
    Ok(root.filter(|root| !root.is_empty()))
}

/// A secret that is a file; none where it is something else.
fn mounted(docker: DockerMount) -> Option<MountedSecret> {
    let DockerMount { secret_id, secret_name, file } = docker;
    Some(MountedSecret { id: SecretId::new(secret_id), name: secret_name, target: file?.name })
}

/// Reads bollard's networks. One without ID or name is left out.
pub(super) fn networks(docker: Vec<bollard::models::Network>) -> Map<NetworkId, Network> {
    let networks = docker.into_iter().filter(|it| it.scope.as_deref() == Some("swarm"));
    networks
        .filter_map(|network| {
            let purpose = match network.ingress {
                Some(true) => Purpose::Ingress,
                _ => Purpose::Tasks,
            };
            let id = NetworkId::new(network.id.filter(|id| !id.is_empty())?);
            Some((id.clone(), Network { id, name: network.name?, purpose }))
        })
        .collect()
}

/// Reads bollard's nodes. One without ID is left out; one that never reported has no host name.
pub(super) fn nodes(docker: Vec<bollard::models::Node>) -> Map<NodeId, Node> {
    docker
        .into_iter()
        .filter_map(|node| {
            let id = NodeId::new(node.id.filter(|id| !id.is_empty())?);
            let hostname = node.description.and_then(|it| it.hostname).unwrap_or_default();
            Some((id.clone(), Node { id, hostname }))
        })
        .collect()
}

fn some(text: String, field: &str) -> Result<String, String> {
    if text.is_empty() { Err(format!("its {field} is empty")) } else { Ok(text) }
}

/// An address that may have a prefix length, as in `10.0.1.5/24`.
fn address(written: &str) -> Option<IpAddr> {
    written.split_once('/').map_or(written, |(address, _)| address).parse().ok()
}

fn state(written: &str) -> TaskState {
    match written {
        "running" => TaskState::Running,
        "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned" => TaskState::Ended,
        _ => TaskState::Waiting,
    }
}

impl From<DockerMode> for Scale {
    fn from(mode: DockerMode) -> Self {
        match mode {
            DockerMode { global: Some(_), .. } => Self::Global,
            DockerMode { replicated_job: Some(_), .. } | DockerMode { global_job: Some(_), .. } => {
                Self::Job
            }
            // Swarm's default.
            DockerMode { replicated, .. } => {
                Self::Replicated(replicated.and_then(|it| it.replicas).unwrap_or(1))
            }
        }
    }
}

impl From<DockerUpdate> for Update {
    fn from(update: DockerUpdate) -> Self {
        match update.state.as_deref() {
            Some("updating" | "rollback_started") => Self::Rolling,
            _ => Self::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(change: impl FnOnce(&mut Value)) -> Value {
        let mut service = json!({
            "ID": "s1",
            "Version": {"Index": 7},
            "CreatedAt": "2025-01-02T03:04:05.678901234Z",
            "Spec": {
                "Name": "demo",
                "Labels": {"com.docker.lb.hosts": "demo.local"},
                "TaskTemplate": {
                    "ContainerSpec": {
                        "Env": ["PASSWORD=secret"],
                        "Labels": {"com.docker.lb.port": "8080", "other": "1"},
                        "Secrets": [
                            {
                                "File": {"Name": "key.pem", "UID": "0", "GID": "0", "Mode": 292},
                                "SecretID": "x1",
                                "SecretName": "demo-key",
                            },
                            {"Runtime": {}, "SecretID": "x2", "SecretName": "for-a-plugin"},
                        ],
                    },
                    "Networks": [{"Target": "n1"}],
                },
                "Mode": {"Replicated": {"Replicas": 4}},
            },
            "Endpoint": {"VirtualIPs": [{"NetworkID": "n1", "Addr": "10.0.1.2/24"}]},
        });
        change(&mut service);
        service
    }

    fn task(change: impl FnOnce(&mut Value)) -> Value {
        let mut task = json!({
            "ID": "t1",
            "ServiceID": "s1",
            "Slot": 1,
            "NodeID": "w1",
            "Status": {"State": "running"},
            "NetworksAttachments": [
                {"Network": {"ID": "n1"}, "Addresses": ["10.0.1.5/24"]},
            ],
        });
        change(&mut task);
        task
    }

    fn known_networks() -> Map<NetworkId, Network> {
        let networks = [
            ("n0", "ingress", Purpose::Ingress),
            ("n1", "demo_net", Purpose::Tasks),
            ("n2", "other", Purpose::Tasks),
        ];
        networks
            .map(|(id, name, purpose)| {
                let id = NetworkId::new(id);
                (id.clone(), Network { id, name: name.into(), purpose })
            })
            .into()
    }

    fn read_tasks(body: &str) -> Sifted<Task> {
        let (tasks, odd) = tasks(body.as_bytes()).expect("a list");
        (tasks.iter().map(|task| Arc::clone(&task.object)).collect(), odd)
    }

    fn read(objects: &[Value]) -> Sifted<Draft> {
        services(json!(objects).to_string().as_bytes()).expect("a list")
    }

    #[test]
    fn a_service_is_read_with_all_that_routing_needs_and_nothing_else() {
        let (drafts, odd) = read(&[service(|_| ())]);
        let (services, unknown) = resolve(drafts.iter().map(|it| &**it), &known_networks());
        assert_eq!((odd, unknown), (vec![], BTreeSet::new()));
        let expected = Service {
            id: ServiceId::new("s1"),
            name: ServiceName::new("demo"),
            created_at: humantime::parse_rfc3339("2025-01-02T03:04:05.678901234Z").expect("a time"),
            version: 7,
            labels: [("com.docker.lb.hosts".into(), "demo.local".into())].into(),
            misplaced_labels: [("com.docker.lb.port".into(), "8080".into())].into(),
            networks: vec![NetworkId::new("n1")],
            resolution: Resolution::VirtualIp,
            vips: [(NetworkId::new("n1"), "10.0.1.2".parse().expect("an address"))].into(),
            secrets: vec![MountedSecret {
                id: SecretId::new("x1"),
                name: "demo-key".into(),
                target: "key.pem".into(),
            }],
            scale: Scale::Replicated(4),
            update: Update::Idle,
        };
        assert_eq!(services.into_values().collect::<Vec<_>>(), [expected]);
        assert!(!format!("{drafts:?}").contains("PASSWORD"));
    }

    #[test]
    fn secrets_are_read_by_name_without_their_labels() {
        let body = json!([
            {"ID": "x1", "Spec": {"Name": "demo-key", "Labels": {"a": 1}}},
            {"ID": "", "Spec": {"Name": "odd"}},
            {"ID": "x3", "Spec": {}},
            {"ID": "x4", "Spec": {"Name": "demo-cert"}},
        ]);
        let (secrets, odd) = secrets(body.to_string().as_bytes()).expect("a list");
        let expected = [("demo-key", "x1"), ("demo-cert", "x4")];
        let expected = expected.map(|(name, id)| Arc::new((name.to_owned(), SecretId::new(id))));
        assert_eq!(secrets, expected);
        assert_eq!(odd.len(), 2);
    }

    #[test]
    fn networks_are_resolved_by_id_or_name_without_ingress_and_without_repeats() {
        for (targets, resolved, unknown) in [
            (json!([{"Target": "n2"}, {"Target": "n1"}]), vec!["n2", "n1"], vec![]),
            (json!([{"Target": "demo_net"}]), vec!["n1"], vec![]),
            (json!([{"Target": "demo_net"}, {"Target": "n1"}]), vec!["n1"], vec![]),
            (json!([{"Target": "n0"}, {"Target": "ingress"}]), vec![], vec![]),
            (json!([{"Target": "host"}, {"Target": "n2"}]), vec!["n2"], vec!["host"]),
            (json!(null), vec![], vec![]),
        ] {
            let written = service(|it| it["Spec"]["TaskTemplate"]["Networks"] = targets.clone());
            let (services, missing) =
                resolve(read(&[written]).0.iter().map(|it| &**it), &known_networks());
            let networks: Vec<_> = services.values().flat_map(|it| &it.networks).collect();
            let expected: Vec<_> = resolved.into_iter().map(NetworkId::new).collect();
            assert_eq!(networks, expected.iter().collect::<Vec<_>>(), "{targets}");
            assert_eq!(missing, unknown.into_iter().map(str::to_owned).collect(), "{targets}");
        }
    }

    #[test]
    fn networks_in_the_place_of_old_clients_are_read_where_the_new_place_is_empty() {
        let written = service(|it| {
            it["Spec"]["TaskTemplate"]["Networks"] = json!([]);
            it["Spec"]["Networks"] = json!([{"Target": "n2"}]);
        });
        let (services, _) = resolve(read(&[written]).0.iter().map(|it| &**it), &known_networks());
        let networks: Vec<_> = services.into_values().flat_map(|it| it.networks).collect();
        assert_eq!(networks, [NetworkId::new("n2")]);
    }

    #[test]
    fn scale_and_update_are_read_in_every_form_of_docker() {
        for (mode, scale) in [
            (json!({"Replicated": {"Replicas": 0}}), Scale::Replicated(0)),
            (json!({"Replicated": {}}), Scale::Replicated(1)),
            (json!({"Global": {}}), Scale::Global),
            (json!({"ReplicatedJob": {"TotalCompletions": 3}}), Scale::Job),
            (json!({"GlobalJob": {}}), Scale::Job),
            (json!({}), Scale::Replicated(1)),
            (json!(null), Scale::Replicated(1)),
        ] {
            let (drafts, _) = read(&[service(|it| it["Spec"]["Mode"] = mode.clone())]);
            assert_eq!(drafts[0].service.scale, scale, "{mode}");
        }
        for (status, update) in [
            (json!({"State": "updating"}), Update::Rolling),
            (json!({"State": "rollback_started"}), Update::Rolling),
            (json!({"State": "completed"}), Update::Idle),
            (json!({"State": "paused"}), Update::Idle),
            (json!({"State": "of a later version"}), Update::Idle),
            (json!({}), Update::Idle),
            (json!(null), Update::Idle),
        ] {
            let (drafts, _) = read(&[service(|it| it["UpdateStatus"] = status.clone())]);
            assert_eq!(drafts[0].service.update, update, "{status}");
        }
    }

    #[test]
    fn an_odd_service_is_left_out_and_told_and_the_rest_goes_on() {
        for (odd, told) in [
            (
                service(|it| drop(it.as_object_mut().map(|it| it.remove("ID")))),
                "a service without ID: left out: missing field `ID`",
            ),
            (service(|it| it["ID"] = json!("")), "service \"\": left out: its ID is empty"),
            (
                service(|it| it["ID"] = json!(null)),
                "a service without ID: left out: invalid type: null",
            ),
            (
                service(|it| it["CreatedAt"] = json!("yesterday")),
                "service \"s1\": left out: CreatedAt \"yesterday\"",
            ),
            (
                service(|it| it["CreatedAt"] = json!("0001-01-01T00:00:00Z")),
                "service \"s1\": left out: CreatedAt",
            ),
            (
                service(|it| it["Version"] = json!({"Index": -1})),
                "service \"s1\": left out: invalid value",
            ),
            (service(|it| it["Spec"]["Name"] = json!(7)), "service \"s1\": left out: invalid type"),
            (
                service(|it| it["Spec"]["Labels"] = json!({"a": 1})),
                "service \"s1\": left out: invalid type",
            ),
            (json!(null), "a service without ID: left out: invalid type"),
            (json!("text"), "a service without ID: left out: invalid type"),
        ] {
            let good = service(|it| it["ID"] = json!("good"));
            let (drafts, oddities) = read(&[odd.clone(), good]);
            let ids: Vec<_> = drafts.iter().map(|it| it.service.id.as_str()).collect();
            assert_eq!(ids, ["good"], "{odd}");
            let [oddity] = oddities.as_slice() else { panic!("{odd}: {oddities:?}") };
            assert!(oddity.to_string().starts_with(told), "{odd}: {oddity}");
        }
    }

    #[test]
    fn a_bad_virtual_ip_costs_only_itself() {
        for (written, vip, oddities) in [
            ("10.0.1.2/24", Some("10.0.1.2"), 0),
            ("10.0.1.2", Some("10.0.1.2"), 0),
            ("fd00::2/64", Some("fd00::2"), 0),
            ("", None, 0),
            ("10.0.1/24", None, 1),
        ] {
            let vips = json!([{"NetworkID": "n1", "Addr": written}]);
            let (drafts, odd) = read(&[service(|it| it["Endpoint"]["VirtualIPs"] = vips)]);
            let read: Vec<_> = drafts[0].service.vips.values().map(ToString::to_string).collect();
            assert_eq!(read, vip.into_iter().collect::<Vec<_>>(), "{written:?}");
            assert_eq!(odd.len(), oddities, "{written:?}");
        }
    }

    #[test]
    fn a_task_is_read_in_every_state_even_in_one_of_a_later_version() {
        for (written, state) in [
            (json!("new"), TaskState::Waiting),
            (json!("preparing"), TaskState::Waiting),
            (json!("starting"), TaskState::Waiting),
            (json!("running"), TaskState::Running),
            (json!("complete"), TaskState::Ended),
            (json!("shutdown"), TaskState::Ended),
            (json!("failed"), TaskState::Ended),
            (json!("rejected"), TaskState::Ended),
            (json!("remove"), TaskState::Ended),
            (json!("orphaned"), TaskState::Ended),
            (json!("of a later version"), TaskState::Waiting),
            (json!(null), TaskState::Waiting),
        ] {
            let body = json!([task(|it| it["Status"]["State"] = written.clone())]).to_string();
            let (tasks, odd) = read_tasks(&body);
            let states: Vec<_> = tasks.iter().map(|task| task.state).collect();
            assert_eq!((states, odd), (vec![state], vec![]), "{written}");
        }
    }

    #[test]
    fn a_tasks_addresses_are_the_first_good_one_of_each_network() {
        for (attachments, addresses, oddities) in [
            (json!([{"Network": {"ID": "n1"}, "Addresses": ["10.0.1.5/24"]}]), vec!["10.0.1.5"], 0),
            (
                json!([{"Network": {"ID": "n1"}, "Addresses": ["bad", "10.0.1.5/24"]}]),
                vec!["10.0.1.5"],
                0,
            ),
            (json!([{"Network": {"ID": "n1"}, "Addresses": ["bad"]}]), vec![], 1),
            (json!([{"Network": {"ID": "n1"}, "Addresses": []}]), vec![], 0),
            (json!([{"Network": {"ID": "n1"}, "Addresses": null}]), vec![], 0),
            (json!([{"Network": null, "Addresses": ["10.0.1.5/24"]}]), vec![], 0),
            (json!(null), vec![], 0),
        ] {
            let body = json!([task(|it| it["NetworksAttachments"] = attachments.clone())]);
            let (tasks, odd) = read_tasks(&body.to_string());
            let read: Vec<_> = tasks
                .iter()
                .flat_map(|it| it.addresses.values())
                .map(ToString::to_string)
                .collect();
            assert_eq!(read, addresses, "{attachments}");
            assert_eq!((tasks.len(), odd.len()), (1, oddities), "{attachments}");
        }
    }

    #[test]
    fn a_tasks_secrets_are_those_that_it_was_made_with() {
        for (secrets, held) in [
            (
                json!([{"File": {"Name": "cert"}, "SecretID": "x1", "SecretName": "cert"}]),
                vec!["x1"],
            ),
            (json!([{"SecretID": "x1", "SecretName": "for-a-plugin"}]), vec![]),
            (json!([]), vec![]),
            (json!(null), vec![]),
        ] {
            let spec = json!({"ContainerSpec": {"Image": "i", "Secrets": secrets}});
            let body = json!([task(|it| it["Spec"] = spec.clone())]).to_string();
            let (tasks, odd) = read_tasks(&body);
            let read: Vec<_> = tasks.iter().flat_map(|it| &it.secrets).collect();
            let expected: Vec<_> = held.into_iter().map(SecretId::new).collect();
            assert_eq!((read, odd), (expected.iter().collect(), vec![]), "{spec}");
        }
    }

    #[test]
    fn an_odd_task_is_left_out_and_the_rest_goes_on() {
        for odd in [
            task(|it| it["ID"] = json!("")),
            task(|it| it["ID"] = json!(7)),
            task(|it| it["ServiceID"] = json!("")),
            task(|it| it["ServiceID"] = json!(null)),
            task(|it| it["Slot"] = json!("first")),
            task(|it| it["NetworksAttachments"] = json!({})),
            json!([]),
        ] {
            let body = json!([odd, task(|it| it["ID"] = json!("good"))]).to_string();
            let (tasks, oddities) = read_tasks(&body);
            let ids: Vec<_> = tasks.iter().map(|task| task.id.as_str()).collect();
            assert_eq!((ids, oddities.len()), (vec!["good"], 1), "{odd}");
        }
    }

    #[test]
    fn a_task_of_a_global_service_has_no_slot_and_an_unassigned_one_no_node() {
        let body = json!([task(|it| {
            it["Slot"] = json!(null);
            it["NodeID"] = json!("");
        })]);
        let (tasks, _) = read_tasks(&body.to_string());
        assert_eq!((tasks[0].slot, tasks[0].node.clone()), (None, None));
    }

    #[test]
    fn networks_of_one_engine_and_nodes_without_id_are_left_out() {
        let read: Vec<bollard::models::Network> = serde_json::from_value(json!([
            {"Id": "n1", "Name": "demo_net", "Scope": "swarm", "Ingress": false},
            {"Id": "n0", "Name": "ingress", "Scope": "swarm", "Ingress": true},
            {"Id": "b1", "Name": "bridge", "Scope": "local"},
            {"Id": "", "Name": "x", "Scope": "swarm"},
            {"Name": "y", "Scope": "swarm"},
        ]))
        .expect("networks");
        let read: Vec<_> =
            networks(read).values().map(|it| (it.name.clone(), it.purpose)).collect();
        let expected =
            [("ingress".to_owned(), Purpose::Ingress), ("demo_net".to_owned(), Purpose::Tasks)];
        assert_eq!(read, expected);
        let read: Vec<bollard::models::Node> = serde_json::from_value(json!([
            {"ID": "w1", "Description": {"Hostname": "worker-1"}},
            {"ID": "w2"},
            {"Description": {"Hostname": "nobody"}},
        ]))
        .expect("nodes");
        let read: Vec<_> = nodes(read).values().map(|it| it.hostname.clone()).collect();
        assert_eq!(read, ["worker-1", ""]);
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = services(&body);
            let _ = tasks(&body);
        }
    }
}
