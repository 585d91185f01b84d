//! The whole way: a simulated engine's sockets, the real controller as a process, a light client.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;
use waggle_tests::authority::Authority;
use waggle_tests::controller::Controller;
use waggle_tests::engine::{ControlSocket, Engine, Service};
use waggle_tests::program::free_address;
use waggle_tests::times::{Times, ms};
use waggle_tests::usage::{Memory, memory, running_time};

use super::client::{self, Heard, Kind};
use super::picture::REPLICAS;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// How long changes are measured at most: where they are polled, each takes a good part of a second,
/// and in a big Swarm many.
const LONGEST: Duration = Duration::from_mins(2);

/// Between two changes that are pushed. Where they are polled, that makes no difference.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the idle controller is watched: the net below a watch is a read in ten seconds.
const IDLE: Duration = Duration::from_secs(20);

/// After its last event the controller reads more often for half a minute.
const CALM: Duration = Duration::from_secs(31);

/// What [`Row`]s stand under.
pub(super) const HEAD: &str = "\
| services | tasks | changes are | start to complete | changes | change to push p50 / p99 / max | idle CPU | RSS | RSS at most |
|---|---|---|---|---|---|---|---|---|";

/// How the controller hears of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// By reading Docker's API again and again.
    Polled,
    /// By a manager's watch.
    Pushed,
}

impl Source {
    pub(super) const ALL: [Self; 2] = [Self::Polled, Self::Pushed];

    /// As `/status` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Polled => "polled",
            Self::Pushed => "pushed",
        }
    }
}

/// What one size costs.
#[derive(Debug)]
pub(super) struct Row {
    services: usize,
    source: Source,
    first: Duration,
    changes: Times,
    idle: f64,
    memory: Memory,
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, source, first, changes, idle, memory } = self;
        write!(
            out,
            "| {services} | {} | {} | {} | {} | {} / {} / {} | {idle:.1} % | {} MiB | {} MiB |",
            services * REPLICAS,
            source.name(),
            ms(*first),
            changes.count(),
            ms(changes.at(50)),
            ms(changes.at(99)),
            ms(changes.at(100)),
            memory.resident >> 20,
            memory.most >> 20,
        )
    }
}

/// Measures so many services.
pub(super) async fn measure(
    services: usize,
    source: Source,
    changes: usize,
) -> anyhow::Result<Row> {
    let mut rig = Rig::start(services, source).await?;
    let first = rig.complete().await?;
    rig.settle().await?;
    let (mut times, began) = (Vec::new(), Instant::now());
    for change in 0..changes {
        if began.elapsed() > LONGEST {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        times.push(rig.change(change).await?);
    }
    tokio::time::sleep(CALM).await;
    let process = rig.controller.id().context("the controller has ended")?;
    let before = running_time(process)?;
    tokio::time::sleep(IDLE).await;
    let spent = running_time(process)?.saturating_sub(before);
    let idle = spent.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let memory = memory(process)?;
    Ok(Row { services, source, first, changes: Times::new(times), idle, memory })
}

/// A simulated Swarm, a controller, and its client.
struct Rig {
    source: Source,
    services: Vec<Service>,
    hearing: UnboundedReceiver<Heard>,
    began: Instant,
    _client: AbortOnDropHandle<()>,
    controller: Controller,
    _control: ControlSocket,
    engine: Engine,
}

impl Rig {
    async fn start(services: usize, source: Source) -> anyhow::Result<Self> {
        let (engine, authority) = (Engine::start().await?, Authority::new()?);
        engine.trust(&authority);
        let control = engine.open_control(&authority.sign("swarm-manager")?).await?;
        let services = (0..services).map(|number| create(&engine, number)).collect();
        let watch = control.path().display().to_string();
        let more: &[&str] = match source {
            Source::Polled => &[],
            Source::Pushed => &["--watch-socket", &watch],
        };
        engine.print_lists();
        let began = Instant::now();
        let controller = Controller::start(&engine.url(), free_address()?.port(), more)?;
        let (heard, hearing) = unbounded_channel();
        let address = controller.xds();
        let client = AbortOnDropHandle::new(tokio::spawn(async move {
            // Until it listens, nobody is there.
            while client::follow(address, 0, heard.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
        Ok(Self {
            source,
            services,
            hearing,
            began,
            _client: client,
            controller,
            _control: control,
            engine,
        })
    }

    async fn hear(&mut self) -> anyhow::Result<Heard> {
        let heard = tokio::time::timeout(DEADLINE, self.hearing.recv()).await;
        heard.context("the client hears nothing")?.context("the client has ended")
    }

    /// From the controller's start until the client has everything.
    async fn complete(&mut self) -> anyhow::Result<Duration> {
        let services = self.services.len();
        // Beside the services' own hosts there is the one of all others.
        let (mut clusters, mut endpoints, mut hosts) = (services, services, services + 1);
        loop {
            let heard = self.hear().await?;
            match heard.kind {
                Kind::Clusters => clusters = clusters.saturating_sub(heard.resources),
                Kind::Endpoints => endpoints = endpoints.saturating_sub(heard.resources),
                Kind::Hosts => hosts = hosts.saturating_sub(heard.resources),
                Kind::Listeners | Kind::Routes => {}
            }
            if (clusters, endpoints, hosts) == (0, 0, 0) {
                return Ok(heard.at.duration_since(self.began));
            }
        }
    }

    /// Waits until changes come as they shall, and nothing more is to be heard.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let (source, deadline) = (self.source, Instant::now() + DEADLINE);
        while self.controller.status()?["swarm"]["changes"] != source.name() {
            ensure!(Instant::now() < deadline, "changes are not {}", source.name());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        while tokio::time::timeout(Duration::from_secs(1), self.hearing.recv()).await.is_ok() {}
        Ok(())
    }

    /// Lets a task crash. From the moment that this is in the Swarm, or that a watch tells it, until
    /// the client hears of it.
    async fn change(&mut self, number: usize) -> anyhow::Result<Duration> {
        let service = self.services.get(number * 7919 % self.services.len());
        let tasks = service.context("no service")?.tasks();
        let task = tasks.get(number % REPLICAS).context("no task")?;
        while self.hearing.try_recv().is_ok() {}
        let began = Instant::now();
        let _new = task.crash();
        let began = match self.source {
            Source::Polled => began,
            Source::Pushed => self.engine.last_told().context("nobody watches")?,
        };
        loop {
            let heard = self.hear().await?;
            if heard.kind == Kind::Endpoints {
                return Ok(heard.at.saturating_duration_since(began));
            }
        }
    }
}

fn create(engine: &Engine, number: usize) -> Service {
    let name = format!("service-{number}");
    engine
        .service(&name)
        .label("com.docker.lb.hosts", &format!("{name}.example.org"))
        .label("com.docker.lb.port", "8080")
        .network("net")
        .replicas(REPLICAS as u64)
        .create()
}
