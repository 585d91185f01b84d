//! The status server: `/healthz`, `/readyz`, `/status` and `/metrics`. It only reads.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::Report;
use crate::proxy;
use crate::swarm::Health;
use crate::xds::Observer;

mod metrics;
mod status;

pub use status::Status;

/// Where the status server looks.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What the control loop found.
    pub report: watch::Receiver<Arc<Report>>,
    /// How the reading of the Swarm goes.
    pub health: watch::Receiver<Health>,
    /// The connected Envoys.
    pub envoys: Arc<Observer>,
    /// The services that run the proxies.
    pub proxies: watch::Receiver<proxy::Statuses>,
}

impl Sources {
    fn status(&self) -> Status {
        let report = Arc::clone(&self.report.borrow());
        let health = self.health.borrow().clone();
        let proxies = self.proxies.borrow().clone();
        Status::new(&report, &health, self.envoys.report(), &proxies, Instant::now())
    }
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    sources: Sources,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/status", get(async |State(sources): State<Sources>| Json(sources.status())))
        .route("/metrics", get(metrics))
        .with_state(sources);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

/// Ready is a controller that has something to tell the Envoys and reads the Swarm without trouble.
/// It goes on serving when it is not ready; so health checks that restart belong on `/healthz`.
async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    let (report, health) = (sources.report.borrow().clone(), sources.health.borrow().clone());
    match status::Reading::new(&report, &health, Instant::now()).trouble() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
    }
}

async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::encode(&sources.status()) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
