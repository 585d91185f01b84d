//! From the messages of the watch to changes of our objects.
//!
//! Services and tasks take the way of Docker's own API: into the form in which its lists show them,
//! and from there to our types. So both sources cannot but agree.

use std::time::{Duration, SystemTime};

use serde::de::IgnoredAny;

use super::wire::{self, action};
use super::{Leader, Written};
use crate::swarm::convert::{self, Draft, Names, Versioned};
use crate::swarm::mirror::{Change, Now};
use crate::swarm::shape::{
    DockerAttached, DockerAttachment, DockerContainer, DockerEndpoint, DockerEndpointSpec,
    DockerFile, DockerHeld, DockerMode, DockerMount, DockerReplicated, DockerService, DockerSpec,
    DockerStatus, DockerTarget, DockerTask, DockerTaskSpec, DockerTemplate, DockerUpdate,
    DockerVersion, DockerVip,
};
use crate::swarm::{Network, NetworkId, Node, NodeId, Purpose, ServiceId, Task, TaskId};

/// The desired state of a task that shall run.
const RUNNING: i32 = 512;

/// The state of a node that has not reported to the present leader.
const UNKNOWN: i32 = 0;

/// How a service resolves without virtual IPs.
const ROUND_ROBIN: i32 = 1;

/// The last one that can be written: of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The networks that each engine has for itself; Swarm knows them, Docker's list hides them.
const PREDEFINED: &str = "com.docker.swarm.predefined";

/// What makes a network of this name the routing mesh, in Swarms that are older than the field.
const OLD_INGRESS: (&str, &str) = ("com.docker.swarm.internal", "ingress");

/// Reads one message. What is odd in it is left out, as from a list, which will tell of it.
pub(in crate::swarm) fn written(message: wire::WatchMessage) -> Written {
    let mut leader = Leader::Same;
    let mut changes = Vec::with_capacity(message.events.len());
    for wire::Event { action, object } in message.events {
        let wire::Object { node, service, network, task } = object.unwrap_or_default();
        changes.extend(service.map(|service| {
            let id = ServiceId::new(service.id.as_str());
            Change::Service(id, after(action, service, self::service))
        }));
        changes.extend(task.map(|task| {
            let id = TaskId::new(task.id.as_str());
            Change::Task(id, after(action, task, self::task))
        }));
        changes.extend(network.map(|network| {
            let id = NetworkId::new(network.id.as_str());
            Change::Network(id, after(action, network, self::network))
        }));
        changes.extend(node.map(|node| {
            if action != action::REMOVE && node.status.as_ref().is_none_or(|it| it.state == UNKNOWN)
            {
                leader = Leader::Another;
            }
            let id = NodeId::new(node.id.as_str());
            Change::Node(id, after(action, node, self::node))
        }));
    }
    Written { changes, leader }
}

/// What an object is after an action on it.
fn after<W, T>(action: i32, object: W, read: impl FnOnce(W) -> Now<T>) -> Now<T> {
    if action == action::REMOVE { Now::Removed } else { read(object) }
}

fn service(service: wire::Service) -> Now<Draft> {
    let version = version(service.meta.as_ref());
    let spec = service.spec.unwrap_or_default();
    let wire::Annotations { name, labels } = spec.annotations.unwrap_or_default();
    let template = spec.task.unwrap_or_default();
    // Docker lists services of containers only.
    let Some(container) = template.container else { return Now::Unlisted(version) };
    let virtual_ips = service.endpoint.unwrap_or_default().virtual_ips;
    let vip = |it: wire::VirtualIp| DockerVip { network_id: it.network_id, addr: it.addr };
    let docker = DockerService {
        id: service.id,
        version: DockerVersion { index: version },
        created_at: created_at(service.meta),
        spec: DockerSpec {
            name,
            labels: Some(labels),
            task_template: Some(DockerTemplate {
                container_spec: Some(DockerContainer {
                    labels: Some(container.labels),
                    secrets: Some(mounts(container.secrets)),
                }),
                networks: Some(targets(template.networks)),
            }),
            networks: Some(targets(spec.networks)),
            mode: Some(DockerMode {
                replicated: spec
                    .replicated
                    .map(|it| DockerReplicated { replicas: Some(it.replicas) }),
                global: spec.global.map(|_| IgnoredAny),
                replicated_job: spec.replicated_job.map(|_| IgnoredAny),
                global_job: spec.global_job.map(|_| IgnoredAny),
            }),
            endpoint_spec: spec.endpoint.map(|it| DockerEndpointSpec {
                mode: (it.mode == ROUND_ROBIN).then(|| "dnsrr".to_owned()),
            }),
        },
        endpoint: Some(DockerEndpoint {
            virtual_ips: Some(virtual_ips.into_iter().map(vip).collect()),
        }),
        update_status: service
            .update_status
            .map(|it| DockerUpdate { state: update_state(it.state).map(str::to_owned) }),
    };
    match convert::service(docker, &mut |_left_out| {}) {
        Ok(object) => Now::Is(Versioned::new(version, object)),
        Err(_odd) => Now::Unlisted(version),
    }
}

