//! A balancer in front of Envoys, of the kind that sites have: it gives each connection to the next
//! Envoy whose health check holds.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::backend::VirtualIp;
use crate::client::Client;
use crate::program::{DEADLINE, free_address};

/// Between two health checks.
pub const CHECKS: Duration = Duration::from_millis(200);

/// How long an Envoy may take to say that it is healthy.
const CHECK: Duration = Duration::from_secs(1);

/// Where an Envoy is.
#[derive(Debug, Clone, Copy)]
pub struct Proxy {
    /// Where it takes clients.
    pub http: SocketAddr,
    /// Where it answers health checks.
    pub health: SocketAddr,
}

/// Balances connections over Envoys. It does not read what passes, and keeps no connection from a
/// client open to an Envoy that closed its own.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    healthy: watch::Receiver<Vec<SocketAddr>>,
    _checks: AbortOnDropHandle<()>,
}

impl Balancer {
    /// Starts it on a free port; nobody is healthy yet.
    pub async fn start(proxies: Vec<Proxy>) -> anyhow::Result<Self> {
        let address = free_address()?;
        let vip = VirtualIp::start(address.ip(), address.port()).await?;
        let (healthy_tx, healthy) = watch::channel(Vec::new());
        let checks = tokio::spawn(check(proxies, vip, healthy_tx));
        Ok(Self { address, healthy, _checks: AbortOnDropHandle::new(checks) })
    }

    /// Where it takes clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until an Envoy, by where it takes clients, is healthy or is not.
    pub async fn wait(&mut self, proxy: SocketAddr, health: Health) -> anyhow::Result<()> {
        let holds =
            |healthy: &Vec<SocketAddr>| healthy.contains(&proxy) == (health == Health::Holds);
        timeout(DEADLINE, self.healthy.wait_for(holds)).await??;
        Ok(())
    }
}

/// What health checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// `GET /health` is answered with 200.
    Holds,
    /// It is answered otherwise, or not at all.
    Fails,
}

impl Health {
    /// Asks an Envoy.
    pub async fn of(at: SocketAddr) -> Self {
        match timeout(CHECK, Client::new(at).get("health", "/health")).await {
            Ok(Ok(answer)) if answer.status == StatusCode::OK => Self::Holds,
            _ => Self::Fails,
        }
    }
}

async fn check(proxies: Vec<Proxy>, vip: VirtualIp, healthy: watch::Sender<Vec<SocketAddr>>) {
    let mut turns = interval(CHECKS);
    loop {
        turns.tick().await;
        let health = join_all(proxies.iter().map(|proxy| Health::of(proxy.health))).await;
        let up = proxies.iter().zip(health).filter(|(_, health)| *health == Health::Holds);
        let up: Vec<SocketAddr> = up.map(|(proxy, _)| proxy.http).collect();
        vip.set(up.clone());
        healthy.send_replace(up);
    }
}
