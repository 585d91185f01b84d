//! The connections, and one request on one of them.

use std::cell::RefCell;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, COOKIE, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::mix::{Kind, Method, Site, Wire};
use super::report::Fault;

type Body = Full<Bytes>;

/// How many connections of HTTP/2 there are: a proxy takes 100 requests at a time on each.
const SHARED: usize = 4;

/// A `POST`'s body.
const BODY: &[u8] = &[b'x'; 64 * 1024];

/// All connections to the proxy.
pub(super) struct Lanes {
    proxy: SocketAddr,
    idle: RefCell<Vec<http1::SendRequest<Body>>>,
    shared: RefCell<[Option<http2::SendRequest<Body>>; SHARED]>,
}

impl Lanes {
    pub(super) fn new(proxy: SocketAddr) -> Self {
        Self { proxy, idle: RefCell::default(), shared: RefCell::default() }
    }

    /// Sends a request and takes its whole answer, which has to be a 200 of the right service.
    pub(super) async fn ask(&self, site: &Site, kind: Kind, number: u32) -> Result<(), Fault> {
        let request = request(site, kind)?;
        let (answer, kept) = match kind.wire {
            Wire::Shared => (self.on_shared(request, number).await?, None),
            Wire::Fresh => {
                let mut sender = self.connect().await?;
                (sender.send_request(request).await.map_err(Fault::cut)?, None)
            }
            Wire::Kept => {
                let mut sender = self.kept().await?;
                (sender.send_request(request).await.map_err(Fault::cut)?, Some(sender))
            }
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(Fault::cut)?.to_bytes();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            self.idle.borrow_mut().push(sender);
        }
        if head.status != 200 {
            let upstream = head.headers.get("x-upstream-addr");
            let upstream = upstream.and_then(|it| it.to_str().ok()).unwrap_or_default();
            return Err(Fault::Status(head.status.as_u16(), upstream.to_owned()));
        }
        site.take(kind.session, &head.headers);
        let text = String::from_utf8_lossy(&body);
        if text.contains(&site.sign) { Ok(()) } else { Err(Fault::Stranger(text.into_owned())) }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Body>, Fault> {
        let stream =
            TcpStream::connect(self.proxy).await.map_err(|error| Fault::Refused(error.kind()))?;
        // The proxy's buffers are what is tested here, not Nagle's.
        let _peer_left_already = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Fault::cut)?;
        spawn_local(connection);
        Ok(sender)
    }

    /// The connection that was used last; a new one where none is free.
    async fn kept(&self) -> Result<http1::SendRequest<Body>, Fault> {
        loop {
            let Some(sender) = self.idle.borrow_mut().pop() else { return self.connect().await };
            if sender.is_ready() {
                return Ok(sender);
            }
        }
    }

    async fn on_shared(
        &self,
        request: Request<Body>,
        number: u32,
    ) -> Result<Response<Incoming>, Fault> {
        let lane = usize::try_from(number / 5).unwrap_or_default() % SHARED;
        let held = self.shared.borrow()[lane].clone().filter(|sender| !sender.is_closed());
        let mut sender = if let Some(sender) = held {
            sender
        } else {
            let stream = TcpStream::connect(self.proxy).await;
            let stream = stream.map_err(|error| Fault::Refused(error.kind()))?;
            let handshake = http2::handshake(Here, TokioIo::new(stream)).await;
            let (sender, connection) = handshake.map_err(Fault::cut)?;
            spawn_local(connection);
            self.shared.borrow_mut()[lane] = Some(sender.clone());
            sender
        };
        sender.ready().await.map_err(Fault::cut)?;
        sender.send_request(request).await.map_err(Fault::cut)
    }
}

fn request(site: &Site, kind: Kind) -> Result<Request<Body>, Fault> {
    let (method, body) = match kind.method {
        Method::Get => ("GET", Bytes::new()),
        Method::Post => ("POST", Bytes::from_static(BODY)),
    };
    let uri = match kind.wire {
        Wire::Kept | Wire::Fresh => "/ping".to_owned(),
        Wire::Shared => format!("http://{}/ping", site.host),
    };
    let request = Request::builder().method(method).uri(uri).body(Full::new(body));
    let mut request = request.map_err(|error| Fault::Request(error.to_string()))?;
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|error| Fault::Request(error.to_string()));
    let headers = request.headers_mut();
    if kind.wire != Wire::Shared {
        headers.insert(HOST, value(&site.host)?);
    }
    if kind.wire == Wire::Fresh {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let cookies = site.cookies(kind.session);
    if !cookies.is_empty() {
        headers.insert(COOKIE, value(&cookies)?);
    }
    Ok(request)
}

/// Runs what a connection of HTTP/2 needs on this thread.
#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
