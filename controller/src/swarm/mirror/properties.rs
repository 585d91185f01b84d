//! Whatever is written to a Swarm's store, and whenever it is listed: the watch and a list show the
//! same in the end, and a task that was told to stop is never shown again.

use std::collections::{BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::swarm::reader::Lists;
use crate::swarm::watch::{told, wire};

/// Objects of a kind that are there at once.
const PLACES: usize = 4;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// An object is written, as these numbers say.
    Write(Kind, usize, u8),
    /// An object is removed.
    Remove(Kind, usize),
    /// The watch tells so many writes.
    Tell(usize),
    /// A list is begun.
    Begin,
    /// It is made.
    Make,
    /// It has come.
    Come,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Task,
    Network,
    Node,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::Service),
        5 => Just(Kind::Task),
        1 => Just(Kind::Network),
        1 => Just(Kind::Node)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (kind(), 0..PLACES, any::<u8>()).prop_map(|(kind, place, how)| Step::Write(kind, place, how)),
        2 => (kind(), 0..PLACES).prop_map(|(kind, place)| Step::Remove(kind, place)),
        4 => (1..4_usize).prop_map(Step::Tell),
        1 => Just(Step::Begin),
        1 => Just(Step::Make),
        1 => Just(Step::Come),
    ]
}

/// One object: what Docker lists of it (nothing, where it lists none), and what the watch tells.
#[derive(Debug, Clone)]
struct Written {
    id: String,
    listed: Option<Value>,
    told: wire::Object,
}

/// A Swarm's store.
#[derive(Debug, Default)]
struct Store {
    index: u64,
    objects: BTreeMap<(usize, usize), Written>,
    writes: VecDeque<wire::WatchMessage>,
}

impl Store {
    fn write(&mut self, kind: Kind, place: usize, how: u8) {
        self.index += 1;
        let known = self.objects.get(&(kind as usize, place)).map(|it| it.id.clone());
        let action = known.as_ref().map_or(wire::action::CREATE, |_| wire::action::UPDATE);
        // An ID is never given twice.
        let id = known.unwrap_or_else(|| format!("{}{place}.{}", kind as usize, self.index));
        let (listed, told) = self.object(kind, &id, how);
        self.writes.push_back(event(action, told.clone()));
        self.objects.insert((kind as usize, place), Written { id, listed, told });
    }

    fn remove(&mut self, kind: Kind, place: usize) {
        self.index += 1;
        if let Some(it) = self.objects.remove(&(kind as usize, place)) {
            self.writes.push_back(event(wire::action::REMOVE, it.told));
        }
    }

    /// The ID of the object that is in a place, or was.
    fn in_place(&self, kind: Kind, place: usize) -> String {
        self.objects.get(&(kind as usize, place)).map_or("none".into(), |it| it.id.clone())
    }

    fn object(&self, kind: Kind, id: &str, how: u8) -> (Option<Value>, wire::Object) {
        let meta = Some(wire::Meta {
            version: Some(wire::Version { index: self.index }),
            created_at: Some(wire::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        });
        let place = usize::from(how) % PLACES;
        let name = format!("name-{how}");
        let annotations =
            Some(wire::Annotations { name: name.clone(), labels: BTreeMap::default() });
        match kind {
            Kind::Service => {
                let network = self.in_place(Kind::Network, place);
                let replicas = u64::from(how);
                let told = wire::Service {
                    id: id.into(),
                    meta,
                    spec: Some(wire::ServiceSpec {
                        annotations,
                        task: Some(wire::TaskSpec {
                            container: (how != 0).then(wire::ContainerSpec::default),
                            networks: vec![wire::NetworkTarget { target: network.clone() }],
                            ..wire::TaskSpec::default()
                        }),
                        replicated: Some(wire::Replicated { replicas }),
                        ..wire::ServiceSpec::default()
                    }),
                    ..wire::Service::default()
                };
                let listed = json!({
                    "ID": id,
                    "Version": {"Index": self.index},
                    "CreatedAt": "2023-11-14T22:13:20.000000005Z",
                    "Spec": {
                        "Name": name,
                        "TaskTemplate": {"ContainerSpec": {}, "Networks": [{"Target": network}]},
                        "Mode": {"Replicated": {"Replicas": replicas}},
                    },
                });
                let object = wire::Object { service: Some(told), ..wire::Object::default() };
                ((how != 0).then_some(listed), object)
            }
            Kind::Task => {
                let service = self.in_place(Kind::Service, place);
                let (desired, state) = (!how.is_multiple_of(3), how.is_multiple_of(2));
                let told = wire::Task {
                    id: id.into(),
                    meta,
                    service_id: service.clone(),
                    slot: u64::from(how % 5),
                    status: Some(wire::TaskStatus { state: if state { 512 } else { 448 } }),
                    desired_state: if desired { 512 } else { 640 },
                    ..wire::Task::default()
                };
                let listed = json!({
                    "ID": id,
                    "Version": {"Index": self.index},
                    "ServiceID": service,
                    "Slot": how % 5,
                    "Status": {"State": if state { "running" } else { "starting" }},
                });
                let object = wire::Object { task: Some(told), ..wire::Object::default() };
                (desired.then_some(listed), object)
            }
            // The names of these two do not change.
            Kind::Network => {
                let annotations = annotations.map(|it| wire::Annotations { name: id.into(), ..it });
                let spec = Some(wire::NetworkSpec { annotations, ingress: false });
                let told = wire::Network { id: id.into(), meta, spec };
                let listed = json!({"Id": id, "Name": id, "Scope": "swarm"});
                (Some(listed), wire::Object { network: Some(told), ..wire::Object::default() })
            }
            Kind::Node => {
                let description = Some(wire::NodeDescription { hostname: id.into() });
                let told = wire::Node { id: id.into(), meta, description, status: None };
                let listed = json!({"ID": id, "Description": {"Hostname": id}});
                (Some(listed), wire::Object { node: Some(told), ..wire::Object::default() })
            }
        }
    }

    fn list(&self) -> List {
        let of = |kind: Kind| {
            let objects = self.objects.iter().filter(|((it, _), _)| *it == kind as usize);
            Value::Array(objects.filter_map(|(_, object)| object.listed.clone()).collect())
        };
        let body = |kind| of(kind).to_string().into_bytes();
        let networks = serde_json::from_value(of(Kind::Network)).expect("networks");
        let nodes = serde_json::from_value(of(Kind::Node)).expect("nodes");
        List {
            services: convert::services(&body(Kind::Service)).expect("services").0,
            tasks: convert::tasks(&body(Kind::Task)).expect("tasks").0,
            networks: convert::networks(networks),
            nodes: convert::nodes(nodes),
        }
    }
}

fn event(action: i32, object: wire::Object) -> wire::WatchMessage {
    wire::WatchMessage { events: vec![wire::Event { action, object: Some(object) }] }
}

/// A complete read.
#[derive(Debug)]
struct List {
    services: Vec<Arc<Draft>>,
    tasks: Vec<Arc<Versioned<Task>>>,
    networks: Map<NetworkId, Network>,
    nodes: Map<NodeId, Node>,
}

impl List {
    fn lists(&self) -> Lists<'_> {
        Lists {
            services: &self.services,
            tasks: &self.tasks,
            networks: &self.networks,
            nodes: &self.nodes,
            secrets: None,
        }
    }

