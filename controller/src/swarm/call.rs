//! One call to a Docker engine: how it travels, and why it may fail.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use serde::Deserialize;

use super::address::Address;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// `GET`: it reads.
    Get,
    /// `POST`: it writes.
    Post,
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

impl From<Method> for hyper::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
        }
    }
}

/// A call to Docker that failed: what was asked, where, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path} at {address}: {cause}")]
pub(crate) struct CallError {
    /// Where it was asked.
    pub(crate) address: Address,
    /// What it was to do.
    pub(crate) method: Method,
    /// The path, without version and query.
    pub(crate) path: Cow<'static, str>,
    /// Why it failed.
    pub(crate) cause: Cause,
}

/// Why a call to Docker failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
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
    /// A proxy before the engine refuses this method on this path: by 403, or by 405 where it
    /// refuses the method on every path.
    #[error("{status} ({message}); the socket proxy must allow {method} on this path")]
    Forbidden {
        /// 403 or 405.
        status: u16,
        /// The method that it refuses.
        method: Method,
        /// What it says.
        message: String,
    },
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

impl Cause {
    /// Whether the call is not allowed: asking again changes nothing until somebody allows it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Status(401 | 404, _))
    }
}

/// Connections to one engine, kept open between calls.
pub(super) enum Transport {
    Unix(Client<UnixConnector, Full<Bytes>>, PathBuf),
    Tcp(Client<HttpConnector, Full<Bytes>>, Authority),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Authority),
}

impl Transport {
    pub(super) fn new(address: &Address) -> Self {
        let builder = Client::builder(TokioExecutor::new());
        match address.clone() {
            Address::Unix(socket) => Self::Unix(builder.build(UnixConnector), socket),
            Address::Tcp(host) => Self::Tcp(builder.build(HttpConnector::new()), host),
            Address::Tls(host, tls) => Self::Tls(builder.build(tls.connector()), host),
        }
    }

    /// Makes a call of a versioned path; only a 200 is an answer.
    pub(super) async fn call(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Answer, Cause> {
        let uri = match self {
            Self::Unix(_, socket) => Ok(hyperlocal::Uri::new(socket, target).into()),
            Self::Tcp(_, host) => over_network("http", host, target),
            Self::Tls(_, host) => over_network("https", host, target),
        };
        let uri = uri.map_err(|error| Cause::Connection(error.to_string()))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.into();
        *request.uri_mut() = uri;
        if method == Method::Post {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        let answer = match self {
            Self::Unix(client, _) => client.request(request).await,
            Self::Tcp(client, _) => client.request(request).await,
            Self::Tls(client, _) => client.request(request).await,
        };
        let answer = answer.map_err(|error| connection_cause(&error))?;
        let status = answer.status().as_u16();
        let answer = Answer(answer.into_body());
        if status == 200 {
            return Ok(answer);
        }
        Err(refusal(status, method, message(&answer.whole().await?)))
    }
}

/// The answer to a call, as it comes.
pub(super) struct Answer(Incoming);

impl Answer {
    /// What comes next; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|error| Cause::Unreadable(chain(&error)))?;
            // Trailers tell nothing.
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// All of it.
    pub(super) async fn whole(self) -> Result<Bytes, Cause> {
        let body = self.0.collect().await;
        Ok(body.map_err(|error| Cause::Unreadable(chain(&error)))?.to_bytes())
    }
}

fn over_network(scheme: &str, host: &Authority, target: &str) -> Result<Uri, hyper::http::Error> {
    Uri::builder().scheme(scheme).authority(host.clone()).path_and_query(target).build()
}

/// What a status other than 200 means.
pub(super) fn refusal(status: u16, method: Method, message: String) -> Cause {
    match status {
        403 | 405 => Cause::Forbidden { status, method, message },
        503 if message.contains("swarm manager") => Cause::NotManager(message),
        _ => Cause::Status(status, message),
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

/// Looks for the system's own error behind what the libraries made of it.
pub(super) fn connection_cause(error: &(dyn Error + 'static)) -> Cause {
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
    fn an_error_says_what_where_and_what_to_do() {
        let address: Address = "tcp://proxy:2375".parse().expect("an address");
        for (cause, text) in [
            (
                refusal(403, Method::Get, "Forbidden".into()),
                "GET /tasks at tcp://proxy:2375: 403 (Forbidden); the socket proxy must allow GET on this path",
            ),
            (
                refusal(503, Method::Get, "This node is not a swarm manager.".into()),
                "GET /tasks at tcp://proxy:2375: 503 (This node is not a swarm manager.); point --docker at a Swarm manager",
            ),
            (
                refusal(503, Method::Get, "busy".into()),
                "GET /tasks at tcp://proxy:2375: 503 (busy)",
            ),
            (
                Cause::TimedOut(Duration::from_secs(10)),
                "GET /tasks at tcp://proxy:2375: no complete answer within 10s",
            ),
        ] {
            let error = CallError {
                address: address.clone(),
                method: Method::Get,
                path: "/tasks".into(),
                cause,
            };
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
