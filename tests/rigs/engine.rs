//! A simulated Docker engine: a Swarm manager's API on a unix socket, with no Docker behind it.
//!
//! A test writes the history of a Swarm, and whoever reads the API sees it as a real manager would
//! show it. Backends are not part of this: a task is an address, and a test that wants an answer
//! from it listens there.
//!
//! ```ignore
//! let engine = Engine::start().await?;
//! let demo = engine
//!     .service("demo")
//!     .label("com.docker.lb.hosts", "demo.local")
//!     .label("com.docker.lb.port", "8080")
//!     .network("demo")
//!     .replicas(4)
//!     .create();
//! for task in demo.tasks() { /* listen on (task.address(), 8080) */ }
//!
//! demo.tasks()[0].stop();                       // leaves the list of running tasks at once
//! for moment in demo.set_image("demo:2") { }    // a rolling update, a thing at a time
//! engine.fault("/tasks", Fault::Status(500, "no".into()), 3);
//! ```
//!
//! The engine ends, and its socket goes, when the last clone of [`Engine`] is dropped.

mod control;
mod json;
mod printer;
mod server;
mod service;
mod update;
mod world;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context;
use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::task::AbortOnDropHandle;

pub use control::{ControlSocket, WatchFault};
pub use server::{Fault, Photo, Write};
use server::{Server, lock};
pub use service::{Builder, Moment, Rollout, Service, Task};
pub use world::State;

use crate::authority::{Authority, Signed};

/// A running simulated engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    server: Arc<Server>,
    socket: PathBuf,
    /// The listeners and, with them, their connections: gone when dropped.
    unix: Mutex<Option<AbortOnDropHandle<()>>>,
    tcp: Mutex<Option<AbortOnDropHandle<()>>>,
    _folder: tempfile::TempDir,
}

impl Engine {
    /// Starts an engine that speaks API 1.44 to 1.51, as Docker 28 does, on a socket in a folder of
    /// its own.
    pub async fn start() -> anyhow::Result<Self> {
        Self::speaking((1, 44), (1, 51)).await
    }