fn task(task: wire::Task) -> Now<Task> {
    let version = version(task.meta.as_ref());
    let spec = task.spec.unwrap_or_default();
    let listed = spec.attachment.is_none() && spec.generic.is_none();
    if task.desired_state != RUNNING || !listed {
        return Now::Unlisted(version);
    }
    let attachment = |it: wire::NetworkAttachment| DockerAttachment {
        network: it.network.map(|network| DockerAttached { id: network.id }),
        addresses: Some(it.addresses),
    };
    let state = task_state(task.status.unwrap_or_default().state);
    let docker = DockerTask {
        id: task.id,
        version: DockerVersion { index: version },
        service_id: task.service_id,
        slot: Some(task.slot),
        node_id: Some(task.node_id),
        status: Some(DockerStatus { state: Some(state.to_owned()) }),
        networks_attachments: Some(task.networks.into_iter().map(attachment).collect()),
        spec: Some(DockerTaskSpec {
            container_spec: spec
                .container
                .map(|container| DockerHeld { secrets: Some(mounts(container.secrets)) }),
        }),
    };
    match convert::task(docker, &mut Names::default(), &mut |_left_out| {}) {
        Ok(task) => Now::Is(task),
        Err(_odd) => Now::Unlisted(version),
    }
}

fn network(network: wire::Network) -> Now<Network> {
    let version = version(network.meta.as_ref());
    let spec = network.spec.unwrap_or_default();
    let wire::Annotations { name, labels } = spec.annotations.unwrap_or_default();
    if labels.get(PREDEFINED).is_some_and(|it| it == "true") {
        return Now::Unlisted(version);
    }
    let (label, old_name) = OLD_INGRESS;
    let ingress = spec.ingress || (labels.contains_key(label) && name == old_name);
    let purpose = if ingress { Purpose::Ingress } else { Purpose::Tasks };
    let object = Network { id: NetworkId::new(network.id), name, purpose };
    Now::Is(Versioned::new(version, object))
}

fn node(node: wire::Node) -> Now<Node> {
    let hostname = node.description.unwrap_or_default().hostname;
    let object = Node { id: NodeId::new(node.id), hostname };
    Now::Is(Versioned::new(version(node.meta.as_ref()), object))
}

fn version(meta: Option<&wire::Meta>) -> u64 {
    meta.and_then(|meta| meta.version.as_ref()).map_or(0, |version| version.index)
}

/// The time as Docker writes it; nothing that could be read where it is none. Docker writes an
/// absent one as the beginning of 1970.
fn created_at(meta: Option<wire::Meta>) -> String {
    let wire::Timestamp { seconds, nanos } =
        meta.and_then(|meta| meta.created_at).unwrap_or_default();
    let time = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LAST_SECOND);
    let time = time.zip(u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000));
    let time = time.map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
    time.map(|time| humantime::format_rfc3339_nanos(time).to_string()).unwrap_or_default()
}

fn targets(targets: Vec<wire::NetworkTarget>) -> Vec<DockerTarget> {
    targets.into_iter().map(|it| DockerTarget { target: it.target }).collect()
}

fn mounts(secrets: Vec<wire::SecretReference>) -> Vec<DockerMount> {
    let mount = |it: wire::SecretReference| DockerMount {
        secret_id: it.secret_id,
        secret_name: it.secret_name,
        file: it.file.map(|file| DockerFile { name: file.name }),
    };
    secrets.into_iter().map(mount).collect()
}

/// The name that Docker gives a state of a task.
fn task_state(number: i32) -> &'static str {
    match number {
        512 => "running",
        576 => "complete",
        640 => "shutdown",
        704 => "failed",
        768 => "rejected",
        800 => "remove",
        832 => "orphaned",
        _ => "new",
    }
}

/// The name that Docker gives a state of an update in which tasks are replaced.
fn update_state(number: i32) -> Option<&'static str> {
    match number {
        1 => Some("updating"),
        4 => Some("rollback_started"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
