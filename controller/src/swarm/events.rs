//! Docker's events, as triggers: what they carry is not believed, that they came is.
//!
//! Swarm tells of services, networks, nodes and secrets, never of tasks; and every stream ends some time (a
//! socket proxy cuts it after minutes). So polling finds everything, and events only make it
//! prompt.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bollard::models::{EventMessage, EventMessageTypeEnum};
use futures::StreamExt;
use tokio::sync::watch;

use super::docker::Docker;
use super::pace;

/// A stream that lived so long ended for a reason that is over.
const HEALTHY: Duration = Duration::from_secs(10);

/// What has been heard so far; numbers that grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Events of networks, and times that some may have been missed.
    pub(super) networks: u64,
    /// Events of nodes, and times that some may have been missed.
    pub(super) nodes: u64,
    /// Events of secrets, and times that some may have been missed.
    pub(super) secrets: u64,
    /// When the last event came.
    pub(super) last: Option<Instant>,
}

impl Heard {
    fn event(&mut self, event: &EventMessage, now: Instant) {
        match event.typ {
            Some(EventMessageTypeEnum::NETWORK) => self.networks += 1,
            Some(EventMessageTypeEnum::NODE) => self.nodes += 1,
            Some(EventMessageTypeEnum::SECRET) => self.secrets += 1,
            _ => {}
        }
        self.last = Some(now);
    }

    fn missed_some(&mut self) {
        self.networks += 1;
        self.nodes += 1;
        self.secrets += 1;
    }
}

/// Listens for ever: any end and any error of the stream means to subscribe again, and to read
/// everything again.
pub(super) async fn follow(docker: &Docker, heard: &watch::Sender<Heard>) -> Infallible {
    let mut failures = 0;
    let mut told = None;
    loop {
        heard.send_modify(Heard::missed_some);
        let began = Instant::now();
        let mut events = docker.events();
        let end = loop {
            match events.next().await {
                Some(Ok(event)) => heard.send_modify(|heard| heard.event(&event, Instant::now())),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        failures = if began.elapsed() < HEALTHY { failures + 1 } else { 1 };
        if let Some(error) = end.filter(|error| told.as_ref() != Some(error)) {
            tracing::warn!(%error, "Docker's event stream broke; polling goes on");
            told = Some(error);
        }
        tokio::time::sleep(pace::retry(pace::Failed::Listening, failures, pace::jitter())).await;
    }
}
