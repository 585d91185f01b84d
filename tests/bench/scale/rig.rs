//! A controller without its source, with its clients: light ones, and a real Envoy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waggle_controller::control::{Control, Inlets, Memory, Outlets};
use waggle_controller::routing::{Ledger, Needs};
use waggle_controller::swarm::{Freshness, Observed, Picture, Via};
use waggle_controller::{control, xds};
use waggle_tests::envoy::Envoy;
use waggle_tests::usage::processor_time_of_threads;

use super::client::{self, Heard, Kind};
use super::picture::{self, REPLICAS};
use super::settings::{envoy_settings, routing_settings};
use crate::members::Members;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// How long changes come at [`RATE`].
const LOAD: Duration = Duration::from_secs(5);

/// Between two changes under load.
const RATE: Duration = Duration::from_millis(10);

/// A controller without its source, and its clients.
pub(super) struct Rig {
    picture: Picture,
    services: usize,
    clients: usize,
    generations: BTreeMap<(usize, usize), usize>,
    pictures: watch::Sender<Option<Observed>>,
    heard: UnboundedReceiver<Heard>,
    listening: Runtime,
    address: SocketAddr,
    envoy: Option<Envoy>,
    /// When the last picture was shown.
    shown: Instant,
    _controller: Runtime,
    _outlets: Ends,
    shutdown: CancellationToken,
}

/// A service's number, and the address of one of its tasks.
pub(super) type Place = (usize, IpAddr);

/// What nobody listens to here.
type Ends = (
    watch::Receiver<Arc<control::Report>>,
    watch::Receiver<Option<Memory>>,
    watch::Receiver<Arc<BTreeMap<waggle_controller::labels::NodeCluster, Needs>>>,
);

impl Rig {
    pub(super) fn start(services: usize, clients: usize) -> anyhow::Result<Self> {
        let runtime = |name: &str, threads| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(name)
                .enable_all()
                .build()
        };
        let (controller, listening) = (runtime("controller", 2)?, runtime("client", 2)?);
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
        let control = Control::new(routing_settings(), envoy_settings()?, Ledger::default());
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
            address,
            envoy: None,
            shown: Instant::now(),
            _controller: controller,
            _outlets: (report, kept, needed),
            shutdown,
        })
    }

    fn show(&mut self) {
        self.shown = Instant::now();
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

    pub(super) fn drain(&mut self) {
        while self.heard.try_recv().is_ok() {}
    }

    /// Shows the first picture; until all clients have all of it.
    pub(super) fn first(&mut self) -> anyhow::Result<Duration> {
        self.show();
        let began = self.shown;
        // Beside the services' own hosts there is the one of all others.
        let all = [self.services, self.services, 1, 1, self.services + 1];
        let mut missing: Vec<_> = vec![all; self.clients];
        let mut done = 0;
        loop {
            let heard = self.hear()?;
            let Some(missing) = missing.get_mut(heard.client) else { continue };
            let [clusters, endpoints, listeners, routes, hosts] = missing;
            let of_kind = match heard.kind {
                Kind::Clusters => clusters,
                Kind::Endpoints => endpoints,
                Kind::Listeners => listeners,
                Kind::Routes => routes,
                Kind::Hosts => hosts,
            };
            *of_kind = of_kind.saturating_sub(heard.resources);
            done += usize::from(*missing == [0; 5]);
            if *missing == [0; 5] && done >= self.clients {
                return Ok(heard.at.duration_since(began));
            }
        }
    }

    /// Starts an Envoy, with two workers; until it has all of it, and serves.
    pub(super) fn join_envoy(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let envoy = self.envoy.insert(Envoy::start(self.address, "envoy", 2)?);
        while !envoy.get("/ready").is_ok_and(|answer| answer.trim() == "LIVE") {
            ensure!(began.elapsed() < DEADLINE, "Envoy is not ready; its log: {}", envoy.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(began.elapsed())
    }

    /// From the picture that was shown last until Envoy has a task's endpoint.
    pub(super) fn until_in_envoy(&self, (number, address): Place) -> anyhow::Result<Duration> {
        let envoy = self.envoy.as_ref().context("no Envoy has joined")?;
        let members = Members::of(envoy.admin(), &format!("service-{number}"));
        self.listening.block_on(async {
            loop {
                if members.look().await?.members.contains(&address) {
                    return Ok(self.shown.elapsed());
                }
                ensure!(self.shown.elapsed() < DEADLINE, "{address} does not come to Envoy");
            }
        })
    }

    /// Puts another task in the place of one, and tells which.
    pub(super) fn replace_task(&mut self, seed: usize) -> Place {
        let (number, slot) = (seed % self.services, seed / self.services % REPLICAS);
        let generation = self.generations.entry((number, slot)).or_default();
        self.picture.tasks.remove(&picture::task_id(number, slot, *generation));
        *generation += 1;
        let task = picture::task(number, slot, *generation);
        let address = picture::address(number, slot, *generation);
        self.picture.tasks.insert(task.id.clone(), task);
        (number, address)
    }

    /// Adds a service with its tasks, and tells one of them.
    pub(super) fn add_service(&mut self) -> Place {
        let number = self.services;
        self.services += 1;
        let service = picture::service(number);
        self.picture.services.insert(service.id.clone(), service);
        for slot in 0..REPLICAS {
            let task = picture::task(number, slot, 0);
            self.picture.tasks.insert(task.id.clone(), task);
        }
        (number, picture::address(number, 0, 0))
    }

    /// Shows the picture; when each client heard of this kind, in order.
    pub(super) fn change(&mut self, kind: Kind) -> anyhow::Result<Vec<Duration>> {
        self.drain();
        self.show();
        let began = self.shown;
        let mut times = BTreeMap::new();
        while times.len() < self.clients {
            let heard = self.hear()?;
            let is_alone = kind != Kind::Endpoints || heard.kind == kind;
            let is_one = heard.kind != kind || heard.resources == 1;
            ensure!(is_alone && is_one, "not one resource: {heard:?}");
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
    pub(super) fn load(&mut self) -> anyhow::Result<(f64, usize)> {
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
