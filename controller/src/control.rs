//! The control loop: each new picture of the Swarm goes through `labels`, `routing` and `envoy`, and
//! comes out as snapshots for the Envoys and a report for people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::envoy::{self, Built, Resources};
use crate::labels::{NodeCluster, Problem, Severity};
use crate::routing::{self, Ledger, Needs, Outcome, Routes, Routing, Turn};
use crate::swarm::{Freshness, Observed, Picture};
use crate::xds::{Opinions, Snapshots};

mod census;
mod quarantine;
mod refused;

use census::Census;
use quarantine::{Plan, Quarantine, Weighed};

/// How long a kept picture waits for one that is read. It may be older than what the Envoys have
/// from another controller; it is for a Docker that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loop's state: what outlives a turn.
#[derive(Debug)]
pub struct Control {
    routing: routing::Settings,
    envoy: envoy::Settings,
    /// What Envoys of a cluster get that no service names.
    others: Built,
    /// What those of the others got last.
    built: BTreeMap<NodeCluster, Built>,
    last: Turn,
    census: Census,
    quarantine: Quarantine,
    /// What was told last.
    told: Arc<Routing>,
}

/// What the loop hears.
#[derive(Debug)]
pub struct Inlets {
    /// Pictures of the Swarm.
    pub pictures: watch::Receiver<Option<Observed>>,
    /// What the Envoys make of what they are told.
    pub opinions: watch::Receiver<Arc<Opinions>>,
}

/// What the last turn found, for people.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Every service of ours, and where it is routed.
    pub routing: Arc<Routing>,
    /// Whether the picture behind it is fresh; none before the first one.
    pub freshness: Option<Freshness>,
}

/// What a restart begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The last picture that was read.
    pub picture: Arc<Picture>,
    /// The ledger that belongs to it.
    pub ledger: Ledger,
}

/// Where the loop's results go.
#[derive(Debug)]
pub struct Outlets {
    /// To the Envoys.
    pub snapshots: watch::Sender<Option<Arc<Snapshots>>>,
    /// To people.
    pub reports: watch::Sender<Arc<Report>>,
    /// To the state directory.
    pub memory: watch::Sender<Option<Memory>>,
    /// To the care of the proxies.
    pub needs: watch::Sender<Arc<BTreeMap<NodeCluster, Needs>>>,
}

impl Control {
    /// A loop that begins with the ledger that was kept.
    pub fn new(routing: routing::Settings, envoy: envoy::Settings, ledger: Ledger) -> Self {
        Self {
            routing,
            others: Built::without_routes(&envoy),
            envoy,
            built: BTreeMap::new(),
            last: Turn::resume(ledger),
            census: Census::default(),
            quarantine: Quarantine::default(),
            told: Arc::default(),
        }
    }

    /// Takes pictures and opinions until `shutdown`.
    pub async fn run(mut self, mut inlets: Inlets, outlets: Outlets, shutdown: CancellationToken) {
        wait_for_live(&mut inlets.pictures, &shutdown).await;
        loop {
            let observed = inlets.pictures.borrow_and_update().clone();
            let opinions = inlets.opinions.borrow_and_update().clone();
            if let Some(observed) = observed {
                self.turn(observed, &opinions, SystemTime::now(), &outlets);
            }
            let due = self.last.wake_at.into_iter().chain(self.quarantine.wake_at()).min();
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = inlets.pictures.changed() => if changed.is_err() { return },
                changed = inlets.opinions.changed() => if changed.is_err() { return },
                () = sleep_until(due) => {}
            }
        }
    }

    fn turn(
        &mut self,
        observed: Observed,
        opinions: &Opinions,
        now: SystemTime,
        outlets: &Outlets,
    ) {
        let (turn, resources) = self.plan(&observed.picture, opinions, now);
        self.last = turn;
        let mut routing = Arc::clone(&self.last.routing);
        refused::tell(&mut routing, self.quarantine.left_out(), opinions);
        publish(resources, self.others.resources().clone(), &outlets.snapshots);
        tell(&self.told, &routing);
        if !same_needs(&self.told, &routing) {
            let needs = routing.clusters.iter();
            let needs = needs.map(|(name, routes)| (name.clone(), routes.needs()));
            let needs = Arc::new(needs.collect());
            outlets
                .needs
                .send_if_modified(|last| std::mem::replace(last, Arc::clone(&needs)) != needs);
        }
        self.told = Arc::clone(&routing);
        let freshness = Some(observed.freshness);
        outlets.reports.send_replace(Arc::new(Report { routing, freshness }));
        if observed.freshness == Freshness::Live {
            let memory = Memory { picture: observed.picture, ledger: self.last.ledger.clone() };
            outlets.memory.send_if_modified(|last| replace(last, memory));
        }
    }

    /// Routes without those services that the Envoys would refuse, as far as they have told.
    fn plan(
        &mut self,
        picture: &Picture,
        opinions: &Opinions,
        now: SystemTime,
    ) -> (Turn, BTreeMap<NodeCluster, Resources>) {
        loop {
            self.last.left_out = self.quarantine.left_out().into_keys().collect();
            let turn = routing::route(picture, &self.routing, &self.last, now);
            self.census.take(&turn.routing, picture);
            self.build(&turn.routing);
            let plan = |(cluster, built): (&NodeCluster, &Built)| {
                let services = self.census.of(cluster);
                (cluster.clone(), Plan::new(services, built.resources()))
            };
            let plans = self.built.iter().map(plan).collect();
            if self.quarantine.weigh(plans, opinions, now) == Weighed::Send {
                let resources = |(cluster, built): (&NodeCluster, &Built)| {
                    (cluster.clone(), built.resources().clone())
                };
                return (turn, self.built.iter().map(resources).collect());
            }
        }
    }

    /// Makes the resources of each node cluster that a service names, left out or not.
    fn build(&mut self, routing: &Routing) {
        let nothing = Routes::default();
        let build = |cluster: &NodeCluster| {
            let last = self.built.get(cluster).unwrap_or(&self.others);
            let routes = routing.clusters.get(cluster).unwrap_or(&nothing);
            (cluster.clone(), last.next(routes, &self.envoy))
        };
        self.built = self.census.clusters().map(build).collect();
    }
}

