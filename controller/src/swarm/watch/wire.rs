//! The few messages of `SwarmKit`'s Watch API that are needed, each with the few fields that are read.
//!
//! The numbers are those of `SwarmKit`'s definitions (package `docker.swarmkit.v1`), in which they
//! have been the same for years. All other fields are skipped undecoded: environment variables,
//! arguments, mounts. Public, for a manager that tests simulate.

use std::collections::BTreeMap;

/// The method, as a path.
pub const WATCH: &str = "/docker.swarmkit.v1.Watch/Watch";

/// The bits of `action`.
pub mod action {
    /// An object is new.
    pub const CREATE: i32 = 1;
    /// An object is another.
    pub const UPDATE: i32 = 2;
    /// An object is gone.
    pub const REMOVE: i32 = 4;
}

/// Asks for a watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchRequest {
    /// What is watched; any of these.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<WatchEntry>,
}

/// A kind of object to watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchEntry {
    /// `service`, `task`, `network`, `node`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// A sum of [`action`]s.
    #[prost(int32, tag = "2")]
    pub action: i32,
}

/// One write of the store; the first one is empty.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchMessage {
    /// What was written.
    #[prost(message, repeated, tag = "1")]
    pub events: Vec<Event>,
}

/// A change of an object.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// One of [`action`].
    #[prost(int32, tag = "1")]
    pub action: i32,
    /// The object after it; of one that is gone, its last state.
    #[prost(message, optional, tag = "2")]
    pub object: Option<Object>,
}

/// An object of one kind.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Object {
    /// A node.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// A service.
    #[prost(message, optional, tag = "2")]
    pub service: Option<Service>,
    /// A network.
    #[prost(message, optional, tag = "3")]
    pub network: Option<Network>,
    /// A task.
    #[prost(message, optional, tag = "4")]
    pub task: Option<Task>,
}

/// What every object has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Meta {
    /// The write that made the object what it is.
    #[prost(message, optional, tag = "1")]
    pub version: Option<Version>,
    /// When it was created.
    #[prost(message, optional, tag = "2")]
    pub created_at: Option<Timestamp>,
}

/// The number of a write.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    /// It grows.
    #[prost(uint64, tag = "1")]
    pub index: u64,
}

/// A moment since 1970.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Timestamp {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A name and labels.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Annotations {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The labels.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
}

/// Something that matters only by being there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Present {}

/// A service.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Service {
    /// Its ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its version and age.
    #[prost(message, optional, tag = "2")]
    pub meta: Option<Meta>,
    /// What its owner asks for.
    #[prost(message, optional, tag = "3")]
    pub spec: Option<ServiceSpec>,
    /// What it got.
    #[prost(message, optional, tag = "4")]
    pub endpoint: Option<Endpoint>,
    /// How its update goes.
    #[prost(message, optional, tag = "5")]
    pub update_status: Option<UpdateStatus>,
}

/// What a service's owner asks for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServiceSpec {
    /// The service's name and labels.
    #[prost(message, optional, tag = "1")]
    pub annotations: Option<Annotations>,
    /// What its tasks are.
    #[prost(message, optional, tag = "2")]
    pub task: Option<TaskSpec>,
    /// So many tasks.
    #[prost(message, optional, tag = "3")]
    pub replicated: Option<Replicated>,
    /// A task on each node.
    #[prost(message, optional, tag = "4")]
    pub global: Option<Present>,
    /// Where old clients wrote the networks.
    #[prost(message, repeated, tag = "7")]
    pub networks: Vec<NetworkTarget>,
    /// How its name resolves.
    #[prost(message, optional, tag = "8")]
    pub endpoint: Option<EndpointSpec>,
    /// So many tasks that complete.
    #[prost(message, optional, tag = "10")]
    pub replicated_job: Option<Present>,
    /// A task that completes on each node.
    #[prost(message, optional, tag = "11")]
    pub global_job: Option<Present>,
}

/// So many tasks.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Replicated {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub replicas: u64,
}

/// What a task is made of.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskSpec {
    /// It is a container.
    #[prost(message, optional, tag = "1")]
    pub container: Option<ContainerSpec>,
    /// Its networks.
    #[prost(message, repeated, tag = "7")]
    pub networks: Vec<NetworkTarget>,
    /// It attaches a container of its own owner to a network.
    #[prost(message, optional, tag = "8")]
    pub attachment: Option<Present>,
    /// It is something else, such as a plugin.
    #[prost(message, optional, tag = "10")]
    pub generic: Option<Present>,
}

