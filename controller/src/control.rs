//! The control loop: each new picture of the Swarm goes through `labels`, `routing` and `envoy`, and
//! comes out as snapshots for the Envoys and a report for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::envoy::{self, Resource};
use crate::labels::{NodeCluster, Problem, Severity};
use crate::routing::{self, Ledger, Needs, Routes, Routing, Turn};
use crate::swarm::{Freshness, Observed, Picture};
use crate::xds::{Opinions, Snapshots};

mod quarantine;
mod refused;

use quarantine::{Plan, Quarantine, Services, Weighed};

/// How long a kept picture waits for one that is read. It may be older than what the Envoys have
/// from another controller; it is for a Docker that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loop's state: what outlives a turn.
#[derive(Debug)]
pub struct Control {
    routing: routing::Settings,
    envoy: envoy::Settings,
    /// The resources that no turn changes.
    fixed: Vec<Arc<Resource>>,
    /// What Envoys of a cluster get that no service names.
    others: Vec<Arc<Resource>>,
    last: Turn,
    quarantine: Quarantine,
    told: BTreeSet<Problem>,
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
        let fixed: Vec<_> = envoy::fixed(&envoy).into_iter().map(Arc::new).collect();
        let others = together(envoy::routed(&Routes::default(), &envoy), &fixed);
        Self {
            routing,
            envoy,
            fixed,
            others,
            last: Turn::resume(ledger),
            quarantine: Quarantine::default(),
            told: BTreeSet::new(),
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
        self.tell(&routing);
        publish(resources, self.others.clone(), &outlets.snapshots);
        let needs = routing.clusters.iter();
        let needs = needs.map(|(name, routes)| (name.clone(), routes.needs()));
        let needs = Arc::new(needs.collect());
        outlets.needs.send_if_modified(|last| std::mem::replace(last, Arc::clone(&needs)) != needs);
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
    ) -> (Turn, BTreeMap<NodeCluster, Vec<Arc<Resource>>>) {
        loop {
            self.last.left_out = self.quarantine.left_out().into_keys().collect();
            let turn = routing::route(picture, &self.routing, &self.last, now);
            let services = by_cluster(&turn.routing, picture);
            let resources: BTreeMap<_, _> = services
                .keys()
                .map(|cluster| {
                    let resources = match turn.routing.clusters.get(cluster) {
                        Some(routes) => together(envoy::routed(routes, &self.envoy), &self.fixed),
                        None => self.others.clone(),
                    };
                    (cluster.clone(), resources)
                })
                .collect();
            let plan = |(cluster, services): (NodeCluster, Services)| {
                let resources = resources.get(&cluster)?;
                Some((cluster, Plan::new(services, resources)))
            };
            let plans = services.into_iter().filter_map(plan).collect();
            if self.quarantine.weigh(plans, opinions, now) == Weighed::Send {
                return (turn, resources);
            }
        }
    }

    /// Logs each problem once, and its end.
    fn tell(&mut self, routing: &Routing) {
        let problems = routing.services.values().flat_map(|outcome| &outcome.problems);
        let present: BTreeSet<Problem> = problems.cloned().collect();
        present.difference(&self.told).for_each(log);
        for gone in self.told.difference(&present) {
            tracing::info!(service = %gone.service_name, code = gone.code.as_str(), "no longer a problem");
        }
        self.told = present;
    }
}

/// What follows from routes, and what no turn changes.
fn together(own: Vec<Resource>, fixed: &[Arc<Resource>]) -> Vec<Arc<Resource>> {
    own.into_iter().map(Arc::new).chain(fixed.iter().cloned()).collect()
}

/// The services of each node cluster, left out or not, each with its version.
fn by_cluster(routing: &Routing, picture: &Picture) -> BTreeMap<NodeCluster, Services> {
    let mut clusters: BTreeMap<NodeCluster, Services> = BTreeMap::new();
    for (id, outcome) in &routing.services {
        let Some(service) = picture.services.get(id) else { continue };
        let services = clusters.entry(outcome.cluster.clone()).or_default();
        services.insert(id.clone(), service.version);
    }
    clusters
}

/// Hands the Envoys of each node cluster their resources, if these differ from what they have;
/// `others` go to Envoys of a cluster that is not named.
fn publish(
    clusters: BTreeMap<NodeCluster, Vec<Arc<Resource>>>,
    others: Vec<Arc<Resource>>,
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
mod tests;
