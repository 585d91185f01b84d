//! A light xDS client: it follows clusters, endpoints, listeners, routes and hosts by delta, as Envoy does,
//! acknowledges all that it hears, and looks at nothing but names.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context as _;
use hyper::http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf as _, Bytes};
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstEncoder;

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

/// `DeltaDiscoveryRequest`, as far as it is needed. Names go as they came: they are bytes here, which
/// on the wire is the same.
#[derive(Clone, PartialEq, prost::Message)]
struct Ask {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    subscribe: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    unsubscribe: Vec<Bytes>,
    #[prost(string, tag = "6")]
    nonce: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
}

/// `DeltaDiscoveryResponse`, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Told {
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Named>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    removed: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(bytes = "bytes", tag = "3")]
    name: Bytes,
}

/// Follows a controller until its stream ends, and tells each response.
pub(super) async fn follow(
    controller: SocketAddr,
    client: usize,
    heard: UnboundedSender<Heard>,
) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(format!("http://{controller}"))?.connect().await?;
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(1024 * 1024 * 1024);
    grpc.ready().await?;
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let node = Node { id: format!("light-{client}"), cluster: "default".to_owned() };
    for kind in [Kind::Clusters, Kind::Listeners] {
        let (node, type_url) = (Some(node.clone()), kind.url().to_owned());
        ask.send(Ask { node, type_url, ..Ask::default() })?;
    }
    let path = PathAndQuery::from_static(METHOD);
    let request = Request::new(UnboundedReceiverStream::new(asked));
    let mut answers = grpc.streaming(request, path, Light).await?.into_inner();
    while let Some((bytes, told)) = answers.message().await? {
        let at = Instant::now();
        let Told { resources, type_url, nonce, removed } = told;
        let kind = Kind::ALL.into_iter().find(|kind| kind.url() == type_url);
        let kind = kind.context("a response of a type that was not asked for")?;
        let told = Heard { client, kind, resources: resources.len(), bytes, at };
        if heard.send(told).is_err() {
            return Ok(());
        }
        let names = resources.into_iter().map(|resource| resource.name).collect();
        let wanted = match kind {
            Kind::Clusters => Some((Kind::Endpoints, names, removed)),
            Kind::Listeners => Some((Kind::Routes, vec!["http".into()], Vec::new())),
            // Without names: of all routes.
            Kind::Routes => Some((Kind::Hosts, Vec::new(), Vec::new())),
            Kind::Endpoints | Kind::Hosts => None,
        };
        if let Some((kind, subscribe, unsubscribe)) = wanted {
            let type_url = kind.url().to_owned();
            ask.send(Ask { type_url, subscribe, unsubscribe, ..Ask::default() })?;
        }
        ask.send(Ask { type_url, nonce, ..Ask::default() })?;
    }
    Ok(())
}

/// Requests as they are; of responses the names, and how long they were.
#[derive(Debug, Clone, Copy)]
struct Light;

impl Codec for Light {
    type Encode = Ask;
    type Decode = (usize, Told);
    type Encoder = ProstEncoder<Ask>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(Default::default())
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Decoder for Light {
    type Item = (usize, Told);
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let bytes = buffer.remaining();
        let told = Told::decode(buffer).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some((bytes, told)))
    }
}
