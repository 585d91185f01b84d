//! The controller's own time: pictures go in by hand, and light clients hear what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waggle_controller::control::{Control, Inlets, Memory, Outlets};
use waggle_controller::routing::{self, Ledger, Needs, ShareHosts};
use waggle_controller::swarm::{Freshness, Observed, Picture, Via};
use waggle_controller::{control, envoy, xds};
use waggle_filter::config::PluginConfig;
use waggle_tests::told::{self, NO_FILTER};
use waggle_tests::usage::{memory, processor_time_of_threads};

use super::client::{self, Heard, Kind};
use super::picture::{self, REPLICAS};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// Between two changes that are measured one by one.
const PAUSE: Duration = Duration::from_millis(20);

/// How long changes come at [`RATE`].
const LOAD: Duration = Duration::from_secs(5);

/// Between two changes under load.
const RATE: Duration = Duration::from_millis(10);

/// How many changes of routes are measured.
const ROUTES: usize = 20;

/// What [`Row`]s stand under.
pub(super) const HEAD: &str = "\
| services | tasks | clients | first snapshot | endpoints p50 / p99 / max | to the last client p50 / p99 | routes p50 / max | CPU at 100 changes/s | bytes a change and client | idle CPU | RSS |
|---|---|---|---|---|---|---|---|---|---|---|";

/// What one size and one number of clients cost.
#[derive(Debug)]
pub(super) struct Row {
    services: usize,
    clients: usize,
    first: Duration,
    endpoints: Times,
    last: Times,
    routes: Times,
    load: f64,
    bytes: usize,
    idle: f64,
    rss: u64,
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, clients, first, endpoints, last, routes, load, bytes, idle, rss } =
            self;
        write!(
            out,
            "| {services} | {} | {clients} | {} | {} / {} / {} | {} / {} | {} / {} | {load:.1} % | {bytes} | {idle:.1} % | {} MiB |",
            services * REPLICAS,
            ms(*first),
            ms(endpoints.at(50)),
            ms(endpoints.at(99)),
            ms(endpoints.at(100)),
            ms(last.at(50)),
            ms(last.at(99)),
            ms(routes.at(50)),
            ms(routes.at(100)),
            rss / 1024 / 1024,
        )
    }
}

/// A time in milliseconds.
pub(super) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Times, sorted.
#[derive(Debug)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many of a hundred do not exceed.
    pub(super) fn at(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(index).copied().unwrap_or_default()
    }
}

/// A controller without its source, and its clients.
struct Rig {
    picture: Picture,
    services: usize,
    clients: usize,
    generations: BTreeMap<(usize, usize), usize>,
    pictures: watch::Sender<Option<Observed>>,
    heard: UnboundedReceiver<Heard>,
    listening: Runtime,
    _controller: Runtime,
    _outlets: Ends,
    shutdown: CancellationToken,
}

/// What nobody listens to here.
type Ends = (
    watch::Receiver<Arc<control::Report>>,
    watch::Receiver<Option<Memory>>,
    watch::Receiver<Arc<BTreeMap<waggle_controller::labels::NodeCluster, Needs>>>,
);

/// Measures so many services and clients.
pub(super) fn measure(services: usize, clients: usize, changes: usize) -> anyhow::Result<Row> {
    let mut rig = Rig::start(services, clients)?;
    let first = rig.first()?;
    // The clients acknowledge what they have heard first.
    std::thread::sleep(Duration::from_millis(500));
    rig.drain();
    let (mut endpoints, mut last) = (Vec::new(), Vec::new());
    for change in 0..changes {
        std::thread::sleep(PAUSE);
        rig.replace_task(change * 7919);
        let times = rig.change(Kind::Endpoints)?;
        endpoints.extend(times.first());
        last.extend(times.last());
    }
    let mut routes = Vec::new();
    for _ in 0..ROUTES {
        std::thread::sleep(PAUSE);
        rig.add_service();
        routes.extend(rig.change(Kind::Routes)?.first());
    }
    std::thread::sleep(Duration::from_millis(500));
    rig.drain();
    let (load, bytes) = rig.load()?;
    std::thread::sleep(Duration::from_millis(500));
    let before = processor_time_of_threads("controller")?;
    std::thread::sleep(Duration::from_secs(2));
    let idle =
        processor_time_of_threads("controller")?.saturating_sub(before).as_secs_f64() / 2.0 * 100.0;
    let rss = memory(std::process::id())?.resident;
    let [endpoints, last, routes] = [endpoints, last, routes].map(Times::new);
    Ok(Row { services, clients, first, endpoints, last, routes, load, bytes, idle, rss })
}

