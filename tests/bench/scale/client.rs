//! A light xDS client: it follows clusters, endpoints, listeners, routes and hosts by delta, as Envoy does,
//! acknowledges all that it hears, and looks at nothing but names, while they come: it holds no response
//! as a whole.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context as _;
use futures::StreamExt as _;
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::reading::{Names, Reading, Told};

const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// What a client follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Clusters,
    Endpoints,
    Listeners,
    Routes,
    Hosts,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Clusters, Self::Endpoints, Self::Listeners, Self::Routes, Self::Hosts];

    fn url(self) -> &'static str {
        match self {
            Self::Clusters => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listeners => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Hosts => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }
}

/// A response that a client has read.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which client.
    pub(super) client: usize,
    /// What it is about.
    pub(super) kind: Kind,
    /// How many resources it carries.
    pub(super) resources: usize,
    /// How long it is, in bytes.
    pub(super) bytes: usize,
    /// When it was read.
    pub(super) at: Instant,
}

/// `DeltaDiscoveryRequest`, as far as it is needed, but for the names.
#[derive(Clone, PartialEq, prost::Message)]
struct Ask {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "6")]
    nonce: Bytes,
}

/// The fields of a `DeltaDiscoveryRequest` that hold names.
const SUBSCRIBE: u32 = 3;
const UNSUBSCRIBE: u32 = 4;

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
}

/// Follows a controller until its stream ends, and tells each response.
pub(super) async fn follow(
    controller: SocketAddr,
    client: usize,
    heard: UnboundedSender<Heard>,
) -> anyhow::Result<()> {
    let socket = TcpStream::connect(controller).await?;
    socket.set_nodelay(true)?;
    let connection = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
    let (mut sender, connection) = connection;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let node = Node { id: format!("light-{client}"), cluster: "default".to_owned() };
    for kind in [Kind::Clusters, Kind::Listeners] {
        let (node, type_url) = (Some(node.clone()), kind.url().to_owned());
        ask.send(message(&Ask { node, type_url, ..Ask::default() }, []))?;
    }
    let asked = UnboundedReceiverStream::new(asked);
    let asked = asked.map(|message| Ok::<_, Infallible>(Frame::data(message)));
    let request = Request::post(format!("http://{controller}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(asked))?;
    let answer = sender.send_request(request).await?;
    let mut answers = Reading::of(answer.into_body());
    while let Some(Told { names, removed, type_url, nonce, bytes }) = answers.message().await? {
        let at = Instant::now();
        let kind = Kind::ALL.into_iter().find(|kind| kind.url().as_bytes() == &*type_url);
        let kind = kind.context("a response of a type that was not asked for")?;
        let told = Heard { client, kind, resources: names.count(), bytes, at };
        if heard.send(told).is_err() {
            return Ok(());
        }
        let wanted = match kind {
            Kind::Clusters => Some((Kind::Endpoints, names, removed)),
            Kind::Listeners => Some((Kind::Routes, Names::one("http"), Names::default())),
            // Without names: of all routes.
            Kind::Routes => Some((Kind::Hosts, Names::default(), Names::default())),
            Kind::Endpoints | Kind::Hosts => None,
        };
        if let Some((kind, subscribe, unsubscribe)) = wanted {
            let wants = Ask { type_url: kind.url().to_owned(), ..Ask::default() };
            let names = [(SUBSCRIBE, &subscribe), (UNSUBSCRIBE, &unsubscribe)];
            ask.send(message(&wants, names))?;
        }
        let answer = Ask { type_url: kind.url().to_owned(), nonce, ..Ask::default() };
        ask.send(message(&answer, []))?;
    }
    Ok(())
}

/// A gRPC message, which is not compressed.
fn message<const N: usize>(ask: &Ask, names: [(u32, &Names); N]) -> Bytes {
    let names = names.map(|(field, names)| (field, names, names.size_as(field)));
    let length = ask.encoded_len() + names.iter().map(|(_, _, size)| size).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    ask.encode_raw(&mut bytes);
    for (field, names, _) in names {
        names.write_as(field, &mut bytes);
    }
    bytes.freeze()
}
