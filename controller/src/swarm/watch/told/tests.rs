use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::swarm::watch::wire::*;
use crate::swarm::{Network, Node};

fn meta(index: u64) -> Meta {
    let created_at = Some(Timestamp { seconds: 1_735_787_045, nanos: 678_901_234 });
    Meta { version: Some(Version { index }), created_at }
}

fn a_service() -> wire::Service {
    wire::Service {
        id: "s1".into(),
        meta: Some(meta(7)),
        spec: Some(ServiceSpec {
            annotations: Some(Annotations {
                name: "demo".into(),
                labels: [("com.docker.lb.hosts".into(), "demo.local".into())].into(),
            }),
            task: Some(TaskSpec {
                container: Some(ContainerSpec {
                    labels: [
                        ("com.docker.lb.port".into(), "8080".into()),
                        ("other".into(), "1".into()),
                    ]
                    .into(),
                    secrets: vec![
                        SecretReference {
                            secret_id: "x1".into(),
                            secret_name: "demo-key".into(),
                            file: Some(FileTarget { name: "key.pem".into() }),
                        },
                        SecretReference {
                            secret_id: "x2".into(),
                            secret_name: "no-file".into(),
                            file: None,
                        },
                    ],
                }),
                networks: vec![NetworkTarget { target: "n1".into() }],
                ..TaskSpec::default()
            }),
            replicated: Some(Replicated { replicas: 4 }),
            endpoint: Some(EndpointSpec { mode: 0 }),
            ..ServiceSpec::default()
        }),
        endpoint: Some(Endpoint {
            virtual_ips: vec![VirtualIp { network_id: "n1".into(), addr: "10.0.1.2/24".into() }],
        }),
        update_status: None,
    }
}

/// The same as Docker lists it.
fn listed_service() -> Value {
    json!({
        "ID": "s1",
        "Version": {"Index": 7},
        "CreatedAt": "2025-01-02T03:04:05.678901234Z",
        "Spec": {
            "Name": "demo",
            "Labels": {"com.docker.lb.hosts": "demo.local"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Labels": {"com.docker.lb.port": "8080", "other": "1"},
                    "Secrets": [
                        {"File": {"Name": "key.pem"}, "SecretID": "x1", "SecretName": "demo-key"},
                    ],
                },
                "Networks": [{"Target": "n1"}],
            },
            "Networks": [],
            "Mode": {"Replicated": {"Replicas": 4}},
            "EndpointSpec": {"Mode": "vip"},
        },
        "Endpoint": {"VirtualIPs": [{"NetworkID": "n1", "Addr": "10.0.1.2/24"}]},
    })
}

fn a_task() -> wire::Task {
    wire::Task {
        id: "t1".into(),
        meta: Some(meta(9)),
        spec: a_service().spec.and_then(|spec| spec.task),
        service_id: "s1".into(),
        slot: 1,
        node_id: "w1".into(),
        status: Some(TaskStatus { state: 512 }),
        desired_state: 512,
        networks: vec![NetworkAttachment {
            network: Some(wire::Network { id: "n1".into(), ..wire::Network::default() }),
            addresses: vec!["10.0.1.5/24".into()],
        }],
    }
}

fn listed_task() -> Value {
    json!({
        "ID": "t1",
        "Version": {"Index": 9},
        "ServiceID": "s1",
        "Slot": 1,
        "NodeID": "w1",
        "Status": {"State": "running"},
        "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": ["10.0.1.5/24"]}],
        "Spec": {"ContainerSpec": {"Secrets": [
            {"File": {"Name": "key.pem"}, "SecretID": "x1", "SecretName": "demo-key"},
        ]}},
    })
}

/// What a list of one service shows.
fn draft(listed: &Value) -> Option<Draft> {
    let body = json!([listed]).to_string();
    let (drafts, _) = convert::services(body.as_bytes()).expect("a list");
    drafts.first().map(|draft| (**draft).clone())
}

fn same_service(
    change: impl FnOnce(&mut ServiceSpec, &mut wire::Service),
    listed: impl FnOnce(&mut Value),
) {
    let mut told = a_service();
    let mut spec = told.spec.take().expect("a specification");
    change(&mut spec, &mut told);
    told.spec = Some(spec);
    let mut list = listed_service();
    listed(&mut list);
    let object = draft(&list).expect("a service");
    let version = object.service.version;
    assert_eq!(service(told), Now::Is(Versioned::new(version, object)), "{list:#}");
}

