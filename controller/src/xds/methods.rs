//! The gRPC service: aggregated discovery, both variants.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::SERVICE_NAME;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use futures::stream;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request, Response};
use prost::Message;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataValue};
use tonic::server::NamedService;
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;

use super::answer::Answer;
use super::conversation::Conversation;
use super::message;
use super::observer::{Observer, Variant};
use super::pieces::{Pieces, TooLong};
use super::snapshots::Snapshots;
use super::wire::{self, Incoming};

/// The longest request that is read, in bytes. One that names 10,000 resources with their versions
/// is about 1 MiB; gRPC's usual limit of 4 MiB would end the stream of a proxy with many more.
const LONGEST_REQUEST: usize = 16 * 1024 * 1024;

/// How a request says that it is compressed, and a response what would have been read.
const ENCODING: &str = "grpc-encoding";
const ACCEPTED_ENCODINGS: &str = "grpc-accept-encoding";
const IDENTITY: &str = "identity";

/// The methods, by their paths.
#[derive(Clone)]
pub(super) struct Methods(Arc<Shared>);

struct Shared {
    snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
    observer: Arc<Observer>,
    identifier: String,
    streams: AtomicU64,
    shutdown: CancellationToken,
}

impl Methods {
    pub(super) fn new(
        snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
        observer: Arc<Observer>,
        identifier: String,
        shutdown: CancellationToken,
    ) -> Self {
        let streams = AtomicU64::new(0);
        Self(Arc::new(Shared { snapshots, observer, identifier, streams, shutdown }))
    }
}

impl NamedService for Methods {
    const NAME: &'static str = SERVICE_NAME;
}

/// In place of the server that comes with the messages, which has each response in memory as a whole,
/// for each client.
impl tower::Service<Request<Body>> for Methods {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method =
            request.uri().path().strip_prefix('/').and_then(|it| it.strip_prefix(SERVICE_NAME));
        let answered = match method {
            Some("/StreamAggregatedResources") => {
                self.0.answer::<DiscoveryRequest>(request, Variant::StateOfTheWorld, wire::whole)
            }
            Some("/DeltaAggregatedResources") => {
                self.0.answer::<DeltaDiscoveryRequest>(request, Variant::Delta, wire::delta)
            }
            _ => Err(Status::unimplemented("there is no such method")),
        };
        ready(Ok(answered.unwrap_or_else(Status::into_http)))
    }
}

/// Puts a response on the wire, from a controller of this name.
type Write = fn(message::Response, &str) -> Result<Pieces, TooLong>;

impl Shared {
    /// Opens a stream.
    fn answer<Q: Incoming + Message + Default>(
        &self,
        request: Request<Body>,
        variant: Variant,
        write: Write,
    ) -> Result<Response<Body>, Status> {
        refuse_compressed(request.headers())?;
        let decoder = ProstDecoder::<Q>::default();
        let request =
            request.map(|body| Streaming::new_request(decoder, body, None, Some(LONGEST_REQUEST)));
        let request = tonic::Request::from_http(request);
        let conversation = Conversation::new(
            self.observer.connect(request.remote_addr(), variant),
            request.into_inner(),
            self.snapshots.clone(),
            self.shutdown.clone(),
            self.nonce_prefix(),
        );
        let identifier = self.identifier.clone();
        let messages = stream::unfold(Some(conversation), move |conversation| {
            let identifier = identifier.clone();
            async move {
                let mut conversation = conversation?;
                let response = conversation.next().await?;
                let written = response.and_then(|it| Ok(write(it, &identifier)?));
                let conversation = written.is_ok().then_some(conversation);
                Some((written, conversation))
            }
        });
        let mut response = Response::new(Body::new(Answer::new(Box::pin(messages))));
        response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
        Ok(response)
    }

    /// The start of a stream's nonces. The time keeps them apart from those of other controllers.
    fn nonce_prefix(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{stream}", now.as_nanos())
    }
}

/// We read no compressed requests. Envoy sends none.
fn refuse_compressed(headers: &HeaderMap) -> Result<(), Status> {
    if headers.get(ENCODING).is_none_or(|encoding| encoding == IDENTITY) {
        return Ok(());
    }
    let mut status =
        Status::unimplemented("the requests are compressed; this server reads none such");
    status.metadata_mut().insert(ACCEPTED_ENCODINGS, MetadataValue::from_static(IDENTITY));
    Err(status)
}

impl From<TooLong> for Status {
    fn from(error: TooLong) -> Self {
        Self::resource_exhausted(error.to_string())
    }
}
