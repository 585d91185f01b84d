//! Pictures of big Swarms, and how they change.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use waggle_controller::swarm::{
    Network, NetworkId, NodeId, Picture, Purpose, Resolution, Scale, Service, ServiceId,
    ServiceName, Task, TaskId, TaskState, Update,
};

/// How many tasks a service has.
pub(super) const REPLICAS: usize = 10;

/// A Swarm of so many services, each with [`REPLICAS`] running tasks and a host of its own.
pub(super) fn of(services: usize) -> Picture {
    let mut picture = Picture::default();
    let net = NetworkId::new("net");
    let purpose = Purpose::Tasks;
    picture.networks.insert(net.clone(), Network { id: net, name: "net".to_owned(), purpose });
    for number in 0..services {
        let service = service(number);
        picture.services.insert(service.id.clone(), service);
        for slot in 0..REPLICAS {
            let task = task(number, slot, 0);
            picture.tasks.insert(task.id.clone(), task);
        }
    }
    picture
}

/// A service by its number.
pub(super) fn service(number: usize) -> Service {
    let name = format!("service-{number}");
    let labels = [
        ("com.docker.lb.hosts".to_owned(), format!("{name}.example.org")),
        ("com.docker.lb.port".to_owned(), "8080".to_owned()),
    ];
    Service {
        id: service_id(number),
        name: ServiceName::new(name),
        created_at: SystemTime::UNIX_EPOCH,
        version: 1,
        labels: labels.into(),
        misplaced_labels: [].into(),
        networks: vec![NetworkId::new("net")],
        resolution: Resolution::VirtualIp,
        vips: [].into(),
        secrets: Vec::new(),
        scale: Scale::Replicated(REPLICAS as u64),
        update: Update::Idle,
    }
}

pub(super) fn service_id(number: usize) -> ServiceId {
    ServiceId::new(format!("s{number:024}"))
}

/// A task in a slot of a service; `generation` tells apart those that follow each other there.
pub(super) fn task(number: usize, slot: usize, generation: usize) -> Task {
    Task {
        id: task_id(number, slot, generation),
        service: service_id(number),
        slot: Some(slot as u64 + 1),
        node: Some(NodeId::new(format!("n{:024}", number % 10))),
        state: TaskState::Running,
        addresses: [(NetworkId::new("net"), address(number, slot, generation))].into(),
        secrets: BTreeSet::new(),
    }
}

/// The address of a task.
pub(super) fn address(number: usize, slot: usize, generation: usize) -> IpAddr {
    let host = (number * REPLICAS + slot + generation * 1_000_000) % 0x00ff_ffff;
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | u32::try_from(host).unwrap_or_default()))
}

pub(super) fn task_id(number: usize, slot: usize, generation: usize) -> TaskId {
    TaskId::new(format!("t{number:010}{slot:04}{generation:010}"))
}
