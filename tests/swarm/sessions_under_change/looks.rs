//! Looks at the Swarm, all the time: which tasks are in the pool.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use waggle_tests::private_swarm::Engine;

use super::judge::Stay;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A thread that looks, until it is asked what it saw.
pub(crate) struct Looks {
    stop: mpsc::Sender<()>,
    looking: JoinHandle<Result<BTreeMap<String, Stay>>>,
}

impl Looks {
    /// Starts to look at the tasks of these services.
    pub(crate) fn start(engine: Engine, start: Instant, services: &'static [&'static str]) -> Self {
        let (stop, stopped) = mpsc::channel();
        let looking = thread::spawn(move || {
            let mut pool = BTreeMap::new();
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let began = start.elapsed();
                for instance in members(&engine, services)? {
                    let stay = Stay { first: began, last: began, killed: None };
                    pool.entry(instance).or_insert(stay).last = began;
                }
            }
            Ok(pool)
        });
        Self { stop, looking }
    }

    /// Every task that was seen, by the name that it answers with.
    pub(crate) fn end(self) -> Result<BTreeMap<String, Stay>> {
        drop(self.stop);
        self.looking.join().map_err(|_| anyhow!("the one who looks panicked"))?
    }
}

/// The tasks that run and are to run, of services that there are.
fn members(engine: &Engine, services: &[&str]) -> Result<Vec<String>> {
    let present: Vec<Value> = engine.get("/services", &json!({}))?;
    let named = |service: &&Value| services.iter().any(|name| service["Spec"]["Name"] == *name);
    let present: Vec<&Value> = present.iter().filter(named).map(|service| &service["ID"]).collect();
    let tasks: Vec<Value> = engine.get("/tasks", &json!({ "desired-state": ["running"] }))?;
    let tasks = tasks.iter().filter(|task| {
        task["Status"]["State"] == "running" && present.contains(&&task["ServiceID"])
    });
    let container = |task: &Value| {
        task["Status"]["ContainerStatus"]["ContainerID"].as_str().and_then(super::instance)
    };
    Ok(tasks.filter_map(container).collect())
}
