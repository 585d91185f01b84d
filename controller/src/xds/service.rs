//! The server: who may connect, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::methods::Methods;
use super::observer::Observer;
use super::snapshots::Snapshots;

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
    let methods = Methods::new(snapshots, observer, identifier, shutdown.clone());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = builder
        .add_service(methods)
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
