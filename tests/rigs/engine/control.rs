//! The control socket of the simulated manager: `SwarmKit`'s Watch API, over TLS.
//!
//! Every write of the world is one message to each watch, with all objects that it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use anyhow::Context;
use futures::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;
use waggle_controller::swarm::wire;

use super::json;
use super::server::{Server, lock};
use super::world::{Mode, Network, Node, Service, State, Task, World};
use crate::authority::Signed;

/// How a manager can fail those who watch.
#[derive(Debug, Clone)]
pub enum WatchFault {
    /// It refuses each new watch.
    Refused(Status),
    /// It takes new watches, and never begins them.
    Mute,
}

/// A control socket that listens. It goes when this is dropped, with all connections.
pub struct ControlSocket {
    path: PathBuf,
    _serving: AbortOnDropHandle<()>,
}

impl ControlSocket {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already: somebody took it away.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Who watches, and how that goes.
pub(super) struct Watches {
    changes: Mutex<broadcast::Sender<wire::WatchMessage>>,
    silent: Mutex<bool>,
    fault: Mutex<Option<WatchFault>>,
    kinds: Mutex<BTreeSet<String>>,
    begun: Mutex<u64>,
    told: Mutex<Option<Instant>>,
}

impl Watches {
    pub(super) fn new() -> Self {
        Self {
            changes: Mutex::new(broadcast::Sender::new(4096)),
            silent: Mutex::default(),
            fault: Mutex::default(),
            kinds: Mutex::default(),
            begun: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Whether anybody watches.
    pub(super) fn any(&self) -> bool {
        lock(&self.changes).receiver_count() > 0
    }

    /// Tells what a write has changed.
    pub(super) fn tell(&self, before: &World, after: &World) {
        let message = written(before, after);
        if !message.events.is_empty() && !*lock(&self.silent) {
            *lock(&self.told) = Some(Instant::now());
            // No receiver: nobody watches any more.
            drop(lock(&self.changes).send(message));
        }
    }

    pub(super) fn be_silent(&self, silent: bool) {
        *lock(&self.silent) = silent;
    }

    pub(super) fn fail(&self, fault: Option<WatchFault>) {
        *lock(&self.fault) = fault;
    }

    pub(super) fn end(&self) {
        *lock(&self.changes) = broadcast::Sender::new(4096);
    }

    pub(super) fn kinds(&self) -> BTreeSet<String> {
        lock(&self.kinds).clone()
    }

    pub(super) fn begun(&self) -> u64 {
        *lock(&self.begun)
    }

    pub(super) fn told(&self) -> Option<Instant> {
        *lock(&self.told)
    }

    fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Told>, Status> {
        let entries = request.into_inner().entries;
        lock(&self.kinds).extend(entries.into_iter().map(|entry| entry.kind));
        match lock(&self.fault).clone() {
            Some(WatchFault::Refused(status)) => return Err(status),
            Some(WatchFault::Mute) => return Ok(Response::new(stream::pending().boxed())),
            None => {}
        }
        *lock(&self.begun) += 1;
        let changes = BroadcastStream::new(lock(&self.changes).subscribe());
        let changes = changes.map(|it| it.map_err(|error| Status::aborted(error.to_string())));
        let first = stream::iter([Ok(wire::WatchMessage::default())]);
        Ok(Response::new(first.chain(changes).boxed()))
    }
}

type Told = stream::BoxStream<'static, Result<wire::WatchMessage, Status>>;

/// Listens at a path, with a certificate.
pub(super) fn open(
    server: Arc<Server>,
    path: PathBuf,
    certificate: &Signed,
) -> anyhow::Result<ControlSocket> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    let serving = AbortOnDropHandle::new(tokio::spawn(serve(server, listener, acceptor)));
    Ok(ControlSocket { path, _serving: serving })
}

async fn serve(server: Arc<Server>, listener: UnixListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
        connections.spawn(async move {
            // A client that does not like the certificate leaves.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(answer(server, request).await) }
            });
            let protocol = http2::Builder::new(TokioExecutor::new());
            drop(protocol.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(server: Arc<Server>, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    if request.uri().path() != wire::WATCH {
        return Status::unimplemented("the simulated manager only knows the watch").into_http();
    }
    let codec = ProstCodec::<wire::WatchMessage, wire::WatchRequest>::default();
    let watch = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { server.watches.watch(request) }
    });
    tonic::server::Grpc::new(codec).server_streaming(watch, request).await
}

/// What changed between two worlds, an event an object.
fn written(before: &World, after: &World) -> wire::WatchMessage {
    let mut events = changed(&before.networks, &after.networks, |_| 0, network);
    events.extend(changed(&before.nodes, &after.nodes, |node| node.index, node));
    events.extend(changed(&before.services, &after.services, |it| it.index, service));
    events.extend(changed(&before.tasks, &after.tasks, |task| task.index, task));
    wire::WatchMessage { events }
}

fn changed<T>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    version: impl Fn(&T) -> u64,
    object: impl Fn(&T) -> wire::Object,
) -> Vec<wire::Event> {
    let event = |action, it| wire::Event { action, object: Some(object(it)) };
    let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
    let gone = gone.map(|(_, it)| event(wire::action::REMOVE, it));
    let written = after.iter().filter_map(|(id, it)| match before.get(id) {
        None => Some(event(wire::action::CREATE, it)),
        Some(old) if version(old) != version(it) => Some(event(wire::action::UPDATE, it)),
        Some(_) => None,
    });
    gone.chain(written).collect()
}

fn meta(index: u64, created: u64) -> wire::Meta {
    let created = json::moment(created).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(created.as_secs()).unwrap_or_default();
    wire::Meta {
        version: Some(wire::Version { index }),
        created_at: Some(wire::Timestamp { seconds, nanos: 0 }),
    }
}

fn named(name: &str, labels: &BTreeMap<String, String>) -> wire::Annotations {
    wire::Annotations { name: name.into(), labels: labels.clone() }
}

fn service(service: &Service) -> wire::Object {
    let spec = &service.spec;
    let targets = spec.networks.iter().map(|it| wire::NetworkTarget { target: it.clone() });
    let (replicated, global) = match spec.mode {
        Mode::Replicated(replicas) => (Some(wire::Replicated { replicas }), None),
        Mode::Global => (None, Some(wire::Present {})),
    };
    let vip = |(network, address): (&String, &std::net::IpAddr)| wire::VirtualIp {
        network_id: network.clone(),
        addr: format!("{address}/24"),
    };
    let update = service.update.map(|state| wire::UpdateStatus {
        state: match state {
            "updating" => 1,
            "paused" => 2,
            "completed" => 3,
            "rollback_started" => 4,
            "rollback_paused" => 5,
            "rollback_completed" => 6,
            _ => 0,
        },
    });
    let told = wire::Service {
        id: service.id.clone(),
        meta: Some(meta(service.index, service.created)),
        spec: Some(wire::ServiceSpec {
            annotations: Some(named(&spec.name, &spec.labels)),
            task: Some(wire::TaskSpec {
                container: Some(wire::ContainerSpec {
                    labels: spec.container_labels.clone(),
                    secrets: spec.secrets.iter().map(secret).collect(),
                }),
                networks: targets.collect(),
                ..wire::TaskSpec::default()
            }),
            replicated,
            global,
            endpoint: Some(wire::EndpointSpec { mode: i32::from(spec.endpoint_mode == "dnsrr") }),
            ..wire::ServiceSpec::default()
        }),
        endpoint: Some(wire::Endpoint { virtual_ips: service.vips.iter().map(vip).collect() }),
        update_status: update,
    };
    wire::Object { service: Some(told), ..wire::Object::default() }
}

fn secret(written: &serde_json::Value) -> wire::SecretReference {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let file = wire::FileTarget { name: text(&written["File"]["Name"]) };
    wire::SecretReference {
        secret_id: text(&written["SecretID"]),
        secret_name: text(&written["SecretName"]),
        file: Some(file),
    }
}

fn task(task: &Task) -> wire::Object {
    let attachment = |(network, address): &(String, std::net::IpAddr)| wire::NetworkAttachment {
        network: Some(wire::Network { id: network.clone(), ..wire::Network::default() }),
        addresses: vec![format!("{address}/24")],
    };
    let container = wire::ContainerSpec {
        secrets: task.secrets.iter().map(secret).collect(),
        ..wire::ContainerSpec::default()
    };
    let told = wire::Task {
        id: task.id.clone(),
        meta: Some(meta(task.index, task.index)),
        spec: Some(wire::TaskSpec { container: Some(container), ..wire::TaskSpec::default() }),
        service_id: task.service.clone(),
        slot: task.slot.unwrap_or(0),
        node_id: task.node.clone(),
        status: Some(wire::TaskStatus { state: state(task.state) }),
        desired_state: state(task.desired),
        networks: task.addresses.iter().map(attachment).collect(),
    };
    wire::Object { task: Some(told), ..wire::Object::default() }
}

fn network(network: &Network) -> wire::Object {
    let spec = wire::NetworkSpec {
        annotations: Some(named(&network.name, &BTreeMap::new())),
        ingress: network.ingress,
    };
    let meta = Some(meta(network.created, network.created));
    let told = wire::Network { id: network.id.clone(), meta, spec: Some(spec) };
    wire::Object { network: Some(told), ..wire::Object::default() }
}

fn node(node: &Node) -> wire::Object {
    let told = wire::Node {
        id: node.id.clone(),
        meta: Some(meta(node.index, node.index)),
        description: Some(wire::NodeDescription { hostname: node.hostname.clone() }),
        status: Some(wire::NodeStatus { state: if node.ready { 2 } else { 1 } }),
    };
    wire::Object { node: Some(told), ..wire::Object::default() }
}

/// The number that Swarm gives a state.
fn state(state: State) -> i32 {
    match state {
        State::New => 0,
        State::Pending => 64,
        State::Assigned => 192,
        State::Accepted => 256,
        State::Preparing => 320,
        State::Ready => 384,
        State::Starting => 448,
        State::Running => 512,
        State::Complete => 576,
        State::Shutdown => 640,
        State::Failed => 704,
        State::Rejected => 768,
        State::Remove => 800,
        State::Orphaned => 832,
    }
}
