//! The Docker API: a connection to one engine, and every read that Waggle makes.
//!
//! bollard negotiates, lists networks and nodes, and listens to events. The lists that carry
//! secrets of their owners, or their names, come as bytes through a client of our own, the long ones
//! piece by piece: bollard 0.21 would hold environment variables in memory, fail a whole list for one
//! unknown state, and lose the addresses of tasks (its `Task` has no `NetworksAttachments`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{EventMessage, Network, Node};
use bollard::query_parameters::{EventsOptionsBuilder, ListNetworksOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion};
use futures::{Stream, StreamExt};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::address::Address;
use super::call::{Answer, CallError, Cause, Method, Transport, connection_cause, refusal};
use super::convert;

/// `{"desired-state":["running"]}`. Not a filter by label: it would see the labels from each
/// task's creation.
const RUNNING_TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22running%22%5D%7D";

/// `{"id":["none"]}`: asks the leader for next to nothing.
const NO_SERVICES: &str = "/services?filters=%7B%22id%22%3A%5B%22none%22%5D%7D";

/// A connection to one engine, in one version of its API.
pub(crate) struct Docker {
    address: Address,
    timeout: Duration,
    version: ClientVersion,
    /// The newest version that the engine speaks, which may be too new for bollard.
    newest: ClientVersion,
    engine: bollard::Docker,
    transport: Transport,
}

