//! The Swarm's store, as a watch of our own tells it: each write of a task, with the store's stamp.
//!
//! Of the times that a task has, `Meta.UpdatedAt` is the one that the store sets, within the
//! transaction that makes the change (`touchMeta` of `SwarmKit`'s `memory.go`); it is committed, and
//! told to anyone, some milliseconds later. `Status.Timestamp` is the worker's: reports wait for up to
//! 100 ms before they are written. A list tells only the last write of a task; so a watch it is, apart
//! from the controller's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use hyper::Uri;
use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;
use waggle_controller::swarm::wire::{
    NetworkAttachment, TaskStatus, Timestamp, WATCH, WatchEntry, WatchRequest, action,
};

use super::Direction;

/// The state of a task that runs, and that shall.
const RUNNING: i32 = 512;

/// A change that is in the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    /// The task's address.
    pub(super) address: IpAddr,
    /// What happens to it.
    pub(super) direction: Direction,
    /// The store's stamp, from before it was committed.
    pub(super) stamped: SystemTime,
    /// When the watch told it, after it was committed.
    pub(super) heard: SystemTime,
}

/// A watch of one service's tasks.
pub(super) struct Store {
    messages: Streaming<Message>,
    service: String,
    /// What was last said of each task.
    last: BTreeMap<String, Direction>,
    _connection: AbortOnDropHandle<()>,
}

impl Store {
    /// Opens it by a manager's control socket, with the Swarm's authority in PEM. All writes from now
    /// on are told.
    pub(super) async fn watch(socket: &Path, authority: &str, service: &str) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.context("the control socket")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("swarm-manager")?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // The stream of messages tells how it ended.
            drop(connection.await);
        }));
        let call = tower::service_fn(move |request| sender.clone().send_request(request));
        let origin = Uri::from_static("http://swarm-manager");
        let mut grpc = tonic::client::Grpc::with_origin(call, origin);
        let action = action::CREATE | action::UPDATE | action::REMOVE;
        let entries = vec![WatchEntry { kind: "task".to_owned(), action }];
        let request = Request::new(WatchRequest { entries });
        let codec = ProstCodec::<WatchRequest, Message>::default();
        let answer =
            grpc.server_streaming(request, PathAndQuery::from_static(WATCH), codec).await?;
        let mut messages = answer.into_inner();
        messages.message().await?.context("the watch has ended before it began")?;
        let service = service.to_owned();
        Ok(Self { messages, service, last: BTreeMap::new(), _connection: connection })
    }

    /// The changes that come next; it may be none.
    pub(super) async fn next(&mut self) -> Result<Vec<Write>> {
        let message = self.messages.message().await?.context("the watch has ended")?;
        let heard = SystemTime::now();
        Ok(message.events.into_iter().filter_map(|event| self.change(event, heard)).collect())
    }

    /// The change that an event is, if it is one of ours.
    fn change(&mut self, event: Event, heard: SystemTime) -> Option<Write> {
        let task = event.object?.task.filter(|task| task.service_id == self.service)?;
        let direction = if event.action == action::REMOVE || task.desired_state > RUNNING {
            Direction::Out
        } else if task.status.as_ref().is_some_and(|status| status.state == RUNNING) {
            Direction::In
        } else {
            return None;
        };
        let address = task.networks.first()?.addresses.first()?.split('/').next()?.parse().ok()?;
        let stamped = time(task.meta?.updated_at.as_ref()?)?;
        if self.last.insert(task.id, direction) == Some(direction) {
            // A later write of something else.
            return None;
        }
        Some(Write { address, direction, stamped, heard })
    }
}

fn time(stamp: &Timestamp) -> Option<SystemTime> {
    let since = Duration::new(stamp.seconds.try_into().ok()?, stamp.nanos.try_into().ok()?);
    Some(SystemTime::UNIX_EPOCH + since)
}

/// A message of the watch: one write of the store.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(message, optional, tag = "2")]
    object: Option<Object>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Object {
    #[prost(message, optional, tag = "4")]
    task: Option<Task>,
}

/// A task, with the stamp that the controller has no use for.
#[derive(Clone, PartialEq, prost::Message)]
struct Task {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    meta: Option<Meta>,
    #[prost(string, tag = "4")]
    service_id: String,
    #[prost(message, optional, tag = "9")]
    status: Option<TaskStatus>,
    #[prost(int32, tag = "10")]
    desired_state: i32,
    #[prost(message, repeated, tag = "11")]
    networks: Vec<NetworkAttachment>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Meta {
    #[prost(message, optional, tag = "3")]
    updated_at: Option<Timestamp>,
}
