//! A service is created: how long until the proxy serves it?

use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waggle_tests::client::Client;

use super::world::World;

/// The service; its caller removes it.
pub(super) const NAME: &str = "newcomer";

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// How long it may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Until the first 200.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer {
    /// Since `docker service create` was started.
    pub(super) since_create: Duration,
    /// Since the time that Swarm gives for the task's state `RUNNING`.
    pub(super) since_running: Duration,
}

impl fmt::Display for Newcomer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since_create, since_running } = self;
        write!(out, "first 200 {since_create:.2?} after create, {since_running:.2?} after RUNNING")
    }
}

/// Creates it with one task, and asks for it until it answers.
pub(super) fn measure(world: &World, proxy: SocketAddr) -> Result<Newcomer> {
    let client = Client::new(proxy);
    let created = Instant::now();
    world.create(NAME, 1, &[])?;
    while !world.is_served(&client, NAME) {
        ensure!(created.elapsed() < PATIENCE, "it was not served within {PATIENCE:?}");
        thread::sleep(PAUSE);
    }
    let (since_create, served) = (created.elapsed(), SystemTime::now());
    let running = running_since(world)?;
    // Where it is served before Swarm has written down that it runs, it waited for nothing.
    Ok(Newcomer { since_create, since_running: served.duration_since(running).unwrap_or_default() })
}

/// Since when its task runs, by Swarm's account.
fn running_since(world: &World) -> Result<SystemTime> {
    let tasks: Value = world.swarm.get("/tasks", &json!({ "service": [NAME] }))?;
    let status = &tasks[0]["Status"];
    ensure!(status["State"] == "running", "{tasks:#}");
    let written = status["Timestamp"].as_str().context("a status has a time")?;
    Ok(humantime::parse_rfc3339(written)?)
}
