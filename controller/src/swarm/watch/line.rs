//! One watch, from the socket to the messages.

use std::io;
use std::path::Path;
use std::time::Duration;

use hyper::Uri;
use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::wire::{self, WatchEntry, WatchMessage, WatchRequest, action};
use super::{WatchCause, Written, told};
use crate::swarm::tls::{Engine, Tls};
use crate::swarm::{Address, Docker};

/// The name that every manager's certificate has.
const MANAGER: &str = "swarm-manager";

/// Only what is needed: `secret`, `config` and `cluster` would come with all their secrets.
const KINDS: [&str; 4] = ["service", "task", "network", "node"];

/// The longest message, in bytes. One write of the store is at most 200 objects.
const LONGEST_MESSAGE: usize = 128 * 1024 * 1024;

/// A watch that has begun.
pub(super) struct Line {
    messages: Streaming<WatchMessage>,
    _connection: AbortOnDropHandle<()>,
}

impl Line {
    /// Opens the socket, and waits for the first message. The Swarm's authority is read anew: it
    /// may have been replaced.
    pub(super) async fn open(
        socket: &Path,
        docker: &Address,
        timeout: Duration,
    ) -> Result<Self, WatchCause> {
        let opening = async {
            let stream = UnixStream::connect(socket).await.map_err(|error| cannot_open(&error))?;
            let docker = Docker::connect(docker, timeout).await.map_err(WatchCause::Trust)?;
            let authority = docker.trust_root().await.map_err(WatchCause::Trust)?;
            let authority = authority.ok_or(WatchCause::NoAuthority)?;
            let tls = Tls::new(Engine::SignedBy(authority.as_bytes()), None)?;
            let name = ServerName::try_from(MANAGER);
            let name = name.map_err(|error| WatchCause::Untrusted(error.to_string()))?;
            let stream = tls.shake_hands(name, stream).await;
            let stream = stream.map_err(|error| WatchCause::Untrusted(error.to_string()))?;
            let line = Self::begin(TokioIo::new(stream)).await?;
            // The first message is empty, and says that nothing will be missed from now on.
            line.first().await
        };
        tokio::time::timeout(timeout, opening).await.unwrap_or(Err(WatchCause::TimedOut(timeout)))
    }

    async fn begin<S>(stream: S) -> Result<Self, WatchCause>
    where
        S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let lost = |error: hyper::Error| WatchCause::Connection(error.to_string());
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(lost)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // The stream of messages tells how it ended.
            drop(connection.await);
        }));
        let call = service_fn(move |request| sender.clone().send_request(request));
        let origin = Uri::from_static("http://swarm-manager");
        let mut grpc = tonic::client::Grpc::with_origin(call, origin)
            .max_decoding_message_size(LONGEST_MESSAGE);
        let entry = |kind: &str| WatchEntry {
            kind: kind.to_owned(),
            action: action::CREATE | action::UPDATE | action::REMOVE,
        };
        let request = WatchRequest { entries: KINDS.map(entry).to_vec() };
        let path = PathAndQuery::from_static(wire::WATCH);
        let codec = ProstCodec::<WatchRequest, WatchMessage>::default();
        let answer = grpc.server_streaming(Request::new(request), path, codec).await;
        let messages = answer.map_err(|status| refusal(&status))?.into_inner();
        Ok(Self { messages, _connection: connection })
    }

    async fn first(mut self) -> Result<Self, WatchCause> {
        self.message().await.map(|_empty| self)
    }

    /// The next write of the store. It may be asked again after it was not waited for.
    pub(super) async fn next(&mut self) -> Result<Written, WatchCause> {
        self.message().await.map(told::written)
    }

    async fn message(&mut self) -> Result<WatchMessage, WatchCause> {
        match self.messages.message().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(WatchCause::Ended("the manager closed it".to_owned())),
            Err(status) => Err(refusal(&status)),
        }
    }
}

fn refusal(status: &Status) -> WatchCause {
    let told = format!("{:?}, {}", status.code(), status.message());
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
            WatchCause::Ended(told)
        }
        _ => WatchCause::Refusal(told),
    }
}

fn cannot_open(error: &io::Error) -> WatchCause {
    match error.kind() {
        io::ErrorKind::NotFound => WatchCause::NoSocket,
        io::ErrorKind::PermissionDenied => WatchCause::Denied,
        io::ErrorKind::ConnectionRefused => WatchCause::Refused,
        _ => WatchCause::Connection(error.to_string()),
    }
}