#[test]
fn a_service_is_told_as_it_is_listed() {
    same_service(|_, _| (), |_| ());
    same_service(
        |spec, it| {
            spec.endpoint = Some(EndpointSpec { mode: 1 });
            it.endpoint = None;
        },
        |it| {
            it["Spec"]["EndpointSpec"] = json!({"Mode": "dnsrr"});
            it["Endpoint"] = json!({"Spec": {"Mode": "dnsrr"}});
        },
    );
    same_service(|spec, _| spec.endpoint = None, |it| it["Spec"]["EndpointSpec"] = json!(null));
    same_service(
        |_, it| it.endpoint.iter_mut().for_each(|it| it.virtual_ips[0].addr.clear()),
        |it| it["Endpoint"]["VirtualIPs"][0]["Addr"] = json!(""),
    );
    let old = vec![NetworkTarget { target: "n2".into() }];
    same_service(
        |spec, _| {
            spec.task.iter_mut().for_each(|task| task.networks.clear());
            spec.networks = old;
        },
        |it| {
            it["Spec"]["TaskTemplate"]["Networks"] = json!([]);
            it["Spec"]["Networks"] = json!([{"Target": "n2"}]);
        },
    );
    // Docker's own conversion writes an absent time so.
    same_service(
        |_, it| it.meta.iter_mut().for_each(|meta| meta.created_at = None),
        |it| it["CreatedAt"] = json!("1970-01-01T00:00:00Z"),
    );
}

#[test]
fn the_modes_of_a_service_are_told_as_they_are_listed() {
    type Change = fn(&mut ServiceSpec);
    let modes: [(Change, Value); 6] = [
        (
            |it| it.replicated = Some(Replicated { replicas: 0 }),
            json!({"Replicated": {"Replicas": 0}}),
        ),
        (
            |it| it.replicated = Some(Replicated { replicas: 9 }),
            json!({"Replicated": {"Replicas": 9}}),
        ),
        (|it| it.global = Some(Present {}), json!({"Global": {}})),
        (
            |it| it.replicated_job = Some(Present {}),
            json!({"ReplicatedJob": {"TotalCompletions": 3}}),
        ),
        (|it| it.global_job = Some(Present {}), json!({"GlobalJob": {}})),
        (|_| (), json!({})),
    ];
    for (change, mode) in modes {
        let set = |spec: &mut ServiceSpec, _: &mut wire::Service| {
            spec.replicated = None;
            change(spec);
        };
        same_service(set, |it| it["Spec"]["Mode"] = mode);
    }
}

#[test]
fn the_states_of_an_update_are_told_as_they_are_listed() {
    let names = [
        "",
        "updating",
        "paused",
        "completed",
        "rollback_started",
        "rollback_paused",
        "rollback_completed",
        "of a later version",
    ];
    for (state, name) in (0..).zip(names) {
        same_service(
            |_, it| it.update_status = Some(UpdateStatus { state }),
            |it| it["UpdateStatus"] = json!({"State": name}),
        );
    }
}

#[test]
fn what_docker_does_not_list_is_unlisted() {
    let mut plugin = a_service();
    plugin.spec.iter_mut().for_each(|it| {
        it.task = Some(TaskSpec { generic: Some(Present {}), ..TaskSpec::default() });
    });
    assert_eq!(service(plugin), Now::Unlisted(7));
    let mut nameless = a_service();
    nameless.spec.iter_mut().for_each(|it| it.annotations = None);
    assert_eq!(service(nameless), Now::Unlisted(7));
    for seconds in [-1, i64::MIN, i64::MAX] {
        let mut ageless = a_service();
        let created_at = Some(Timestamp { seconds, nanos: 0 });
        ageless.meta = Some(Meta { created_at, ..meta(7) });
        assert_eq!(service(ageless), Now::Unlisted(7), "{seconds}");
    }
    for (attachment, generic) in [(Some(Present {}), None), (None, Some(Present {}))] {
        let spec = Some(TaskSpec { attachment, generic, ..TaskSpec::default() });
        assert_eq!(task(wire::Task { spec, ..a_task() }), Now::Unlisted(9));
    }
    assert_eq!(task(wire::Task { service_id: String::new(), ..a_task() }), Now::Unlisted(9));
    for desired_state in [0, 384, 576, 640, 800, 832, -1] {
        let stopping = wire::Task { desired_state, ..a_task() };
        assert_eq!(task(stopping), Now::Unlisted(9), "{desired_state}");
    }
    let predefined = Annotations {
        name: "host".into(),
        labels: [("com.docker.swarm.predefined".into(), "true".into())].into(),
    };
    let spec = Some(NetworkSpec { annotations: Some(predefined), ingress: false });
    assert_eq!(
        network(wire::Network { id: "h".into(), meta: Some(meta(3)), spec }),
        Now::Unlisted(3)
    );
}

#[test]
fn a_task_is_told_as_it_is_listed() {
    type Case = (fn(&mut wire::Task), fn(&mut Value));
    let cases: [Case; 8] = [
        (|_| (), |_| ()),
        (|it| it.slot = 0, |it| it["Slot"] = json!(null)),
        (|it| it.node_id.clear(), |it| it["NodeID"] = json!("")),
        (|it| it.networks.clear(), |it| it["NetworksAttachments"] = json!(null)),
        (
            |it| it.networks[0].addresses.insert(0, "bad".into()),
            |it| it["NetworksAttachments"][0]["Addresses"] = json!(["bad", "10.0.1.5/24"]),
        ),
        (
            |it| it.networks[0].addresses.clear(),
            |it| it["NetworksAttachments"][0]["Addresses"] = json!([]),
        ),
        (
            |it| it.networks[0].network = None,
            |it| it["NetworksAttachments"][0]["Network"] = json!(null),
        ),
        (|it| it.spec = None, |it| it["Spec"] = json!({})),
    ];
    for (change, listed) in cases {
        let (mut told, mut list) = (a_task(), listed_task());
        change(&mut told);
        listed(&mut list);
        let body = json!([list]).to_string();
        let (tasks, _) = convert::tasks(body.as_bytes()).expect("a list");
        assert_eq!(task(told), Now::Is((*tasks[0]).clone()), "{list:#}");
    }
}

