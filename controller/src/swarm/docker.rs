//! The Docker API: every call that Waggle makes, none of which writes.
//!
//! bollard negotiates, lists networks and nodes, and listens to events. The two lists that carry
//! secrets of their owners, and that are read all the time, come as bytes through a client of our
//! own: bollard 0.21 would hold environment variables in memory, fail a whole list for one unknown
//! state, and lose the addresses of tasks (its `Task` has no `NetworksAttachments`).

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{EventMessage, Network, Node};
use bollard::query_parameters::{EventsOptionsBuilder, ListNetworksOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion};
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use serde::Deserialize;

use super::address::Address;

/// `{"desired-state":["running"]}`. Not a filter by label: it would see the labels from each
/// task's creation.
const RUNNING_TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22running%22%5D%7D";

/// A call to Docker that failed: what was asked, where, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("GET {path} at {address}: {cause}")]
pub(super) struct ReadError {
    /// Where it was asked.
    pub(super) address: Address,
    /// The path, without version.
    pub(super) path: &'static str,
    /// Why it failed.
    pub(super) cause: Cause,
}

/// Why a call to Docker failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    /// The socket's file is not there.
    #[error("no such socket; start Docker, or mount its socket into the controller")]
    NoSocket,
    /// The socket's file may not be opened.
    #[error("permission denied; run the controller with the group that owns the socket")]
    Denied,
    /// Nobody listens.
    #[error("connection refused; start Docker, or correct --docker")]
    Refused,
    /// No complete answer in time.
    #[error("no complete answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// A proxy before the engine refuses this path.
    #[error("403 ({0}); the socket proxy must allow GET on this path")]
    Forbidden(String),
    /// The engine is a worker, or in no Swarm.
    #[error("503 ({0}); point --docker at a Swarm manager")]
    NotManager(String),
    /// Any other refusal.
    #[error("{0} ({1})")]
    Status(u16, String),
    /// An answer that is cut or is not Docker's.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// The connection failed in any other way.
    #[error("{0}")]
    Connection(String),
}

/// A connection to one engine, in one version of its API.
pub(super) struct Docker {
    address: Address,
    timeout: Duration,
    version: ClientVersion,
    engine: bollard::Docker,
    transport: Transport,
}

/// Connections for the lists that are read all the time, kept open between reads.
enum Transport {
    Unix(Client<UnixConnector, Empty<Bytes>>, PathBuf),
    Tcp(Client<HttpConnector, Empty<Bytes>>, Authority),
}

impl Docker {
    /// Asks the engine for its versions and agrees on one. `timeout` holds for each later call too.
    pub(super) async fn connect(address: &Address, timeout: Duration) -> Result<Self, ReadError> {
        let failed = |cause| ReadError { address: address.clone(), path: "/version", cause };
        let engine = match address {
            // bollard's own limit ends earlier than the whole answer: ours decides.
            Address::Unix(path) => bollard::Docker::connect_with_unix(
                &path.to_string_lossy(),
                timeout.as_secs() + 1,
                API_DEFAULT_VERSION,
            ),
            Address::Tcp(host) => bollard::Docker::connect_with_http(
                host.as_str(),
                timeout.as_secs() + 1,
                API_DEFAULT_VERSION,
            ),
        };
        let engine = engine.map_err(|error| failed(bollard_cause(&error)))?;
        let answer = tokio::time::timeout(timeout, engine.version()).await;
        let answer = answer.map_err(|_| failed(Cause::TimedOut(timeout)))?;
        let answer = answer.map_err(|error| failed(bollard_cause(&error)))?;
        let version = agree(answer.api_version.as_deref(), answer.min_api_version.as_deref());
        // bollard 0.21 loses the version that it was told.
        let prefix: Arc<str> = format!("/v{version}").into();
        let engine = engine.with_request_modifier(move |request| versioned(&prefix, request));
        let builder = Client::builder(TokioExecutor::new());
        let transport = match address.clone() {
            Address::Unix(socket) => Transport::Unix(builder.build(UnixConnector), socket),
            Address::Tcp(host) => Transport::Tcp(builder.build(HttpConnector::new()), host),
        };
        Ok(Self { address: address.clone(), timeout, version, engine, transport })
    }

    /// The version of the API that every call names.
    pub(super) fn version(&self) -> String {
        self.version.to_string()
    }

    /// All services, as bytes: environment variables of their owners are in there.
    pub(super) async fn services(&self) -> Result<Bytes, ReadError> {
        self.within("/services", self.get("/services")).await
    }

    /// All tasks whose desired state is `running`, as bytes.
    pub(super) async fn tasks(&self) -> Result<Bytes, ReadError> {
        self.within("/tasks", self.get(RUNNING_TASKS)).await
    }