    /// Starts an engine that speaks the API from one version to another (major, minor).
    #[allow(clippy::unused_async, reason = "callers must be within a runtime")]
    pub async fn speaking(from: (u32, u32), to: (u32, u32)) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("waggle-engine-").tempdir()?;
        let engine = Self(Arc::new(Inner {
            server: Arc::new(Server::new(to, from)),
            socket: folder.path().join("docker.sock"),
            unix: Mutex::default(),
            tcp: Mutex::default(),
            _folder: folder,
        }));
        engine.listen()?;
        Ok(engine)
    }

    /// Its address, as `DOCKER_HOST` takes it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.0.socket.display())
    }

    /// The path of its socket.
    pub fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// Listens on its socket again after [`Engine::stop_listening`].
    pub fn listen(&self) -> anyhow::Result<()> {
        let path = &self.0.socket;
        let listener =
            UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
        let serving = serve(Arc::clone(&self.0.server), UnixListenerStream::new(listener));
        *lock(&self.0.unix) = Some(AbortOnDropHandle::new(tokio::spawn(serving)));
        Ok(())
    }

    /// Listens on a TCP port of 127.0.0.1 too, as a socket proxy does, and tells it.
    pub async fn listen_tcp(&self) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let serving = serve(Arc::clone(&self.0.server), TcpListenerStream::new(listener));
        *lock(&self.0.tcp) = Some(AbortOnDropHandle::new(tokio::spawn(serving)));
        Ok(address)
    }

    /// Ends all listeners and cuts all connections; the Swarm lives on. The socket's file goes.
    pub fn stop_listening(&self) {
        drop(lock(&self.0.unix).take());
        drop(lock(&self.0.tcp).take());
        // Gone already: nothing was listening.
        drop(std::fs::remove_file(&self.0.socket));
    }

    /// The authority of this Swarm's managers, from now on.
    pub fn trust(&self, authority: &Authority) {
        self.0.server.write(|world| {
            world.tick();
            authority.pem().clone_into(&mut world.authority);
        });
    }

    /// Opens the manager's control socket, with a certificate; always at the same path.
    #[allow(clippy::unused_async, reason = "callers must be within a runtime")]
    pub async fn open_control(&self, certificate: &Signed) -> anyhow::Result<ControlSocket> {
        control::open(Arc::clone(&self.0.server), self.control_path(), certificate)
    }

    /// Where the control socket is, or would be.
    pub fn control_path(&self) -> PathBuf {
        self.0.socket.with_file_name("control.sock")
    }

    /// From now on watches tell no change, while they stay open.
    pub fn silence_watches(&self) {
        self.0.server.watches.be_silent(true);
    }

    /// Watches tell changes again; those that were not told stay untold.
    pub fn unsilence_watches(&self) {
        self.0.server.watches.be_silent(false);
    }

    /// Ends every watch, as a manager does that is told to end.
    pub fn end_watches(&self) {
        self.0.server.watches.end();
    }

    /// New watches meet this fault, or none.
    pub fn fault_watches(&self, fault: Option<WatchFault>) {
        self.0.server.watches.fail(fault);
    }

    /// How many watches have begun.
    pub fn watches_begun(&self) -> u64 {
        self.0.server.watches.begun()
    }

    /// Prints the long lists now, so that whoever asks for them next does not wait for that.
    pub fn print_lists(&self) {
        self.0.server.print_lists();
    }

    /// When the last write was told to those who watch; finding out what it changed takes time.
    pub fn last_told(&self) -> Option<Instant> {
        self.0.server.watches.told()
    }

    /// The kinds of objects that watches asked for.
    pub fn kinds_watched(&self) -> BTreeSet<String> {
        self.0.server.watches.kinds()
    }

    /// A new service of this name, to be built and created.
    pub fn service(&self, name: &str) -> Builder {
        Builder::new(Arc::clone(&self.0.server), name)
    }

    /// Makes a network, if there is none of that name, and tells its ID.
    pub fn add_network(&self, name: &str) -> String {
        self.0.server.write(|world| world.network(name))
    }

    /// Removes a network.
    pub fn remove_network(&self, name: &str) {
        self.0.server.write(|world| world.remove_network(name));
    }

    /// Makes a secret, if there is none of that name, and tells its ID.
    pub fn add_secret(&self, name: &str) -> String {
        self.0.server.write(|world| world.secret(name))
    }

    /// Removes a secret.
    pub fn remove_secret(&self, name: &str) {
        self.0.server.write(|world| world.remove_secret(name));
    }

    /// Every request that was no read, in their order, those that were refused too.
    pub fn writes(&self) -> Vec<Write> {
        self.0.server.writes()
    }

    /// Adds a node; global services start a task on it. The first node is `node-1`.
    pub fn add_node(&self, hostname: &str) {
        self.0.server.write(|world| world.add_node(hostname));
    }

    /// A node stops answering: its tasks shall shut down but still say `running`; others begin
    /// elsewhere.
    pub fn lose_node(&self, hostname: &str) {
        self.0.server.write(|world| world.lose_node(hostname));
    }

    /// `docker node update --availability drain`: the node's tasks shall shut down. Tells which.
    pub fn drain_node(&self, hostname: &str) -> Vec<Task> {
        let left = self.0.server.write(|world| world.drain_node(hostname));
        left.iter().map(|task| Task::of(&self.0.server, task)).collect()
    }

    /// `docker node update --availability active`: the node may have tasks again.
    pub fn activate_node(&self, hostname: &str) {
        self.0.server.write(|world| world.activate_node(hostname));
    }

    /// Adds an object that a list (`/services`, `/tasks`, …) serves exactly as given.
    pub fn add_odd(&self, path: &str, object: Value) {
        self.0.server.write(|world| {
            world.tick();
            world.odd.entry(path.into()).or_default().push(object);
        });
    }

    /// The next so many requests whose path (without version) starts so meet this fault. Use `""`
    /// for every path, and `usize::MAX` for "until [`Engine::clear_faults`]".
    pub fn fault(&self, path: &str, fault: Fault, times: usize) {
        self.0.server.plan(path, fault, times);
    }

    /// Ends all faults that were asked for. A request that hangs goes on hanging.
    pub fn clear_faults(&self) {
        self.0.server.clear_faults();
    }

    /// The Swarm as it is now, for [`Fault::Stale`].
    pub fn photo(&self) -> Photo {
        self.0.server.photo()
    }

    /// From now on no event is sent, while streams stay open.
    pub fn lose_events(&self) {
        self.0.server.lose_events();
    }

    /// Events are sent again; those lost stay lost.
    pub fn send_events(&self) {
        self.0.server.send_events();
    }

    /// Ends every event stream, as a socket proxy's time limit does.
    pub fn end_event_streams(&self) {
        self.0.server.end_event_streams();
    }

    /// Sends an event exactly as given.
    pub fn send_event(&self, event: Value) {
        self.0.server.send_event(event);
    }

    /// How many requests came for a path (without version).
    pub fn requests(&self, path: &str) -> u64 {
        self.0.server.requests(path)
    }

    /// The API versions that requests named.
    pub fn versions_asked(&self) -> BTreeSet<String> {
        self.0.server.versions()
    }

    /// The paths that were asked for without a version.
    pub fn requests_without_version(&self) -> BTreeSet<String> {
        self.0.server.unversioned()
    }
}

/// Serves each connection that comes, all of them within this one future.
async fn serve<S>(server: Arc<Server>, mut incoming: impl Stream<Item = io::Result<S>> + Unpin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Some(stream) = incoming.next().await {
        while connections.try_join_next().is_some() {}
        let Ok(stream) = stream else { continue };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request| Arc::clone(&server).answer(request));
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no fault of the engine.
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