/// Whether the proxies need the same as before.
fn same_needs(before: &Routing, after: &Routing) -> bool {
    let same = |(one, other): (&Routes, &Routes)| {
        one.networks == other.networks && one.secrets == other.secrets
    };
    before.clusters.keys().eq(after.clusters.keys())
        && before.clusters.values().zip(after.clusters.values()).all(same)
}

/// Logs each problem once, and its end.
fn tell(before: &Routing, after: &Routing) {
    for change in before.services.changes(&after.services) {
        let of = |outcome: Option<&Arc<Outcome>>| -> Vec<Problem> {
            outcome.map(|outcome| outcome.problems.clone()).unwrap_or_default()
        };
        let (was, is) = (of(change.before), of(change.after));
        is.iter().filter(|problem| !was.contains(problem)).for_each(log);
        for gone in was.iter().filter(|problem| !is.contains(problem)) {
            tracing::info!(service = %gone.service_name, code = gone.code.as_str(), "no longer a problem");
        }
    }
}

/// Hands the Envoys of each node cluster their resources, if these differ from what they have;
/// `others` go to Envoys of a cluster that is not named.
fn publish(
    clusters: BTreeMap<NodeCluster, Resources>,
    others: Resources,
    snapshots: &watch::Sender<Option<Arc<Snapshots>>>,
) {
    let last = snapshots.borrow().clone().unwrap_or_default();
    match last.next(clusters, others) {
        Ok(next) => {
            snapshots.send_if_modified(|last| replace(last, Arc::new(next)));
        }
        // Our own mistake, never a user's: the Envoys keep what they have.
        Err(error) => tracing::error!(%error, "the new configuration does not hold together"),
    }
}

/// Waits for a picture that is read, for a while.
async fn wait_for_live(
    pictures: &mut watch::Receiver<Option<Observed>>,
    shutdown: &CancellationToken,
) {
    let is_live = |seen: &Option<Observed>| {
        seen.as_ref().is_some_and(|seen| seen.freshness == Freshness::Live)
    };
    let live = async { pictures.wait_for(is_live).await.map(drop) };
    let _live_or_late = shutdown.run_until_cancelled(tokio::time::timeout(PATIENCE, live)).await;
}

/// Puts a value in place, and says whether it differs from the one that was there.
fn replace<T: PartialEq>(place: &mut Option<T>, value: T) -> bool {
    let differs = place.as_ref() != Some(&value);
    *place = Some(value);
    differs
}

fn log(problem: &Problem) {
    macro_rules! at {
        ($level:ident) => {
            tracing::$level!(
                service = %problem.service_name,
                code = problem.code.as_str(),
                label = problem.label.as_deref(),
                value = problem.value.as_deref(),
                fix = problem.fix,
                "{}", problem.message
            )
        };
    }
    match problem.severity {
        Severity::Error => at!(error),
        Severity::Warning => at!(warn),
        Severity::Information => at!(info),
    }
}

/// Sleeps until a moment; for ever without one.
async fn sleep_until(due: Option<SystemTime>) {
    match due {
        Some(due) => {
            let wait = due.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
