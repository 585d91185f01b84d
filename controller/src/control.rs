//! The control loop: each new picture of the Swarm goes through `labels`, `routing` and `envoy`, and
//! comes out as snapshots for the Envoys and a report for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::envoy::{self, Kind, Resource};
use crate::labels::{Code, NodeCluster, Problem, Severity};
use crate::routing::{self, Ledger, PoolName, Routing, Turn};
use crate::swarm::{Freshness, Observed, Picture, ServiceId};
use crate::xds::{Opinion, Opinions, Snapshots};

mod quarantine;

use quarantine::{Plan, Quarantine, Reason, Weighed};

/// How long a kept picture waits for one that is read. It may be older than what the Envoys have
/// from another controller; it is for a Docker that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to do about a service that a proxy refuses.
const FIX: &str = "correct what the message names; labels that lead here are a defect of Waggle";

/// The loop's state: what outlives a turn.
#[derive(Debug)]
pub struct Control {
    routing: routing::Settings,
    envoy: envoy::Settings,
    /// The resources that no turn changes.
    fixed: [Resource; 2],
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
}

impl Control {
    /// A loop that begins with the ledger that was kept.
    pub fn new(routing: routing::Settings, envoy: envoy::Settings, ledger: Ledger) -> Self {
        let fixed = envoy::fixed(&envoy);
        Self {
            routing,
            envoy,
            fixed,
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
        let routing = self.with_refusals(&observed.picture, opinions);
        self.tell(&routing);
        publish(resources, self.resources(&Routing::default()), &outlets.snapshots);
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
    ) -> (Turn, BTreeMap<NodeCluster, Vec<Resource>>) {
        loop {
            self.last.left_out = self.quarantine.left_out().into_keys().collect();
            let turn = routing::route(picture, &self.routing, &self.last, now);
            let routed = turn.routing.services.keys();
            let version = |id: &ServiceId| Some((id.clone(), picture.services.get(id)?.version));
            let services = routed.filter_map(version).collect();
            let resources = self.resources(&turn.routing);
            let plan = (NodeCluster::default(), Plan::new(services, &resources));
            if self.quarantine.weigh([plan].into(), opinions, now) == Weighed::Send {
                return (turn, [(NodeCluster::default(), resources)].into());
            }
        }
    }

    /// The routing, with what Envoys refuse told to the services at fault.
    fn with_refusals(&self, picture: &Picture, opinions: &Opinions) -> Arc<Routing> {
        let mut routing = Arc::clone(&self.last.routing);
        let of_pools =
            opinions.iter().flat_map(|opinion| pool_refused(opinion, &self.last.routing));
        let left_out = self.quarantine.left_out().into_iter().map(left_out);
        for (id, severity, message) in left_out.chain(of_pools) {
            let Some(service) = picture.services.get(&id) else { continue };
            let routing = Arc::make_mut(&mut routing);
            let Some(outcome) = routing.services.get_mut(&id) else { continue };
            let named = (&service.id, &service.name);
            outcome.problems.push(Problem::new(
                Code::RefusedByProxy,
                severity,
                named,
                message,
                FIX,
            ));
            outcome.problems.sort();
            outcome.problems.dedup();
        }
        routing
    }

    fn resources(&self, routing: &Routing) -> Vec<Resource> {
        let mut resources = envoy::routed(routing, &self.envoy);
        resources.extend(self.fixed.iter().cloned());
        resources
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

/// What a service is told that is left out.
fn left_out((id, reason): (ServiceId, Reason)) -> (ServiceId, Severity, String) {
    match reason {
        Reason::Culprit(words) => (
            id,
            Severity::Error,
            format!("a proxy refuses all routes with this service among them: {words}; it is left out until it changes"),
        ),
        Reason::Suspect => (
            id,
            Severity::Information,
            "a proxy refuses all routes with this service among them; it is left out for a moment, to see whether it is at fault".to_owned(),
        ),
    }
}

/// What the services of a pool are told that an Envoy refuses; nobody, of other resources.
fn pool_refused<'a>(
    opinion: &'a Opinion,
    routing: &'a Routing,
) -> impl Iterator<Item = (ServiceId, Severity, String)> {
    let is_of_pool = matches!(opinion.kind, Kind::Cluster | Kind::Endpoints);
    let refused = opinion.refused.as_ref().filter(|_| is_of_pool);
    let pool = routing.pools.get(&PoolName::new(opinion.name.as_str()));
    refused.zip(pool).into_iter().flat_map(|(refused, pool)| {
        let message = format!(
            "a proxy refuses the {} of this service: {}; it keeps what it had, and answers 503 if it had nothing",
            opinion.kind.as_str(), refused.message
        );
        pool.services.iter().map(move |id| (id.clone(), Severity::Error, message.clone()))
    })
}

/// Hands the Envoys of each node cluster their resources, if these differ from what they have;
/// `others` go to Envoys of a cluster that is not named.
fn publish(
    clusters: BTreeMap<NodeCluster, Vec<Resource>>,
    others: Vec<Resource>,
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
