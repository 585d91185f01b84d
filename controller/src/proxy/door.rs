//! The two calls that concern one service by its name: it is read, and it is updated.
//!
//! [`Door::write`] makes the only call of the whole program that is not a read.

use std::time::Duration;

use hyper::body::Bytes;

use super::revision::Revision;
use crate::swarm::{Address, CallError, Cause, Docker, Method, ServiceName};

/// The way to one service.
pub(super) struct Door {
    address: Address,
    timeout: Duration,
    service: ServiceName,
    /// Connected, until a call fails: the engine may be another by then.
    docker: Option<Docker>,
}

/// Why a service could not be read or updated.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    /// The call failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The answer is not a service as Docker documents it.
    #[error("GET /services/{0}: unreadable answer: {1}")]
    Unreadable(ServiceName, serde_json::Error),
    /// Docker takes a name for the beginning of an ID too.
    #[error("Docker answers with the service {1} for {0}; correct the name")]
    Another(ServiceName, ServiceName),
    /// No service can have the name.
    #[error("{0:?} is no name of a service")]
    BadName(String),
}

impl DoorError {
    /// Whether the service was changed since it was read.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::Call(CallError { cause: Cause::Status(status, message), .. }) => {
                // Swarm has no status of its own for it: 500, with these words.
                *status == 409 || message.contains("out of sequence")
            }
            _ => false,
        }
    }
}

impl Door {
    pub(super) fn new(address: Address, timeout: Duration, service: ServiceName) -> Self {
        Self { address, timeout, service, docker: None }
    }

    /// Reads the service as it is.
    pub(super) async fn read(&mut self) -> Result<Revision, DoorError> {
        let path = self.path()?;
        let body = self.call(Method::Get, path, "", Bytes::new()).await?;
        let revision = Revision::read(&body);
        let revision =
            revision.map_err(|error| DoorError::Unreadable(self.service.clone(), error))?;
        if revision.name != self.service {
            return Err(DoorError::Another(self.service.clone(), revision.name));
        }
        Ok(revision)
    }

    /// Gives the service another specification, if it still is as it was read.
    ///
    /// A [`Revision`] is only had from [`Door::read`], which saw that it is the service of this
    /// name; and versions are unique in a Swarm, so that no other object can be meant.
    pub(super) async fn write(
        &mut self,
        revision: &Revision,
        spec: String,
    ) -> Result<(), DoorError> {
        let path = format!("{}/update", self.path()?);
        let query = format!("?version={}", revision.version);
        self.call(Method::Post, path, &query, spec.into()).await?;
        Ok(())
    }

    /// The path of the service. By its name, not its ID, so that a socket proxy can be told of it
    /// before it exists, and still knows it when it was created anew.
    fn path(&self) -> Result<String, DoorError> {
        let name = self.service.as_str();
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_".contains(&c);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(DoorError::BadName(name.to_owned()));
        }
        Ok(format!("/services/{name}"))
    }

    async fn call(
        &mut self,
        method: Method,
        path: String,
        query: &str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let docker = match self.docker.take() {
            Some(docker) => docker,
            None => Docker::connect(&self.address, self.timeout).await?,
        };
        let answer = docker.call_newest(method, path, query, body).await?;
        self.docker = Some(docker);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;

    use super::*;

    /// An engine that takes any name for the beginning of the ID of the service `another`.
    async fn careless_engine() -> Address {
        let version = r#"{"ApiVersion":"1.44","MinAPIVersion":"1.24"}"#;
        let service = r#"{"ID":"a1","Version":{"Index":7},"Spec":{"Name":"another"}}"#;
        let router = Router::new()
            .route("/version", get(async move || version))
            .fallback(get(async move || service));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address.parse().expect("an address")
    }

    #[tokio::test]
    async fn only_the_service_of_exactly_that_name_is_read() {
        let engine = careless_engine().await;
        for (name, told) in [
            ("another", None),
            ("a", Some("Docker answers with the service another for a; correct the name")),
            ("", Some("\"\" is no name of a service")),
            ("../networks", Some("\"../networks\" is no name of a service")),
            (
                "another/update?version=1",
                Some("\"another/update?version=1\" is no name of a service"),
            ),
        ] {
            let mut door =
                Door::new(engine.clone(), Duration::from_secs(5), ServiceName::new(name));
            let error = door.read().await.err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), told, "{name}");
        }
    }
}