    /// All networks of swarm scope.
    pub(super) async fn networks(&self) -> Result<Vec<Network>, ReadError> {
        let filters = HashMap::from([("scope", vec!["swarm"])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let call = self.engine.list_networks(Some(options));
        self.within("/networks", async { call.await.map_err(|error| bollard_cause(&error)) }).await
    }

    /// All nodes.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, ReadError> {
        let call = self.engine.list_nodes(None);
        self.within("/nodes", async { call.await.map_err(|error| bollard_cause(&error)) }).await
    }

    /// Events of services, networks and nodes, until the stream breaks. It may be silent for ever,
    /// and a broken connection may look so.
    pub(super) fn events(&self) -> impl Stream<Item = Result<EventMessage, ReadError>> + Unpin {
        let kinds = vec!["service", "network", "node"];
        let filters = HashMap::from([("type", kinds), ("scope", vec!["swarm"])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = Box::pin(self.engine.events(Some(options)));
        events.map(|event| event.map_err(|error| self.failed("/events", bollard_cause(&error))))
    }

    /// An error of this connection.
    pub(super) fn failed(&self, path: &'static str, cause: Cause) -> ReadError {
        ReadError { address: self.address.clone(), path, cause }
    }

    async fn within<T>(
        &self,
        path: &'static str,
        call: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, ReadError> {
        let answer = tokio::time::timeout(self.timeout, call).await;
        answer
            .unwrap_or(Err(Cause::TimedOut(self.timeout)))
            .map_err(|cause| self.failed(path, cause))
    }

    async fn get(&self, path_and_query: &str) -> Result<Bytes, Cause> {
        let target = format!("/v{}{path_and_query}", self.version);
        let answer = match &self.transport {
            Transport::Unix(client, socket) => {
                client.get(hyperlocal::Uri::new(socket, &target).into())
            }
            Transport::Tcp(client, host) => {
                let uri = Uri::builder().scheme("http").authority(host.clone());
                let uri = uri.path_and_query(target).build();
                client.get(uri.map_err(|error| Cause::Connection(error.to_string()))?)
            }
        };
        let answer = answer.await.map_err(|error| connection_cause(&error))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| Cause::Unreadable(chain(&error)))?.to_bytes();
        if status == 200 { Ok(body) } else { Err(refusal(status, &message(&body))) }
    }
}

/// The version to speak: the newest that both sides know, but never one that the engine refuses.
/// Docker 29 refuses what is below 1.44; Docker 20.10 speaks at most 1.41.
fn agree(newest: Option<&str>, oldest: Option<&str>) -> ClientVersion {
    let parse = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some(ClientVersion {
            major_version: major.parse().ok()?,
            minor_version: minor.parse().ok()?,
        })
    };
    let known = *API_DEFAULT_VERSION;
    let newest = newest.and_then(parse).filter(|newest| *newest < known).unwrap_or(known);
    oldest.and_then(parse).filter(|oldest| *oldest > newest).unwrap_or(newest)
}

/// The request with the version before its path.
fn versioned(prefix: &str, mut request: BollardRequest) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    // A path that was valid stays valid behind such a prefix.
    parts.path_and_query = format!("{prefix}{path}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

fn refusal(status: u16, message: &str) -> Cause {
    match status {
        403 => Cause::Forbidden(message.to_owned()),
        503 if message.contains("swarm manager") => Cause::NotManager(message.to_owned()),
        _ => Cause::Status(status, message.to_owned()),
    }
}

/// What Docker says in a refusal; of anything else the beginning.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let text = serde_json::from_slice(body)
        .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |it: Refusal| it.message);
    text.trim().chars().take(300).collect()
}

fn bollard_cause(error: &bollard::errors::Error) -> Cause {
    use bollard::errors::Error as Failure;
    match error {
        Failure::DockerResponseServerError { status_code, message } => {
            refusal(*status_code, message.trim())
        }
        Failure::SocketNotFoundError(_) => Cause::NoSocket,
        Failure::JsonDataError { message, .. } => Cause::Unreadable(message.clone()),
        other => connection_cause(other),
    }
}

/// Looks for the system's own error behind what the libraries made of it.
fn connection_cause(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => return Cause::NoSocket,
            Some(io::ErrorKind::PermissionDenied) => return Cause::Denied,
            Some(io::ErrorKind::ConnectionRefused) => return Cause::Refused,
            _ => next = error.source(),
        }
    }
    Cause::Connection(chain(error))
}

/// An error with all its reasons: the outermost alone says little.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(reason) = next {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {reason}");
        next = reason.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_newest_that_both_know_and_the_engine_accepts() {
        let known = API_DEFAULT_VERSION.to_string();
        for (newest, oldest, agreed) in [
            (Some("1.41"), Some("1.12"), "1.41"),
            (Some("1.51"), Some("1.44"), "1.51"),
            (Some("1.99"), Some("1.44"), known.as_str()),
            (Some("1.99"), Some("1.98"), "1.98"),
            (Some("1.41"), None, "1.41"),
            (None, None, known.as_str()),
            (Some("new"), Some("old"), known.as_str()),
        ] {
            assert_eq!(agree(newest, oldest).to_string(), agreed, "{newest:?} {oldest:?}");
        }
    }

    #[test]
    fn an_error_says_what_where_and_what_to_do() {
        let address: Address = "tcp://proxy:2375".parse().expect("an address");
        for (cause, text) in [
            (
                refusal(403, "Forbidden"),
                "GET /tasks at tcp://proxy:2375: 403 (Forbidden); the socket proxy must allow GET on this path",
            ),
            (
                refusal(503, "This node is not a swarm manager."),
                "GET /tasks at tcp://proxy:2375: 503 (This node is not a swarm manager.); point --docker at a Swarm manager",
            ),
            (refusal(503, "busy"), "GET /tasks at tcp://proxy:2375: 503 (busy)"),
            (
                Cause::TimedOut(Duration::from_secs(10)),
                "GET /tasks at tcp://proxy:2375: no complete answer within 10s",
            ),
        ] {
            let error = ReadError { address: address.clone(), path: "/tasks", cause };
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_refusal_is_told_in_dockers_words_and_never_at_length() {
        for (body, told) in [
            (r#"{"message":"no"}"#.to_owned(), "no".to_owned()),
            ("<html>no</html>\n".to_owned(), "<html>no</html>".to_owned()),
            ("x".repeat(1000), "x".repeat(300)),
            (String::new(), String::new()),
        ] {
            assert_eq!(message(body.as_bytes()), told);
        }
    }
}
