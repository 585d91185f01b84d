//! Where the control loop's time goes: its steps one by one, called as it calls them.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use waggle_controller::envoy::{Built, Kind, Resource};
use waggle_controller::labels::NodeCluster;
use waggle_controller::routing::{self, Turn};
use waggle_controller::swarm::Picture;
use waggle_controller::xds::Snapshots;
use waggle_tests::times::{Times, ms};

use super::picture::{self, REPLICAS};
use super::settings::{envoy_settings, routing_settings};

/// What [`Row`]s stand under.
pub(super) const HEAD: &str = "\
| services | change | labels, routing | resources | snapshot | a host, in bytes | endpoints of a pool, in bytes |
|---|---|---|---|---|---|---|";

/// What a kind of change costs, step by step: the median of each.
#[derive(Debug)]
pub(super) struct Row {
    services: usize,
    change: &'static str,
    steps: [Duration; 3],
    sizes: [usize; 2],
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, change, steps, sizes: [host, endpoints] } = self;
        let [routing, resources, snapshot] = steps.map(ms);
        write!(
            out,
            "| {services} | {change} | {routing} | {resources} | {snapshot} | {host} | {endpoints} |"
        )
    }
}

/// Measures so many services: the first turn, a change of endpoints, and a new service.
pub(super) fn measure(services: usize, changes: usize) -> anyhow::Result<[Row; 3]> {
    let mut loop_ = Steps::new()?;
    let mut picture = picture::of(services);
    let first = loop_.take(&picture)?;
    let row = |change, steps, loop_: &Steps| Row {
        services,
        change,
        steps,
        sizes: [Kind::VirtualHost, Kind::Endpoints].map(|it| loop_.size(it)),
    };
    let first = row("all of it", first, &loop_);
    let mut times: [Vec<Duration>; 3] = Default::default();
    for change in 0..changes {
        let (number, slot) = (change * 7919 % services, change % REPLICAS);
        picture.tasks.remove(&picture::task_id(number, slot, 0));
        let task = picture::task(number, slot, change + 1);
        picture.tasks.insert(task.id.clone(), task);
        note(&mut times, loop_.take(&picture)?);
    }
    let endpoints = row("a task", median(times), &loop_);
    let mut times: [Vec<Duration>; 3] = Default::default();
    for change in 0..20 {
        let service = picture::service(services + change);
        picture.services.insert(service.id.clone(), service);
        note(&mut times, loop_.take(&picture)?);
    }
    let routes = row("a new service", median(times), &loop_);
    Ok([first, endpoints, routes])
}

fn note(times: &mut [Vec<Duration>; 3], steps: [Duration; 3]) {
    times.iter_mut().zip(steps).for_each(|(all, one)| all.push(one));
}

fn median(times: [Vec<Duration>; 3]) -> [Duration; 3] {
    times.map(|times| Times::new(times).at(50))
}

/// The results of the last turn.
struct Steps {
    routing: routing::Settings,
    envoy: waggle_controller::envoy::Settings,
    others: Built,
    turn: Turn,
    built: Built,
    snapshots: Snapshots,
}

impl Steps {
    fn new() -> anyhow::Result<Self> {
        let envoy = envoy_settings()?;
        let others = Built::without_routes(&envoy);
        Ok(Self {
            routing: routing_settings(),
            envoy,
            built: others.clone(),
            others,
            turn: Turn::default(),
            snapshots: Snapshots::default(),
        })
    }

    /// Takes the steps, and tells how long each took.
    fn take(&mut self, picture: &Picture) -> anyhow::Result<[Duration; 3]> {
        let began = Instant::now();
        self.turn = routing::route(picture, &self.routing, &self.turn, SystemTime::now());
        let second = Instant::now();
        let cluster = NodeCluster::default();
        let routes = self.turn.routing.clusters.get(&cluster).cloned().unwrap_or_default();
        self.built = self.built.next(&routes, &self.envoy);
        let third = Instant::now();
        let resources = self.built.resources().clone();
        let others = self.others.resources().clone();
        self.snapshots = self.snapshots.next([(cluster, resources)], others)?;
        Ok([second.duration_since(began), third.duration_since(second), third.elapsed()])
    }

    /// The longest resource of a kind.
    fn size(&self, kind: Kind) -> usize {
        let size = |resource: &Resource| resource.body().message().len();
        self.built.resources().of(kind).values().map(size).max().unwrap_or_default()
    }
}