#[test]
fn the_states_of_a_task_are_told_as_they_are_listed() {
    let states = [
        (0, "new"),
        (64, "pending"),
        (192, "assigned"),
        (256, "accepted"),
        (320, "preparing"),
        (384, "ready"),
        (448, "starting"),
        (512, "running"),
        (576, "complete"),
        (640, "shutdown"),
        (704, "failed"),
        (768, "rejected"),
        (800, "remove"),
        (832, "orphaned"),
        (-1, "of a later version"),
    ];
    for (state, name) in states {
        let told = task(wire::Task { status: Some(TaskStatus { state }), ..a_task() });
        let mut list = listed_task();
        list["Status"]["State"] = json!(name);
        let body = json!([list]).to_string();
        let (tasks, _) = convert::tasks(body.as_bytes()).expect("a list");
        assert_eq!(told, Now::Is((*tasks[0]).clone()), "{name}");
    }
}

#[test]
fn a_network_is_the_mesh_by_its_field_or_in_old_swarms_by_its_label_and_name() {
    let label = || ("com.docker.swarm.internal".to_owned(), String::new());
    for (name, labels, ingress, purpose) in [
        ("front", vec![], false, Purpose::Tasks),
        ("mesh", vec![], true, Purpose::Ingress),
        ("ingress", vec![label()], false, Purpose::Ingress),
        ("front", vec![label()], false, Purpose::Tasks),
        ("ingress", vec![], false, Purpose::Tasks),
    ] {
        let annotations =
            Some(Annotations { name: name.into(), labels: labels.into_iter().collect() });
        let spec = Some(NetworkSpec { annotations, ingress });
        let told = network(wire::Network { id: "n1".into(), meta: Some(meta(3)), spec });
        let object = Network { id: NetworkId::new("n1"), name: name.into(), purpose };
        assert_eq!(told, Now::Is(Versioned::new(3, object)), "{name}");
    }
}

#[test]
fn a_write_is_told_in_its_order_and_what_is_unknown_in_it_is_skipped() {
    let object = |object| Some(Object { task: Some(object), ..Object::default() });
    let node = |state| {
        let node = wire::Node {
            id: "w1".into(),
            meta: Some(meta(3)),
            description: Some(NodeDescription { hostname: "worker-1".into() }),
            status: Some(NodeStatus { state }),
        };
        Some(Object { node: Some(node), ..Object::default() })
    };
    let ready = Event { action: action::UPDATE, object: node(2) };
    let told = written(WatchMessage {
        events: vec![
            Event { action: action::CREATE, object: object(a_task()) },
            Event { action: action::REMOVE, object: object(a_task()) },
            Event { action: action::UPDATE, object: Some(Object::default()) },
            Event { action: action::UPDATE, object: None },
            ready,
        ],
    });
    let object = Node { id: NodeId::new("w1"), hostname: "worker-1".into() };
    let changes = vec![
        Change::Task(TaskId::new("t1"), task(a_task())),
        Change::Task(TaskId::new("t1"), Now::Removed),
        Change::Node(NodeId::new("w1"), Now::Is(Versioned::new(3, object))),
    ];
    assert_eq!(told, Written { changes, leader: Leader::Same });

    for (action, state, leader) in [
        (action::UPDATE, UNKNOWN, Leader::Another),
        (action::CREATE, UNKNOWN, Leader::Another),
        (action::REMOVE, UNKNOWN, Leader::Same),
        (action::UPDATE, 1, Leader::Same),
        (action::UPDATE, 3, Leader::Same),
    ] {
        let event = Event { action, object: node(state) };
        assert_eq!(
            written(WatchMessage { events: vec![event] }).leader,
            leader,
            "{action} {state}"
        );
    }
}

/// The environment of a container, as a manager sends it.
#[derive(Clone, PartialEq, prost::Message)]
struct Environment {
    #[prost(string, repeated, tag = "5")]
    env: Vec<String>,
}

#[test]
fn environment_variables_are_never_decoded() {
    let env = Environment { env: vec!["PASSWORD=hunter2".into()] };
    let mut bytes = env.encode_to_vec();
    let container = a_service().spec.and_then(|spec| spec.task).and_then(|task| task.container);
    bytes.extend(container.unwrap_or_default().encode_to_vec());
    assert!(String::from_utf8_lossy(&bytes).contains("hunter2"));
    let read = ContainerSpec::decode(bytes.as_slice()).expect("a container");
    assert!(!format!("{read:?}").contains("hunter2"), "{read:?}");
    assert_eq!(read.secrets.len(), 2);
}

proptest::proptest! {
    #[test]
    fn no_message_makes_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        if let Ok(message) = WatchMessage::decode(body.as_slice()) {
            let _ = written(message);
        }
    }
}
