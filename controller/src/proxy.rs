//! The services that run the proxies: what they lack, and the one thing that Waggle ever writes.
//!
//! A proxy reaches the tasks of a service over a network that both are on, and reads a certificate
//! from a secret that is mounted into it. A service that the controller cares for
//! ([`Care::Controller`]) gets both by an update of its own specification; of any other
//! ([`Care::Owner`]) it is only told what it lacks. Nothing else in the Swarm is ever written.
//!
//! ```text
//! needs, picture ─▶ keeper: when to look ─▶ door: read ─▶ plan: what to change ─▶ door: write
//! ```
//!
//! `keeper`, `plan`, `refusals`, `revision` and `json` are pure; `door` makes the two calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::labels::{Care, NodeCluster, ProxyService};
use crate::routing::Needs;
use crate::swarm::{Address, Observed, ServiceName};

mod door;
mod json;
mod keeper;
mod plan;
mod refusals;
mod revision;
mod shell;
mod status;

pub use status::Status;

use shell::Shell;

/// How long what was attached stays without need: each change replaces the proxy's tasks, and a
/// service that is deployed anew needs the same again.
pub const GRACE: Duration = Duration::from_mins(10);

/// How proxies are cared for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The manager's engine, or a socket proxy before it that lets the one service be updated.
    pub docker: Address,
    /// How long one call may take.
    pub timeout: Duration,
    /// The proxies by node cluster.
    pub proxies: BTreeMap<NodeCluster, ProxyService>,
    /// How long what was attached stays without need; [`GRACE`] but for tests.
    pub grace: Duration,
}

/// What the care depends on, as it changes.
#[derive(Debug, Clone)]
pub struct Inlets {
    /// The Swarm; only a picture that is read is acted on.
    pub pictures: watch::Receiver<Option<Observed>>,
    /// What the published services of each node cluster need.
    pub needs: watch::Receiver<Arc<BTreeMap<NodeCluster, Needs>>>,
}

/// The state of every proxy service, by its name.
pub type Statuses = BTreeMap<ServiceName, Status>;

/// Looks after the proxies until `shutdown`.
pub async fn run(
    settings: Settings,
    inlets: Inlets,
    statuses: watch::Sender<Statuses>,
    shutdown: CancellationToken,
) {
    // A service that serves several clusters needs what all of them need.
    let mut services: BTreeMap<ServiceName, (Care, BTreeSet<NodeCluster>)> = BTreeMap::new();
    for (cluster, ProxyService { name, care }) in settings.proxies.clone() {
        let entry = services.entry(name).or_insert_with(|| (care, BTreeSet::new()));
        entry.1.insert(cluster);
        if care == Care::Controller {
            entry.0 = care;
        }
    }
    let shells = services.into_iter().map(|(name, (care, clusters))| {
        let shell = Shell::new(name, care, clusters, &settings, inlets.clone(), statuses.clone());
        shutdown.run_until_cancelled(shell.run())
    });
    futures::future::join_all(shells).await;
}
