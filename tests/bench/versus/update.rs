//! Two services are updated at the same moment, one in each order, each under a load of its own.

use std::fmt;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use waggle_tests::steady::{Plan, Report, Site, Steady};
use waggle_tests::wait::wait_for;

use super::contender::host;
use super::world::World;

/// The services that are updated, each named after the order in which Swarm replaces its tasks.
pub(super) const SERVICES: [&str; 2] = ["start-first", "stop-first"];

/// How many tasks each has.
pub(super) const REPLICAS: usize = 2;

/// Requests a second to each.
pub(super) const RATE: u32 = 50;

/// How long the load runs before the command, and after an update that is slow.
const MARGIN: Duration = Duration::from_secs(1);

/// How long Swarm may take for an update.
const UPDATE: Duration = Duration::from_mins(2);

/// What clients saw of one update.
#[derive(Debug, Clone)]
pub(super) struct Update {
    /// How many requests there were.
    pub(super) asked: usize,
    /// When those were due that failed, in seconds since the command.
    pub(super) failed: Vec<f64>,
    /// All that the load tells, with the first failures.
    account: String,
    /// What 99 of 100 of the others did not exceed.
    pub(super) p99: Duration,
    /// How late 99 of 100 requests were sent at most: what a busy machine adds to the others' times.
    pub(super) late: Duration,
    /// How long Swarm took.
    pub(super) took: Duration,
}

impl Update {
    fn new(report: &Report, commanded: Duration, took: Duration) -> Self {
        let since = |at: Duration| at.as_secs_f64() - commanded.as_secs_f64();
        Self {
            asked: report.asked,
            failed: report.failures.iter().map(|failure| since(failure.at)).collect(),
            account: report.to_string(),
            p99: report.times.at(99),
            late: report.late.at(99),
            took,
        }
    }

    /// From the first request that failed to the last one, in seconds; 0 if none did.
    pub(super) fn window(&self) -> f64 {
        let first = self.failed.iter().copied().reduce(f64::min).unwrap_or_default();
        let last = self.failed.iter().copied().reduce(f64::max).unwrap_or_default();
        last - first
    }
}

impl fmt::Display for Update {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; the update took {:.1} s", self.account, self.took.as_secs_f64())
    }
}

/// Creates the services, whose tasks a contender finds running when it comes.
pub(super) fn prepare(world: &World) -> Result<()> {
    for name in SERVICES {
        world.create(name, REPLICAS, &["--update-order", name])?;
        world.swarm.wait_running(name, REPLICAS)?;
    }
    Ok(())
}

/// Updates that are through, of which some requests may still be waiting for their answers.
pub(super) struct Ending {
    commanded: Instant,
    /// When each load began, and what it will tell.
    loads: Vec<(Instant, JoinHandle<Result<Report>>)>,
    took: Vec<Duration>,
}

/// Updates them under loads of at least so long.
pub(super) fn measure(world: &World, proxy: SocketAddr, least: Duration) -> Result<Ending> {
    let began = Instant::now();
    let start = |name| {
        let plan = Plan::new(proxy, [Site::new(&host(name), name)]);
        Steady::start(Plan { rate: RATE, ..plan })
    };
    let loads = SERVICES.map(start);
    thread::sleep(MARGIN);
    let commanded = Instant::now();
    for name in SERVICES {
        world.docker(&format!("service update --detach --no-resolve-image --force {name}"))?;
    }
    thread::sleep(least.saturating_sub(began.elapsed()));
    let through = |name| wait_for(UPDATE, "the end of the update", || length(world, name));
    let took = SERVICES.into_iter().map(through).collect::<Result<Vec<_>>>()?;
    if began.elapsed() > least + MARGIN {
        thread::sleep(MARGIN);
    }
    let end = |load: Steady| (load.began(), thread::spawn(move || load.end()));
    Ok(Ending { commanded, loads: loads.into_iter().map(end).collect(), took })
}

impl Ending {
    /// Waits for the last answers: what became of each update, in the order of [`SERVICES`].
    pub(super) fn wait(self) -> Result<Vec<Update>> {
        let Self { commanded, loads, took } = self;
        let updates = loads.into_iter().zip(took).map(|((began, load), took)| {
            let report = load.join().map_err(|_| anyhow!("the end of a load has panicked"))??;
            Ok(Update::new(&report, commanded.duration_since(began), took))
        });
        updates.collect()
    }
}

/// How long a service's last update took; an error until it is through.
fn length(world: &World, name: &str) -> Result<Option<Duration>> {
    let shown =
        world.swarm.docker(["service", "inspect", "--format", "{{json .UpdateStatus}}", name])?;
    let status: Value = serde_json::from_str(&shown)?;
    ensure!(status["State"] == "completed", "{status}");
    let time = |key: &str| -> Result<_> {
        let written = status[key].as_str().with_context(|| format!("no {key} in {status}"))?;
        Ok(humantime::parse_rfc3339(written)?)
    };
    Ok(Some(time("CompletedAt")?.duration_since(time("StartedAt")?)?))
}
