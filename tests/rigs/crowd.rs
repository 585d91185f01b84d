//! So many services on a private Swarm, for what is measured beside them.
//!
//! Each is the demo application with one task, on the network [`NETWORK`], with labels of its own:
//! what a proxy's controller reads and what a proxy holds, in the numbers of a real Swarm. Nobody has
//! to ask them anything.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::private_swarm::{Engine, Image};

/// The network of the crowd; it has room for some thousands.
pub const NETWORK: &str = "crowd";

/// Not the default of 256 addresses, of which each service and each task takes one.
const SUBNET: &str = "10.100.0.0/16";

/// How many are begun at once: enough for all cores, and not so many that the engine chokes.
const WAVE: usize = 10;

/// How long the tasks of a wave may take until they run.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at the tasks.
const PAUSE: Duration = Duration::from_millis(200);

/// Services that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// How many.
    pub services: usize,
    /// How many of them have a task that runs. The others, if any, have none: this machine carries no
    /// more.
    pub running: usize,
}

/// Creates the network and so many services, each with a host of its own as Waggle's labels name it:
/// `crowd-1.local` on port 8080.
///
/// # Errors
///
/// If the engine refuses.
pub fn raise(engine: &Engine, count: usize) -> Result<Crowd> {
    raise_labelled(engine, count, |name| {
        let host = ("com.docker.lb.hosts".to_owned(), format!("{name}.local"));
        [host, ("com.docker.lb.port".to_owned(), "8080".to_owned())].into()
    })
}

/// The same with other labels, made from each service's name.
///
/// # Errors
///
/// If the engine refuses.
pub fn raise_labelled(
    engine: &Engine,
    count: usize,
    labels: impl Fn(&str) -> BTreeMap<String, String>,
) -> Result<Crowd> {
    engine.import(&Image::demo())?;
    let create = ["network", "create", "--driver", "overlay", "--subnet", SUBNET, NETWORK];
    engine.docker(create)?;
    let mut ids = BTreeSet::new();
    let mut running = 0;
    while ids.len() < count {
        // Once a wave has found no room, no more tasks are asked for.
        let replicas = usize::from(running == ids.len());
        for number in ids.len() + 1..=count.min(ids.len() + WAVE) {
            let name = format!("crowd-{number}");
            ids.insert(create_one(engine, &name, replicas, &labels(&name))?);
        }
        if replicas > 0 {
            running = wait_running(engine, &ids)?;
        }
        eprint!("\rcrowd: {} of {count} services, {running} tasks run", ids.len());
    }
    eprintln!();
    Ok(Crowd { services: ids.len(), running })
}

/// Creates a service, and tells its ID.
fn create_one(
    engine: &Engine,
    name: &str,
    replicas: usize,
    labels: &BTreeMap<String, String>,
) -> Result<String> {
    let specification = json!({
        "Name": name,
        "Labels": labels,
        "Mode": { "Replicated": { "Replicas": replicas } },
        "TaskTemplate": {
            "ContainerSpec": { "Image": Image::demo().name(), "Env": [format!("METADATA={name}")] },
            "Networks": [{ "Target": NETWORK }],
        },
    });
    let answer: BTreeMap<String, serde_json::Value> =
        engine.post("/services/create", &specification)?;
    let id = answer.get("ID").and_then(serde_json::Value::as_str).unwrap_or_default();
    ensure!(!id.is_empty(), "no ID of {name} in {answer:?}");
    Ok(id.to_owned())
}

/// Waits until each of these services has a task that runs; how many have one when it is over.
fn wait_running(engine: &Engine, services: &BTreeSet<String>) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tasks = engine.wanted_tasks(&json!({ "desired-state": ["running"] }))?;
        let run = tasks.into_iter().filter(|task| task.state == "running");
        let run: BTreeSet<String> = run.map(|task| task.service).collect();
        let running = services.intersection(&run).count();
        if running == services.len() || Instant::now() > deadline {
            return Ok(running);
        }
        thread::sleep(PAUSE);
    }
}
