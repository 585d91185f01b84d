//! Clients with cookie jars, that ask without end and go to the other Envoy when one closes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use waggle_tests::balancer::{CHECKS, Health, Proxy};
use waggle_tests::client::{Answer, Client, Jar};

use super::HOST;
use super::judge::{Event, Outcome};
use crate::world::wait;

/// Between an answer and a client's next request: two cores carry some 200 clients that way.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an Envoy may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What all clients share.
struct Site {
    start: Instant,
    envoys: [Client; 2],
    healthy: [watch::Receiver<Health>; 2],
    stop: AtomicBool,
    answers: AtomicU64,
}

/// Running clients.
pub(crate) struct Clients {
    site: Arc<Site>,
    running: Vec<JoinHandle<Vec<Event>>>,
}

impl Clients {
    /// None yet; the health of both Envoys is watched.
    pub(crate) fn new(runtime: &Runtime, start: Instant, envoys: [Proxy; 2]) -> Self {
        let healthy = envoys.map(|envoy| {
            let (tell, told) = watch::channel(Health::Holds);
            runtime.spawn(watch_health(envoy.health, tell));
            told
        });
        let site = Site {
            start,
            envoys: envoys.map(|envoy| Client::new(envoy.http)),
            healthy,
            stop: AtomicBool::new(false),
            answers: AtomicU64::new(0),
        };
        Self { site: Arc::new(site), running: Vec::new() }
    }

    /// Starts more; every other one prefers the second Envoy.
    pub(crate) fn start(&mut self, runtime: &Runtime, count: usize) {
        for number in 0..count {
            self.running.push(runtime.spawn(live(Arc::clone(&self.site), number % 2)));
        }
    }

    /// Waits until so many more answers have come for each client.
    pub(crate) fn go_on(&self, answers: u64) -> Result<()> {
        let done = || self.site.answers.load(Ordering::Relaxed);
        let goal = done() + answers * u64::try_from(self.running.len())?;
        wait("the clients go on", || Ok((done() >= goal).then_some(())))
    }

    /// Waits until an Envoy's health is as said.
    pub(crate) fn wait_health(&self, envoy: usize, health: Health) -> Result<()> {
        wait(&format!("the health check of Envoy {envoy}: {health:?}"), || {
            Ok(self.site.healthy.get(envoy).filter(|it| *it.borrow() == health).map(drop))
        })
    }

    /// Ends them, and gives each one's history.
    pub(crate) fn end(self, runtime: &Runtime) -> Result<Vec<Vec<Event>>> {
        self.site.stop.store(true, Ordering::Relaxed);
        let histories = self.running.into_iter().map(|client| runtime.block_on(client));
        let histories: Vec<_> = histories.collect::<Result<_, _>>()?;
        ensure!(histories.iter().all(|history| history.len() > 1), "a client has asked nothing");
        Ok(histories)
    }
}

async fn watch_health(at: SocketAddr, tell: watch::Sender<Health>) {
    let mut turns = interval(CHECKS);
    while !tell.is_closed() {
        turns.tick().await;
        tell.send_replace(Health::of(at).await);
    }
}

/// One client, until all are stopped.
async fn live(site: Arc<Site>, preferred: usize) -> Vec<Event> {
    let (mut jar, mut history) = (Jar::default(), Vec::new());
    while !site.stop.load(Ordering::Relaxed) {
        // The application sets its cookie at first; later answers leave it alone.
        let path = if jar.get("session").is_none() { "/ping" } else { "/who" };
        history.push(site.ask(&mut jar, path, preferred).await);
        site.answers.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
    history
}

impl Site {
    /// One request: by the preferred Envoy while it is healthy, and by the other one if the connection
    /// is closed without an answer.
    async fn ask(&self, jar: &mut Jar, path: &str, preferred: usize) -> Event {
        let health = |envoy: usize| self.healthy.get(envoy).map(|health| *health.borrow());
        let other = 1 - preferred;
        let goes_elsewhere =
            (health(preferred), health(other)) == (Some(Health::Fails), Some(Health::Holds));
        let first = if goes_elsewhere { other } else { preferred };
        let sent = self.start.elapsed();
        let mut closed = Vec::new();
        for envoy in [first, 1 - first] {
            let Some(client) = self.envoys.get(envoy) else { continue };
            let outcome = match timeout(ANSWER, client.get_as(jar, HOST, path)).await {
                Ok(Ok(answer)) => judged(envoy, &answer),
                Ok(Err(error)) => {
                    closed.push((envoy, chain(&error)));
                    continue;
                }
                Err(_) => Outcome::Failed(format!("no answer of Envoy {envoy} within {ANSWER:?}")),
            };
            return Event { sent, came: self.start.elapsed(), closed, outcome };
        }
        let outcome = Outcome::Failed("both Envoys closed".to_owned());
        Event { sent, came: self.start.elapsed(), closed, outcome }
    }
}

fn judged(envoy: usize, answer: &Answer) -> Outcome {
    let pins = answer.set_cookies().into_iter().filter_map(|line| line.strip_prefix("session_lb="));
    let value = |line: &str| line.split(';').next().unwrap_or_default().to_owned();
    match answer.instance() {
        Ok(instance) if answer.status == 200 => {
            Outcome::Answered { envoy, instance, pins: pins.map(value).collect() }
        }
        _ => Outcome::Failed(format!("Envoy {envoy}: {answer:?}")),
    }
}

/// An error with its causes, without where it was made.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