impl Docker {
    /// Asks the engine for its versions and agrees on one. `timeout` holds for each later call too.
    pub(crate) async fn connect(address: &Address, timeout: Duration) -> Result<Self, CallError> {
        let failed = |cause| CallError {
            address: address.clone(),
            method: Method::Get,
            path: "/version".into(),
            cause,
        };
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
            Address::Tls(host, tls) => {
                let client = Client::builder(TokioExecutor::new()).build(tls.connector());
                bollard::Docker::connect_with_custom_transport(
                    move |request: BollardRequest| {
                        let client = client.clone();
                        Box::pin(async move { client.request(request).await.map_err(Into::into) })
                    },
                    Some(format!("https://{host}")),
                    timeout.as_secs() + 1,
                    API_DEFAULT_VERSION,
                )
            }
        };
        let engine = engine.map_err(|error| failed(bollard_cause(&error)))?;
        let answer = tokio::time::timeout(timeout, engine.version()).await;
        let answer = answer.map_err(|_| failed(Cause::TimedOut(timeout)))?;
        let answer = answer.map_err(|error| failed(bollard_cause(&error)))?;
        let version = agree(answer.api_version.as_deref(), answer.min_api_version.as_deref());
        let newest = answer.api_version.as_deref().and_then(parse_version).unwrap_or(version);
        // bollard 0.21 loses the version that it was told.
        let prefix: Arc<str> = format!("/v{version}").into();
        let engine = engine.with_request_modifier(move |request| versioned(&prefix, request));
        let transport = Transport::new(address);
        Ok(Self { address: address.clone(), timeout, version, newest, engine, transport })
    }

    /// The version of the API that every read of the Swarm names.
    pub(super) fn version(&self) -> String {
        self.version.to_string()
    }

    /// All services, as bytes, piece by piece: environment variables of their owners are in there.
    pub(super) async fn services(
        &self,
        take: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<(), CallError> {
        self.within("/services", self.list("/services", take)).await
    }

    /// All tasks whose desired state is `running`, as bytes, piece by piece.
    pub(super) async fn tasks(
        &self,
        take: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<(), CallError> {
        self.within("/tasks", self.list(RUNNING_TASKS, take)).await
    }

    /// Whether the Swarm answers: none of its objects is asked for.
    pub(super) async fn answers(&self) -> bool {
        self.whole(NO_SERVICES).await.is_ok()
    }

    /// The names and IDs of all secrets, as bytes.
    pub(super) async fn secrets(&self) -> Result<Bytes, CallError> {
        self.within("/secrets", self.whole("/secrets")).await
    }

    /// Who signs the certificates of the Swarm's managers, in PEM; none where the engine is no
    /// manager. Not from `GET /swarm`, which shows the join tokens too.
    pub(super) async fn trust_root(&self) -> Result<Option<String>, CallError> {
        let body = self.within("/info", self.whole("/info")).await?;
        let unreadable = |error: serde_json::Error| Cause::Unreadable(error.to_string());
        convert::trust_root(&body).map_err(unreadable).map_err(|cause| self.failed("/info", cause))
    }

    /// All networks of swarm scope.
    pub(super) async fn networks(&self) -> Result<Vec<Network>, CallError> {
        let filters = HashMap::from([("scope", vec!["swarm"])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let call = self.engine.list_networks(Some(options));
        self.within("/networks", async { call.await.map_err(|error| bollard_cause(&error)) }).await
    }

    /// All nodes.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, CallError> {
        let call = self.engine.list_nodes(None);
        self.within("/nodes", async { call.await.map_err(|error| bollard_cause(&error)) }).await
    }

    /// Makes a call in the newest version that the engine speaks. An older one resets, in an object
    /// that is written, what it does not know.
    ///
    /// `path` has to be one that needs no escapes.
    pub(crate) async fn call_newest(
        &self,
        method: Method,
        path: String,
        query: &str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let target = format!("/v{}{path}{query}", self.newest);
        let call = async { self.transport.call(method, &target, body).await?.whole().await };
        let answer = tokio::time::timeout(self.timeout, call).await;
        answer.unwrap_or(Err(Cause::TimedOut(self.timeout))).map_err(|cause| CallError {
            address: self.address.clone(),
            method,
            path: path.into(),
            cause,
        })
    }

    /// Events of services, networks, nodes and secrets, until the stream breaks. It may be silent for ever,
    /// and a broken connection may look so.
    pub(super) fn events(&self) -> impl Stream<Item = Result<EventMessage, CallError>> + Unpin {
        let kinds = vec!["service", "network", "node", "secret"];
        let filters = HashMap::from([("type", kinds), ("scope", vec!["swarm"])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = Box::pin(self.engine.events(Some(options)));
        events.map(|event| event.map_err(|error| self.failed("/events", bollard_cause(&error))))
    }

    /// An error of a read of this connection.
    pub(super) fn failed(&self, path: &'static str, cause: Cause) -> CallError {
        let (address, path) = (self.address.clone(), Cow::Borrowed(path));
        CallError { address, method: Method::Get, path, cause }
    }

    async fn within<T>(
        &self,
        path: &'static str,
        call: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, CallError> {
        let answer = tokio::time::timeout(self.timeout, call).await;
        answer
            .unwrap_or(Err(Cause::TimedOut(self.timeout)))
            .map_err(|cause| self.failed(path, cause))
    }

    async fn get(&self, path_and_query: &str) -> Result<Answer, Cause> {
        let target = format!("/v{}{path_and_query}", self.version);
        self.transport.call(Method::Get, &target, Bytes::new()).await
    }

    async fn whole(&self, path_and_query: &str) -> Result<Bytes, Cause> {
        self.get(path_and_query).await?.whole().await
    }

    async fn list(
        &self,
        path_and_query: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
    ) -> Result<(), Cause> {
        let mut answer = self.get(path_and_query).await?;
        while let Some(piece) = answer.next().await? {
            take(&piece).map_err(|error| Cause::Unreadable(error.to_string()))?;
            // A long list comes without a pause: the watch is to be heard meanwhile.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// The version to speak: the newest that both sides know, but never one that the engine refuses.
/// Docker 29 refuses what is below 1.44; Docker 20.10 speaks at most 1.41.
fn agree(newest: Option<&str>, oldest: Option<&str>) -> ClientVersion {
    let known = *API_DEFAULT_VERSION;
    let newest = newest.and_then(parse_version).filter(|newest| *newest < known).unwrap_or(known);
    oldest.and_then(parse_version).filter(|oldest| *oldest > newest).unwrap_or(newest)
}

fn parse_version(written: &str) -> Option<ClientVersion> {
    let (major, minor) = written.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
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

fn bollard_cause(error: &bollard::errors::Error) -> Cause {
    use bollard::errors::Error as Failure;
    match error {
        Failure::DockerResponseServerError { status_code, message } => {
            refusal(*status_code, Method::Get, message.trim().to_owned())
        }
        Failure::SocketNotFoundError(_) => Cause::NoSocket,
        Failure::JsonDataError { message, .. } => Cause::Unreadable(message.clone()),
        other => connection_cause(other),
    }
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
}