    fn picture(self) -> Picture {
        let drafts = self.services.iter().map(|draft| &**draft);
        let (services, _) = convert::resolve(drafts, &self.networks);
        let services = services.into_iter().collect();
        let tasks = self.tasks.iter().map(|task| (task.object.id.clone(), (*task.object).clone()));
        let (networks, nodes) = (self.networks, self.nodes);
        Picture { services, tasks: tasks.collect(), networks, nodes, secrets: None }
    }
}

/// A mirror, and what it has been told.
struct Follower {
    mirror: Mirror,
    begun: Option<Mark>,
    made: Option<List>,
    stopped: BTreeSet<TaskId>,
}

impl Follower {
    fn tell(&mut self, message: wire::WatchMessage) {
        for change in told::written(message).changes {
            if let Change::Task(id, Now::Unlisted(_) | Now::Removed) = &change {
                self.stopped.insert(id.clone());
            }
            self.mirror.apply(change);
        }
    }

    fn come(&mut self) {
        if let (Some(begun), Some(made)) = (self.begun, self.made.take()) {
            self.begun = None;
            self.mirror = self.mirror.after(&made.lists(), begun).expect("its own mark").0;
        }
    }

    fn check(&self, past: &str) -> Result<(), TestCaseError> {
        let shown: BTreeSet<TaskId> = self.mirror.picture().tasks.keys().cloned().collect();
        let back: Vec<_> = shown.intersection(&self.stopped).collect();
        prop_assert!(back.is_empty(), "{past}: {back:?} came back");
        let Mirror { services, networks, .. } = &self.mirror;
        let (anew, _) = convert::resolve(services.shown.values(), &networks.shown);
        prop_assert_eq!(self.mirror.picture().services, anew.into_iter().collect(), "{}", past);
        Ok(())
    }
}

/// A task that shall not run is never to run again.
fn forward(store: &Store, kind: Kind, place: usize, how: u8) -> u8 {
    let known = store.objects.get(&(kind as usize, place));
    if kind == Kind::Task && known.is_some_and(|it| it.listed.is_none()) { 0 } else { how }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn in_the_end_the_watch_and_a_list_show_the_same(
        before in vec(step(), 0..20),
        lag in 0..5_usize,
        steps in vec(step(), 0..80),
    ) {
        let mut store = Store::default();
        let act = |store: &mut Store, step: &Step| match step {
            Step::Write(kind, place, how) => {
                let how = forward(store, *kind, *place, *how);
                store.write(*kind, *place, how);
            }
            Step::Remove(kind, place) => store.remove(*kind, *place),
            _ => {}
        };
        before.iter().for_each(|step| act(&mut store, step));
        // The watch begins: a manager that lags behind the leader tells of the last writes too.
        let missed = store.writes.len().saturating_sub(lag);
        store.writes.drain(..missed);
        let mirror = Mirror::new(1);
        let mut follower =
            Follower { begun: Some(mirror.mark()), mirror, made: None, stopped: BTreeSet::new() };
        follower.made = Some(store.list());
        follower.come();
        for step in &steps {
            act(&mut store, step);
            match step {
                Step::Tell(writes) => {
                    let writes = store.writes.len().min(*writes);
                    store.writes.drain(..writes).for_each(|write| follower.tell(write));
                }
                Step::Begin => {
                    follower.begun = Some(follower.mirror.mark());
                    follower.made = None;
                }
                Step::Make if follower.begun.is_some() => follower.made = Some(store.list()),
                Step::Come => follower.come(),
                _ => {}
            }
            follower.check(&format!("{step:?}"))?;
        }
        follower.come();
        store.writes.drain(..).for_each(|write| follower.tell(write));
        follower.check("all was told")?;
        prop_assert_eq!(follower.mirror.picture(), store.list().picture());
    }
}
