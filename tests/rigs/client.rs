//! An HTTP client that keeps its connections, and a cookie jar.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, TRAILER};
use hyper::http::response::Parts;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// What is sent; some of it has trailers.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Asks one proxy.
#[derive(Debug, Clone)]
pub enum Client {
    /// On HTTP/1.1, with as many connections as are needed.
    Http1(Box<Pooled<HttpConnector, Body>>, SocketAddr),
    /// On one connection of HTTP/2.
    Http2(SendRequest<Body>),
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The headers behind it.
    pub trailers: HeaderMap,
}

impl Client {
    /// A client of the proxy at this address, on HTTP/1.1.
    pub fn new(proxy: SocketAddr) -> Self {
        Self::Http1(Box::new(Pooled::builder(TokioExecutor::new()).build_http()), proxy)
    }

    /// A client that comes from this address of the machine, each time on a new connection.
    pub fn at(source: IpAddr, proxy: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(source));
        // What is left of closed connections must not keep a proxy from these ports.
        connector.set_reuse_address(true);
        let pooled =
            Pooled::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self::Http1(Box::new(pooled), proxy)
    }

    /// A client that speaks HTTP/2 from the first byte.
    pub async fn http2(proxy: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        let (sender, connection) = handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    /// Whether another request may be sent: over HTTP/2 not any more once the proxy has said so.
    pub async fn is_open(&self) -> bool {
        match self {
            Self::Http1(..) => true,
            Self::Http2(sender) => sender.clone().ready().await.is_ok(),
        }
    }

    /// `GET` of a path of a host.
    pub async fn get(&self, host: &str, path: &str) -> anyhow::Result<Answer> {
        self.get_with(host, path, &[]).await
    }

    /// `GET` with more headers, in this order; values may be any bytes that HTTP allows.
    pub async fn get_with(
        &self,
        host: &str,
        path: &str,
        headers: &[(&str, &[u8])],
    ) -> anyhow::Result<Answer> {
        self.send(Method::GET, host, path, headers, Full::default().boxed_unsync()).await
    }

    /// `POST` of a body.
    pub async fn post(&self, host: &str, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let body = Full::from(Bytes::copy_from_slice(body)).boxed_unsync();
        self.send(Method::POST, host, path, &[], body).await
    }

    /// `POST` of an empty body with trailers behind it.
    pub async fn post_with_trailers(
        &self,
        host: &str,
        path: &str,
        trailers: &[(&str, &[u8])],
    ) -> anyhow::Result<Answer> {
        let mut names: Vec<_> = trailers.iter().map(|(name, _)| *name).collect();
        names.dedup();
        let announced = names.join(", ");
        let trailers = map(trailers)?;
        let body = Full::default().with_trailers(std::future::ready(Some(Ok(trailers))));
        let headers: [(&str, &[u8]); 1] = [(TRAILER.as_str(), announced.as_bytes())];
        self.send(Method::POST, host, path, &headers, body.boxed_unsync()).await
    }

    async fn send(
        &self,
        method: Method,
        host: &str,
        path: &str,
        headers: &[(&str, &[u8])],
        body: Body,
    ) -> anyhow::Result<Answer> {
        let mut request = match self {
            Self::Http1(_, proxy) => {
                Request::builder().uri(format!("http://{proxy}{path}")).header(HOST, host)
            }
            Self::Http2(_) => Request::builder().uri(format!("http://{host}{path}")),
        }
        .method(method)
        .body(body)?;
        request.headers_mut().extend(map(headers)?);
        let answer = match self {
            Self::Http1(pooled, _) => pooled.request(request).await?,
            Self::Http2(sender) => sender.clone().send_request(request).await?,
        };
        Answer::read(answer).await
    }

    /// `GET` with the cookies of a jar, which then takes those of the answer.
    pub async fn get_as(&self, jar: &mut Jar, host: &str, path: &str) -> anyhow::Result<Answer> {
        let cookies = jar.line();
        let headers: &[(&str, &[u8])] =
            if cookies.is_empty() { &[] } else { &[(COOKIE.as_str(), cookies.as_bytes())] };
        let answer = self.get_with(host, path, headers).await?;
        jar.take(&answer);
        Ok(answer)
    }
}

fn map(headers: &[(&str, &[u8])]) -> anyhow::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>()?, HeaderValue::from_bytes(value)?);
    }
    Ok(map)
}

impl Answer {
    /// Waits for the whole of it.
    pub(crate) async fn read(answer: Response<Incoming>) -> anyhow::Result<Self> {
        let (Parts { status, headers, .. }, body) = answer.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Self { status, headers, body: body.to_bytes(), trailers })
    }

    /// One header as text; empty if it is not there or no text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// All `Set-Cookie` lines.
    pub fn set_cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.filter_map(|line| line.to_str().ok()).collect()
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The `instance` of the demo application's answer to `/ping`.
    pub fn instance(&self) -> anyhow::Result<String> {
        let instance = self.json()?["instance"].as_str().map(ToOwned::to_owned);
        instance.context("no instance in the answer")
    }
}

/// A client's cookies: names and values; one that ends at once is dropped.
#[derive(Debug, Clone, Default)]
pub struct Jar(BTreeMap<String, String>);

impl Jar {
    /// The `Cookie` line.
    pub fn line(&self) -> String {
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// One cookie's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts a cookie in, or takes it out.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => drop(self.0.insert(name.to_owned(), value.to_owned())),
            None => drop(self.0.remove(name)),
        }
    }

    /// Takes an answer's cookies.
    pub fn take(&mut self, answer: &Answer) {
        self.take_lines(&answer.headers);
    }

    /// Takes the cookies of an answer's headers.
    pub fn take_lines(&mut self, headers: &HeaderMap) {
        let lines = headers.get_all(SET_COOKIE).iter();
        for line in lines.filter_map(|line| line.to_str().ok()) {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            let is_over = attributes.to_ascii_lowercase().contains("max-age=0");
            self.set(name.trim(), (!is_over).then_some(value.trim()));
        }
    }
}
