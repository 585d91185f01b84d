//! What Envoy is told, and what it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::controller::responses;
use waggle_tests::engine::{Service, Task};
use waggle_tests::stage::{APP_PORT, Stage};

/// What Envoy has been told so far: by the controller's count, and by Envoy's own.
fn told(stage: &Stage) -> Result<(u64, u64)> {
    Ok((responses(&stage.controller.status()?), stage.updates()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn in_vip_mode_envoy_hears_nothing_of_what_tasks_do() -> Result<()> {
    let mut stage = Stage::start().await?;
    for replicas in [4, 1] {
        let name = format!("vip-{replicas}");
        let builder = stage.service(&name, &format!("{name}.local")).replicas(replicas);
        let service = builder.label("com.docker.lb.backend_mode", "vip").create();
        let vip = super::modes::balance(&mut stage, &service).await?;
        stage.settle().await?;
        let before = told(&stage)?;
        let changes: [(&str, &dyn Fn()); 6] = [
            ("scaled up", &|| service.scale(replicas + 3)),
            ("scaled down", &|| service.scale(replicas)),
            ("a new image", &|| service.set_image("demo:2").finish()),
            ("an environment variable", &|| service.set_env("A=B").finish()),
            ("a label of somebody else", &|| service.set_label("note", "x")),
            ("a task that crashes", &|| {
                let _restarted = service.tasks()[0].crash();
            }),
        ];
        for (change, make) in changes {
            make();
            stage.controller.wait_read().await?;
            ensure!(told(&stage)? == before, "{change}, with {replicas} replicas");
        }
        service.scale(0);
        stage.settle().await?;
        ensure!(told(&stage)? != before, "scaled to 0 is not told");
        let answer = stage.client.get(&format!("{name}.local"), "/ping").await?;
        ensure!(answer.status == 503 && answer.header("retry-after") == "1", "{answer:?}");
        service.scale(1);
        let new = service.tasks().first().map(waggle_tests::engine::Task::address);
        stage.backends.serve(&service, APP_PORT).await?;
        stage.settle().await?;
        vip.set(new.map(|address| (address, APP_PORT).into()));
        let answer = stage.client.get(&format!("{name}.local"), "/ping").await?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_tasks_is_one_endpoint_resource_and_nothing_else() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(2);
    let service = stage.deploy(builder).await?;
    let count = |status: &Value, kind: &str| status["xds"]["responses"][kind].as_u64();
    let before = stage.controller.status()?;
    service.scale(3);
    stage.backends.serve(&service, APP_PORT).await?;
    stage.settle().await?;
    let after = stage.controller.status()?;
    for kind in ["cluster", "listener", "routes", "extension"] {
        ensure!(count(&before, kind) == count(&after, kind), "{kind}: {after:#}");
    }
    let (before, after) = (count(&before, "endpoints"), count(&after, "endpoints"));
    ensure!(before.map(|count| count + 1) == after, "endpoints: {before:?} → {after:?}");
    Ok(())
}

/// Something that happens to a service in Swarm.
#[derive(Debug, Clone, Copy)]
enum Event {
    ScaleUp,
    ScaleDown,
    Crash,
    Image,
    Variable,
    Label,
}

impl Event {
    const ALL: [Self; 6] =
        [Self::ScaleUp, Self::ScaleDown, Self::Crash, Self::Image, Self::Variable, Self::Label];

    /// Makes it happen, for the time of this number.
    fn happen(self, service: &Service, number: u64) {
        let tasks = service.tasks();
        let replicas = u64::try_from(tasks.len()).unwrap_or_default();
        match self {
            Self::ScaleUp => service.scale(replicas + 1),
            Self::ScaleDown => service.scale(replicas.max(2) - 1),
            Self::Crash => drop(tasks.first().map(Task::crash)),
            Self::Image => service.set_image(&format!("demo:{number}")).finish(),
            Self::Variable => service.set_env(&format!("ROUND={number}")).finish(),
            Self::Label => service.set_label("note", &number.to_string()),
        }
    }
}

/// An event for each round and service. A seed that failed is told by the test.
fn events(seed: u64, round: u64, services: u64) -> impl Iterator<Item = Event> {
    (0..services).filter_map(move |service| {
        let mut hasher = DefaultHasher::new();
        (seed, round, service).hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % 6).ok()?;
        Event::ALL.get(place).copied()
    })
}

/// How often Envoy was told of each pool's endpoints.
fn told_by_pool(stage: &Stage) -> Result<BTreeMap<String, u64>> {
    let pool = |(name, count): (String, u64)| {
        let pool = name.strip_prefix("cluster.")?.strip_suffix(".update_success")?;
        (pool.starts_with("vip-") || pool.starts_with("task-")).then(|| (pool.to_owned(), count))
    };
    Ok(stage.envoy.stats()?.into_iter().filter_map(pool).collect())
}

/// Both kinds get the same events.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_events_are_silent_with_virtual_ips_and_one_resource_a_change_with_tasks()
-> Result<()> {
    const SERVICES: u64 = 20;
    const ROUNDS: u64 = 50;
    let seed = RandomState::new().hash_one("a thousand events");
    let mut stage = Stage::start().await?;
    let create = |kind: &str, number: u64| {
        let name = format!("{kind}-{number}");
        let builder = stage.service(&name, &format!("{name}.local")).replicas(3);
        builder.label("com.docker.lb.backend_mode", kind).create()
    };
    let vips: Vec<Service> = (0..SERVICES).map(|number| create("vip", number)).collect();
    let tasks: Vec<Service> = (0..SERVICES).map(|number| create("task", number)).collect();
    stage.settle().await?;
    let others = |status: &Value| {
        ["cluster", "listener", "routes", "extension", "secret"]
            .map(|kind| status["xds"]["responses"][kind].as_u64())
    };
    let before = others(&stage.controller.status()?);
    let addresses = |service: &Service| -> BTreeSet<IpAddr> {
        let running = service.tasks().into_iter().filter(Task::is_running);
        running.map(|task| task.address()).collect()
    };
    let mut changed = 0;
    for round in 0..ROUNDS {
        let told = told_by_pool(&stage)?;
        let were: Vec<_> = tasks.iter().map(addresses).collect();
        let happened: Vec<_> = events(seed, round, SERVICES).collect();
        for ((vip, task), event) in vips.iter().zip(&tasks).zip(&happened) {
            event.happen(vip, round);
            event.happen(task, round);
        }
        stage.settle().await?;
        let now = told_by_pool(&stage)?;
        for ((service, were), event) in tasks.iter().zip(&were).zip(&happened) {
            let is_changed = addresses(service) != *were;
            let most = match event {
                // One change after the other; a read sees some of them, or all.
                Event::Image | Event::Variable => 2 * were.len().max(1),
                _ => usize::from(is_changed),
            };
            changed += u32::from(is_changed);
            let name = service.name();
            let more = now.get(name).zip(told.get(name)).map(|(now, told)| now - told);
            let more = usize::try_from(more.context("its endpoints were told before")?)?;
            ensure!(
                (usize::from(is_changed)..=most).contains(&more),
                "{name}, round {round} of seed {seed}: told {more} times of {event:?}"
            );
        }
        for service in &vips {
            let name = service.name();
            ensure!(now.get(name) == told.get(name), "{name}, round {round} of seed {seed}");
        }
    }
    let after = others(&stage.controller.status()?);
    ensure!(after == before, "seed {seed}: {before:?} became {after:?}");
    ensure!(u64::from(changed) > SERVICES * ROUNDS / 2, "only {changed} changes");
    Ok(())
}
