//! The Docker API's own shapes, as Docker 28 prints them (what nobody reads is left out).

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::world::{Mode, Network, Node, Order, Service, Spec, State, Task, World};

/// The time of the Swarm's manager when it wrote the given index: a second a write.
fn time(index: u64) -> String {
    humantime::format_rfc3339_nanos(moment(index)).to_string()
}

pub(super) fn moment(index: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000 + index)
}

fn state(state: State) -> String {
    format!("{state:?}").to_lowercase()
}

/// A service as text; a specification that a client wrote is in there as it wrote it.
pub(super) fn service(service: &Service) -> String {
    let mut answer = service_around(service);
    answer["Spec"] = SPEC.into();
    let text = answer.to_string();
    text.replacen(&format!("\"{SPEC}\""), &written_spec(&service.spec), 1)
}

/// Where the specification goes: no client writes this.
const SPEC: &str = "@waggle-spec@";

/// A specification as text.
pub(super) fn written_spec(spec: &Spec) -> String {
    spec.written.clone().unwrap_or_else(|| self::spec(spec).to_string())
}

/// A specification as Docker prints it.
pub(super) fn spec(spec: &Spec) -> Value {
    let networks: Vec<Value> =
        spec.networks.iter().map(|target| json!({"Target": target, "Aliases": []})).collect();
    let ports: Vec<Value> = spec
        .published
        .iter()
        .map(|port| json!({"Protocol": "tcp", "TargetPort": port, "PublishedPort": port, "PublishMode": "ingress"}))
        .collect();
    let mode = match spec.mode {
        Mode::Replicated(count) => json!({"Replicated": {"Replicas": count}}),
        Mode::Global => json!({"Global": {}}),
    };
    let order = match spec.order {
        Order::StopFirst => "stop-first",
        Order::StartFirst => "start-first",
    };
    let mut container =
        json!({"Image": spec.image, "Init": false, "DNSConfig": {}, "Isolation": "default"});
    if !spec.env.is_empty() {
        container["Env"] = json!(spec.env);
    }
    if !spec.container_labels.is_empty() {
        container["Labels"] = json!(spec.container_labels);
    }
    if !spec.secrets.is_empty() {
        container["Secrets"] = json!(spec.secrets);
    }
    json!({
        "Name": spec.name,
        "Labels": spec.labels,
        "TaskTemplate": {
            "ContainerSpec": container,
            "Resources": {"Limits": {}, "Reservations": {}},
            "Placement": {},
            "Networks": networks,
            "ForceUpdate": 0,
            "Runtime": "container",
        },
        "Mode": mode,
        "UpdateConfig": {"Parallelism": 1, "FailureAction": "pause", "Order": order},
        "EndpointSpec": {"Mode": spec.endpoint_mode, "Ports": ports},
    })
}

/// A service without its specification.
fn service_around(service: &Service) -> Value {
    let vips: Vec<Value> = service
        .vips
        .iter()
        .map(|(network, address)| json!({"NetworkID": network, "Addr": format!("{address}/24")}))
        .collect();
    let mut endpoint = json!({"Spec": {"Mode": service.spec.endpoint_mode}});
    if !vips.is_empty() {
        endpoint["VirtualIPs"] = vips.into();
    }
    let mut answer = json!({
        "ID": service.id,
        "Version": {"Index": service.index},
        "CreatedAt": time(service.created),
        "UpdatedAt": time(service.index),
        "Endpoint": endpoint,
    });
    if let Some(update) = service.update {
        answer["UpdateStatus"] = json!({"State": update, "StartedAt": time(service.index), "Message": "as the test says"});
    }
    answer
}