/// A container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerSpec {
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
    /// The secrets that it sees, without their data.
    #[prost(message, repeated, tag = "12")]
    pub secrets: Vec<SecretReference>,
}

/// A secret as a container sees it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SecretReference {
    /// The secret's ID.
    #[prost(string, tag = "1")]
    pub secret_id: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub secret_name: String,
    /// The file that holds it; none where it is no file.
    #[prost(message, optional, tag = "3")]
    pub file: Option<FileTarget>,
}

/// A file in a container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileTarget {
    /// Its name or path.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A network that a service wants to be on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetworkTarget {
    /// Its ID or name.
    #[prost(string, tag = "1")]
    pub target: String,
}

/// How a service's name resolves.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EndpointSpec {
    /// To a virtual IP (0), or to the tasks (1).
    #[prost(int32, tag = "1")]
    pub mode: i32,
}

/// What a service got.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Endpoint {
    /// Its virtual IPs.
    #[prost(message, repeated, tag = "3")]
    pub virtual_ips: Vec<VirtualIp>,
}

/// A virtual IP.
#[derive(Clone, PartialEq, prost::Message)]
pub struct VirtualIp {
    /// On this network.
    #[prost(string, tag = "1")]
    pub network_id: String,
    /// With a prefix length; empty until it is assigned.
    #[prost(string, tag = "2")]
    pub addr: String,
}

/// How an update goes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateStatus {
    /// Updating is 1, rolling back 4; the others are done or paused.
    #[prost(int32, tag = "1")]
    pub state: i32,
}

/// A task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Task {
    /// Its ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its version and age.
    #[prost(message, optional, tag = "2")]
    pub meta: Option<Meta>,
    /// What it is made of.
    #[prost(message, optional, tag = "3")]
    pub spec: Option<TaskSpec>,
    /// Its service.
    #[prost(string, tag = "4")]
    pub service_id: String,
    /// Its number within the service; 0 in global mode.
    #[prost(uint64, tag = "5")]
    pub slot: u64,
    /// Its node; empty before it is assigned.
    #[prost(string, tag = "6")]
    pub node_id: String,
    /// How far it has come.
    #[prost(message, optional, tag = "9")]
    pub status: Option<TaskStatus>,
    /// How far it shall come: a state, as in [`TaskStatus`].
    #[prost(int32, tag = "10")]
    pub desired_state: i32,
    /// Its addresses.
    #[prost(message, repeated, tag = "11")]
    pub networks: Vec<NetworkAttachment>,
}

/// How far a task has come.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskStatus {
    /// From new (0) to orphaned (832), in steps of 64; running is 512.
    #[prost(int32, tag = "2")]
    pub state: i32,
}

/// A task's addresses on one network.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetworkAttachment {
    /// The network.
    #[prost(message, optional, tag = "1")]
    pub network: Option<Network>,
    /// With prefix lengths.
    #[prost(string, repeated, tag = "2")]
    pub addresses: Vec<String>,
}

/// A network.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Network {
    /// Its ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its version and age.
    #[prost(message, optional, tag = "2")]
    pub meta: Option<Meta>,
    /// What its owner asks for.
    #[prost(message, optional, tag = "3")]
    pub spec: Option<NetworkSpec>,
}

/// What a network's owner asks for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetworkSpec {
    /// The network's name and labels.
    #[prost(message, optional, tag = "1")]
    pub annotations: Option<Annotations>,
    /// Whether it is the routing mesh.
    #[prost(bool, tag = "7")]
    pub ingress: bool,
}

/// A node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Its ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its version and age.
    #[prost(message, optional, tag = "2")]
    pub meta: Option<Meta>,
    /// What it reported; none before it did.
    #[prost(message, optional, tag = "4")]
    pub description: Option<NodeDescription>,
    /// How its managers see it.
    #[prost(message, optional, tag = "5")]
    pub status: Option<NodeStatus>,
}

/// What a node reported.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeDescription {
    /// Its host name.
    #[prost(string, tag = "1")]
    pub hostname: String,
}

/// How managers see a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeStatus {
    /// Unknown is 0, down 1, ready 2, disconnected 3.
    #[prost(int32, tag = "1")]
    pub state: i32,
}