impl Rig {
    fn start(services: usize, clients: usize) -> anyhow::Result<Self> {
        let runtime = |name: &str, threads| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(name)
                .enable_all()
                .build()
        };
        let (controller, listening) = (runtime("controller", 2)?, runtime("client", 1)?);
        let (pictures, seen) = watch::channel(None);
        let (snapshots, goal) = watch::channel(None);
        let (reports, report) = watch::channel(Arc::default());
        let (memory, kept) = watch::channel(None);
        let (needs, needed) = watch::channel(Arc::default());
        let (observer, shutdown) = (Arc::new(xds::Observer::default()), CancellationToken::new());
        let listener = controller.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let inlets = Inlets { pictures: seen, opinions: observer.opinions() };
        let outlets = Outlets { snapshots, reports, memory, needs };
        let control = Control::new(routing_settings(), envoy_settings(), Ledger::default());
        controller.spawn(control.run(inlets, outlets, shutdown.clone()));
        controller.spawn(xds::serve(
            listener,
            None,
            goal,
            observer,
            "bench".into(),
            shutdown.clone(),
        ));
        let heard = connect(&listening, address, clients);
        Ok(Self {
            picture: picture::of(services),
            services,
            clients,
            generations: BTreeMap::new(),
            pictures,
            heard,
            listening,
            _controller: controller,
            _outlets: (report, kept, needed),
            shutdown,
        })
    }

    fn show(&self) {
        let picture = Arc::new(self.picture.clone());
        self.pictures.send_replace(Some(Observed {
            picture,
            freshness: Freshness::Live,
            via: Via::Polled,
        }));
    }

    fn hear(&mut self) -> anyhow::Result<Heard> {
        let heard = self
            .listening
            .block_on(async { tokio::time::timeout(DEADLINE, self.heard.recv()).await });
        heard.context("a client hears nothing")?.context("all clients have ended")
    }

    fn drain(&mut self) {
        while self.heard.try_recv().is_ok() {}
    }

    /// Shows the first picture; until all clients have all of it.
    fn first(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.show();
        let mut missing: Vec<_> = vec![(self.services, self.services, 1, 1); self.clients];
        let mut done = 0;
        loop {
            let heard = self.hear()?;
            let Some(missing) = missing.get_mut(heard.client) else { continue };
            let of_kind = match heard.kind {
                Kind::Clusters => &mut missing.0,
                Kind::Endpoints => &mut missing.1,
                Kind::Listeners => &mut missing.2,
                Kind::Routes => &mut missing.3,
            };
            *of_kind = of_kind.saturating_sub(heard.resources);
            done += usize::from(*missing == (0, 0, 0, 0));
            if *missing == (0, 0, 0, 0) && done >= self.clients {
                return Ok(heard.at.duration_since(began));
            }
        }
    }

    /// Puts another task in the place of one.
    fn replace_task(&mut self, seed: usize) {
        let (number, slot) = (seed % self.services, seed / self.services % REPLICAS);
        let generation = self.generations.entry((number, slot)).or_default();
        self.picture.tasks.remove(&picture::task_id(number, slot, *generation));
        *generation += 1;
        let task = picture::task(number, slot, *generation);
        self.picture.tasks.insert(task.id.clone(), task);
    }

    fn add_service(&mut self) {
        let number = self.services;
        self.services += 1;
        let service = picture::service(number);
        self.picture.services.insert(service.id.clone(), service);
        for slot in 0..REPLICAS {
            let task = picture::task(number, slot, 0);
            self.picture.tasks.insert(task.id.clone(), task);
        }
    }

    /// Shows the picture; when each client heard of this kind, in order.
    fn change(&mut self, kind: Kind) -> anyhow::Result<Vec<Duration>> {
        self.drain();
        let began = Instant::now();
        self.show();
        let mut times = BTreeMap::new();
        while times.len() < self.clients {
            let heard = self.hear()?;
            if kind == Kind::Endpoints {
                ensure!(heard.kind == kind && heard.resources == 1, "not one resource: {heard:?}");
            }
            if heard.kind == kind {
                times.entry(heard.client).or_insert(heard.at.duration_since(began));
            }
        }
        let mut times: Vec<_> = times.into_values().collect();
        times.sort_unstable();
        Ok(times)
    }

    /// Changes endpoints at a rate. The controller's CPU in percent of a core, and the bytes that a
    /// client hears a change.
    fn load(&mut self) -> anyhow::Result<(f64, usize)> {
        let (before, began) = (processor_time_of_threads("controller")?, Instant::now());
        let mut changes = 0;
        while began.elapsed() < LOAD {
            let due = began + RATE * changes;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.replace_task(usize::try_from(changes)? * 104_729);
            self.show();
            changes += 1;
        }
        std::thread::sleep(Duration::from_secs(1));
        let spent = processor_time_of_threads("controller")?.saturating_sub(before);
        let mut bytes = 0;
        let mut clients = BTreeSet::new();
        while let Ok(heard) = self.heard.try_recv() {
            bytes += heard.bytes;
            clients.insert(heard.client);
        }
        ensure!(clients.len() == self.clients, "only {} clients heard anything", clients.len());
        let share = spent.as_secs_f64() / LOAD.as_secs_f64() * 100.0;
        Ok((share, bytes / usize::try_from(changes)? / self.clients))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn connect(runtime: &Runtime, controller: SocketAddr, clients: usize) -> UnboundedReceiver<Heard> {
    let (heard, hearing) = unbounded_channel();
    for client in 0..clients {
        runtime.spawn(client::follow(controller, client, heard.clone()));
    }
    hearing
}

pub(super) fn routing_settings() -> routing::Settings {
    routing::Settings {
        share_hosts: ShareHosts::Any,
        proxy_networks: BTreeSet::new(),
        proxies: BTreeMap::new(),
        linger: Duration::from_millis(1_400),
    }
}

pub(super) fn envoy_settings() -> envoy::Settings {
    told::settings(8080, PluginConfig::default(), envoy::FilterCode::Inline(NO_FILTER.to_vec()))
}