pub(super) fn task(world: &World, task: &Task) -> Value {
    let attachments: Vec<Value> = task
        .addresses
        .iter()
        .map(|(id, address)| {
            let name = world.networks.get(id).map_or("", |network| network.name.as_str());
            json!({
                "Network": {
                    "ID": id,
                    "Spec": {"Name": name, "DriverConfiguration": {"Name": "overlay"}, "Scope": "swarm"},
                    "DriverState": {"Name": "overlay"},
                },
                "Addresses": [format!("{address}/24")],
            })
        })
        .collect();
    let image = world.services.get(&task.service).map_or("", |service| service.spec.image.as_str());
    let mut answer = json!({
        "ID": task.id,
        "Version": {"Index": task.index},
        "CreatedAt": time(task.index),
        "UpdatedAt": time(task.index),
        "Labels": {},
        "Spec": {"ContainerSpec": {"Image": image, "Secrets": task.secrets}, "ForceUpdate": 0},
        "ServiceID": task.service,
        "NodeID": task.node,
        "Status": {
            "Timestamp": time(task.index),
            "State": state(task.state),
            "Message": "",
            "PortStatus": {},
        },
        "DesiredState": state(task.desired),
        "NetworksAttachments": attachments,
    });
    if let Some(slot) = task.slot {
        answer["Slot"] = slot.into();
    }
    answer
}

pub(super) fn network(network: &Network) -> Value {
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": time(network.created),
        "Scope": "swarm",
        "Driver": "overlay",
        "EnableIPv6": false,
        "IPAM": {"Driver": "default", "Options": null, "Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]},
        "Internal": false,
        "Attachable": false,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": null,
        "Options": {"com.docker.network.driver.overlay.vxlanid_list": "4096"},
        "Labels": null,
    })
}

/// The network that every engine has and that is no part of a Swarm.
pub(super) fn bridge() -> Value {
    json!({
        "Name": "bridge",
        "Id": "b".repeat(64),
        "Created": time(0),
        "Scope": "local",
        "Driver": "bridge",
        "Ingress": false,
        "Containers": {},
        "Options": {},
        "Labels": {},
    })
}

pub(super) fn secret(id: &str, name: &str) -> Value {
    json!({
        "ID": id,
        "Version": {"Index": 1},
        "CreatedAt": time(0),
        "UpdatedAt": time(0),
        "Spec": {"Name": name, "Labels": {}},
    })
}

pub(super) fn node(node: &Node) -> Value {
    json!({
        "ID": node.id,
        "Version": {"Index": node.index},
        "CreatedAt": time(node.index),
        "UpdatedAt": time(node.index),
        "Spec": {"Labels": {}, "Role": "manager", "Availability": if node.drained { "drain" } else { "active" }},
        "Description": {
            "Hostname": node.hostname,
            "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Engine": {"EngineVersion": "28.5.0"},
        },
        "Status": {"State": if node.ready { "ready" } else { "down" }, "Addr": "127.0.0.1"},
    })
}

pub(super) fn version(api: (u32, u32), min_api: (u32, u32)) -> Value {
    json!({
        "Platform": {"Name": ""},
        "Version": "28.5.0",
        "ApiVersion": format!("{}.{}", api.0, api.1),
        "MinAPIVersion": format!("{}.{}", min_api.0, min_api.1),
        "Os": "linux",
        "Arch": "amd64",
    })
}

pub(super) fn info(world: &World) -> Value {
    json!({
        "ID": "waggle-simulated-engine",
        "ServerVersion": "28.5.0",
        "Swarm": {
            "NodeID": world.nodes.keys().next(),
            "NodeAddr": "127.0.0.1",
            "LocalNodeState": "active",
            "ControlAvailable": true,
            "Error": "",
            "Nodes": world.nodes.len(),
            "Managers": 1,
            "Cluster": {
                "ID": "c".repeat(25),
                "TLSInfo": {"TrustRoot": world.authority, "CertIssuerSubject": "", "CertIssuerPublicKey": ""},
            },
        },
    })
}

/// An event of swarm scope.
pub(super) fn event(index: u64, kind: &str, action: &str, id: &str, name: &str) -> Value {
    let time = moment(index).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({
        "Type": kind,
        "Action": action,
        "Actor": {"ID": id, "Attributes": {"name": name}},
        "scope": "swarm",
        "time": time,
        "timeNano": time * 1_000_000_000,
    })
}

/// The same event, with the attribute by which Swarm tells that an update begins or ends.
pub(super) fn with_update_state(mut event: Value, status: &str) -> Value {
    event["Actor"]["Attributes"]["updatestate.new"] = status.into();
    event
}
