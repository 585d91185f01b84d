//! The whole way: a simulated engine's socket, the real controller as a process, a light client.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use waggle_tests::controller::Controller;
use waggle_tests::engine::{Engine, Service};
use waggle_tests::program::free_address;
use waggle_tests::usage::{Memory, memory, processor_time};

use super::client::{self, Heard, Kind};
use super::picture::REPLICAS;
use super::pipeline::{Times, ms};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// How long the idle controller is watched.
const IDLE: Duration = Duration::from_secs(10);

/// After its last event the controller reads more often for half a minute.
const CALM: Duration = Duration::from_secs(31);

/// What [`Row`]s stand under.
pub(super) const HEAD: &str = "\
| services | tasks | start to complete | change to push p50 / p99 / max | idle CPU | RSS | RSS at most |
|---|---|---|---|---|---|---|";

/// What one size costs.
#[derive(Debug)]
pub(super) struct Row {
    services: usize,
    first: Duration,
    changes: Times,
    idle: f64,
    memory: Memory,
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, first, changes, idle, memory } = self;
        write!(
            out,
            "| {services} | {} | {} | {} / {} / {} | {idle:.1} % | {} MiB | {} MiB |",
            services * REPLICAS,
            ms(*first),
            ms(changes.at(50)),
            ms(changes.at(99)),
            ms(changes.at(100)),
            memory.resident >> 20,
            memory.most >> 20,
        )
    }
}

/// Measures so many services.
pub(super) async fn measure(services: usize, changes: usize) -> anyhow::Result<Row> {
    let engine = Engine::start().await?;
    let all: Vec<Service> = (0..services).map(|number| create(&engine, number)).collect();
    let began = Instant::now();
    let controller = Controller::start(&engine.url(), free_address()?.port(), &[])?;
    let (heard, mut hearing) = unbounded_channel();
    let address = controller.xds();
    let client = tokio::spawn(async move {
        // Until it listens, nobody is there.
        while client::follow(address, 0, heard.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let first = complete(&mut hearing, services).await?.duration_since(began);
    let mut times = Vec::new();
    for change in 0..changes {
        let service = all.get(change * 7919 % services).context("no service")?;
        let tasks = service.tasks();
        let task = tasks.get(change % REPLICAS).context("no task")?;
        while hearing.try_recv().is_ok() {}
        let began = Instant::now();
        let _new = task.crash();
        times.push(next(&mut hearing, Kind::Endpoints).await?.at.duration_since(began));
    }
    tokio::time::sleep(CALM).await;
    let id = controller.id().context("the controller has ended")?;
    let before = processor_time(id)?;
    tokio::time::sleep(IDLE).await;
    let idle =
        processor_time(id)?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let memory = memory(id)?;
    client.abort();
    Ok(Row { services, first, changes: Times::new(times), idle, memory })
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

async fn hear(hearing: &mut UnboundedReceiver<Heard>) -> anyhow::Result<Heard> {
    let heard = tokio::time::timeout(DEADLINE, hearing.recv()).await;
    heard.context("the client hears nothing")?.context("the client has ended")
}

async fn next(hearing: &mut UnboundedReceiver<Heard>, kind: Kind) -> anyhow::Result<Heard> {
    loop {
        let heard = hear(hearing).await?;
        if heard.kind == kind {
            return Ok(heard);
        }
    }
}

/// When the client has everything.
async fn complete(
    hearing: &mut UnboundedReceiver<Heard>,
    services: usize,
) -> anyhow::Result<Instant> {
    let (mut clusters, mut endpoints, mut routes) = (services, services, 1);
    loop {
        let heard = hear(hearing).await?;
        match heard.kind {
            Kind::Clusters => clusters = clusters.saturating_sub(heard.resources),
            Kind::Endpoints => endpoints = endpoints.saturating_sub(heard.resources),
            Kind::Routes => routes = 0,
            Kind::Listeners => {}
        }
        if (clusters, endpoints, routes) == (0, 0, 0) {
            return Ok(heard.at);
        }
    }
}
