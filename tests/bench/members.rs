//! Whom Envoy balances to, by its own word, asked again and again over one connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use waggle_tests::client::Client;
use waggle_tests::envoy::members;

/// Between an answer and the next question. A question costs Envoy a tenth of a millisecond, as it
/// has to tell of one cluster only.
const PAUSE: Duration = Duration::from_millis(2);

/// An answer of Envoy's.
#[derive(Debug)]
pub(crate) struct Look {
    /// When it was there.
    pub(crate) at: SystemTime,
    /// The addresses of the cluster's members.
    pub(crate) members: BTreeSet<IpAddr>,
}

/// Looks at one cluster.
pub(crate) struct Members {
    client: Client,
    path: String,
}

impl Members {
    /// Of the Envoy whose admin interface is here.
    pub(crate) fn of(admin: SocketAddr, cluster: &str) -> Self {
        Self { client: Client::new(admin), path: format!("/clusters?filter=^{cluster}$") }
    }

    /// Waits a little, and asks.
    pub(crate) async fn look(&self) -> Result<Look> {
        tokio::time::sleep(PAUSE).await;
        let answer = self.client.get("envoy", &self.path).await?;
        let at = SystemTime::now();
        ensure!(answer.status == 200, "{}: {answer:?}", self.path);
        let text = String::from_utf8_lossy(&answer.body);
        let address = |line: &String| line.split(' ').nth(1)?.parse::<SocketAddr>().ok();
        let members = members(&text).iter().filter_map(address).map(|it| it.ip()).collect();
        Ok(Look { at, members })
    }
}
