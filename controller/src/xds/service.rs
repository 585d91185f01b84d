//! The gRPC service: aggregated discovery, both variants.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::conversation::Conversation;
use super::message;
use super::observer::{Observer, Variant};
use super::snapshots::Snapshots;
use super::wire::{self, Incoming};

/// The longest request that is read, in bytes. One that names 10,000 resources with their versions
/// is about 1 MiB; gRPC's usual limit of 4 MiB would end the stream of a proxy with many more.
const LONGEST_REQUEST: usize = 16 * 1024 * 1024;

/// How often a client is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How long clients may take to leave at shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// Mutual TLS, in PEM.
#[derive(Clone)]
pub struct Tls {
    /// Our certificate chain.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Who signs the clients' certificates.
    pub client_ca: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tls([redacted])")
    }
}

/// Serves all who connect to the listener with the snapshots of their node clusters, until shutdown:
/// then each stream ends with UNAVAILABLE, and clients that do not leave are cut off after 2 s.
///
/// Without `tls`, anyone who reaches the listener is served, in plain text. While `snapshots` is
/// `None`, streams are accepted and get no answer: an empty one would delete all that an Envoy has.
/// `identifier` is what this controller calls itself in each response.
///
/// Fails if the certificates or the key do not parse, or if the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
    observer: Arc<Observer>,
    identifier: String,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let mut builder = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1));
    if let Some(tls) = tls {
        builder = builder.tls_config(
            ServerTlsConfig::new()
                .identity(Identity::from_pem(&tls.certificate, &tls.key))
                .client_ca_root(Certificate::from_pem(&tls.client_ca)),
        )?;
    }
    let service = Service {
        snapshots,
        observer,
        identifier,
        streams: AtomicU64::new(0),
        shutdown: shutdown.clone(),
    };
    let service =
        AggregatedDiscoveryServiceServer::new(service).max_decoding_message_size(LONGEST_REQUEST);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = builder
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        served = served => served,
        () = overdue => Ok(()),
    }
}

struct Service {
    snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
    observer: Arc<Observer>,
    identifier: String,
    streams: AtomicU64,
    shutdown: CancellationToken,
}

type Answers<A> = Pin<Box<dyn stream::Stream<Item = Result<A, Status>> + Send>>;

impl Service {
    fn open<Q: Incoming, A: 'static>(
        &self,
        request: Request<Streaming<Q>>,
        variant: Variant,
        write: fn(message::Response, &str) -> A,
    ) -> Response<Answers<A>> {
        let identifier = self.identifier.clone();
        let conversation = Conversation::new(
            self.observer.connect(request.remote_addr(), variant),
            request.into_inner(),
            self.snapshots.clone(),
            self.shutdown.clone(),
            self.nonce_prefix(),
        );
        let answers = stream::unfold(Some(conversation), move |conversation| {
            let identifier = identifier.clone();
            async move {
                let mut conversation = conversation?;
                match conversation.next().await? {
                    Ok(response) => Some((Ok(write(response, &identifier)), Some(conversation))),
                    Err(status) => Some((Err(status), None)),
                }
            }
        });
        Response::new(Box::pin(answers))
    }

    /// The start of a stream's nonces. The time keeps them apart from those of other controllers.
    fn nonce_prefix(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{stream}", now.as_nanos())
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(self.open(request, Variant::StateOfTheWorld, wire::whole))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(self.open(request, Variant::Delta, wire::delta))
    }
}
