//! The source: from a Docker engine, and from a manager's watch where there is one, to pictures,
//! through all that may fail between.
//!
//! Reads by Docker's API are all there is, or, while the watch is in force, the list that it starts
//! from and a net below it. Whatever is waited for, the watch is listened to meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::belief::Belief;
use super::call::CallError;
use super::docker::Docker;
use super::events::{self, Heard};
use super::listing::Oddity;
use super::pace::{self, Activity, Pause};
use super::reader::Reader;
use super::stall::unless_stalled;
use super::watch::Link;
use super::{Address, Health, Observed, Picture, Secrets, TaskState, Update, Via};

mod health;
mod push;

use push::{Push, Trust};

/// How the Swarm is read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The manager's engine, or a read-only socket proxy before it.
    pub docker: Address,
    /// How long one call may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Whether the names of secrets are part of the picture.
    pub secrets: Secrets,
    /// The control socket of a manager of the same Swarm, if its watch is to be the source.
    pub watch: Option<PathBuf>,
}

/// Reads the Swarm until `shutdown`, and tells two things.
///
/// `observed` gets a picture whenever there is another one: first the kept one, if any, then what
/// is read or told. While Docker fails, nothing is sent, and the last picture stays. `health` is
/// written after every cycle, so several times a second: look at it, do not wait on it.
pub async fn run(
    settings: Settings,
    kept: Option<Picture>,
    observed: watch::Sender<Option<Observed>>,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) {
    health.send_modify(|health| health.source = settings.docker.to_string());
    let link = Link::new(settings.watch.clone(), settings.docker.clone(), settings.timeout);
    let mut source = Source {
        settings,
        belief: Belief::kept(kept),
        observed,
        health,
        failures: 0,
        last_took: None,
        hung: false,
        odd: BTreeSet::new(),
        link,
        push: Push::Away,
        trust: Trust::Full,
        watches: 0,
        additions_due: None,
        passed_on: None,
        suspicion: None,
        wake: Arc::default(),
    };
    source.publish();
    // `None` is the shutdown; the source itself never ends.
    let _ended = shutdown.run_until_cancelled(Box::pin(source.follow())).await;
}

/// What outlives a connection.
struct Source {
    settings: Settings,
    belief: Belief,
    observed: watch::Sender<Option<Observed>>,
    health: watch::Sender<Health>,
    /// Failed cycles since the last complete one.
    failures: u32,
    /// What the last complete read took.
    last_took: Option<Duration>,
    /// The last read hung, and was given up for one that has all the time that a call may take.
    hung: bool,
    /// What was odd in the last read, and told.
    odd: BTreeSet<Oddity>,
    link: Link,
    push: Push,
    trust: Trust,
    /// How often a watch has begun.
    watches: u64,
    /// When what was told but does not hurry is to be passed on.
    additions_due: Option<Instant>,
    /// When what was told was last passed on.
    passed_on: Option<Instant>,
    /// When a watch is given up that has not told what a read showed.
    suspicion: Option<Instant>,
    /// Wakes the next read.
    wake: Arc<Notify>,
}

impl Source {
    /// Reads through one connection after the other. After any failure the next one negotiates
    /// again: the engine may be another by then.
    async fn follow(&mut self) -> std::convert::Infallible {
        loop {
            let address = self.settings.docker.clone();
            let connecting = Docker::connect(&address, self.settings.timeout);
            let error = match self.meanwhile(connecting).await {
                Ok(docker) => self.follow_one(&docker).await,
                Err(error) => error,
            };
            self.fail(&error);
            let pause = pace::retry(pace::Failed::Read, self.failures, pace::jitter());
            self.meanwhile(tokio::time::sleep(pause)).await;
        }
    }

    async fn follow_one(&mut self, docker: &Docker) -> CallError {
        self.health.send_modify(|health| health.api_version = Some(docker.version()));
        let heard = watch::Sender::new(Heard::default());
        let triggers = heard.subscribe();
        tokio::select! {
            never = events::follow(docker, &heard) => match never {},
            error = self.read_on(docker, triggers) => error,
        }
    }

    /// Reads until a read fails.
    async fn read_on(&mut self, docker: &Docker, mut heard: watch::Receiver<Heard>) -> CallError {
        let held = self.belief.held().map(|(picture, _)| Arc::clone(picture)).unwrap_or_default();
        let mut reader = Reader::new(docker, self.settings.secrets, held);
        let mut seen = (Arc::<Picture>::default(), Activity::Still);
        loop {
            let before = heard.borrow_and_update().clone();
            let mark = self.push.mark();
            if mark.is_some() {
                // An event of a network may have been lost that the watch has told.
                reader.forget_others();
            }
            let began = Instant::now();
            let hung = std::mem::take(&mut self.hung);
            let read = Box::pin(reader.read(&before));
            let last_took = self.last_took.filter(|_| !hung);
            let read = unless_stalled(read, last_took, || docker.answers());
            let picture = match self.meanwhile(read).await {
                Some(Ok(picture)) => picture,
                Some(Err(error)) => return error,
                None => {
                    self.hung = true;
                    continue;
                }
            };
            let took = began.elapsed();
            self.last_took = Some(took);
            self.tell_oddities(&reader);
            self.tell_unread(reader.unread());
            self.take_read(&reader, &picture, mark);
            let since_event = heard.borrow().last.map(|last| last.elapsed());
            if !Arc::ptr_eq(&picture, &seen.0) {
                seen = (Arc::clone(&picture), shown(&picture));
            }
            let activity = Activity::of(seen.1, since_event);
            self.rest(&mut heard, &before, pace::pause(self.activity(activity), took)).await;
        }
    }

    /// Waits until the next read is due: by time, by an event, or because of the watch.
    async fn rest(&mut self, heard: &mut watch::Receiver<Heard>, before: &Heard, pause: Pause) {
        self.meanwhile(tokio::time::sleep(pause.least)).await;
        let wake = Arc::clone(&self.wake);
        let via = self.via();
        let event = heard.wait_for(|heard| match via {
            Via::Polled => heard != before,
            // All else comes by the watch.
            Via::Pushed => heard.secrets != before.secrets,
        });
        let until = async {
            tokio::select! {
                () = tokio::time::sleep(pause.most.saturating_sub(pause.least)) => {}
                _event = event => {}
                () = wake.notified() => {}
            }
        };
        self.meanwhile(until).await;
    }

    /// Waits for something, and listens to the watch meanwhile.
    async fn meanwhile<T>(&mut self, awaited: impl Future<Output = T>) -> T {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            let due = self.additions_due.into_iter().chain(self.suspicion).min();
            tokio::select! {
                told = self.link.next() => self.hear(told),
                () = sleep_until(due) => self.act(Instant::now()),
                done = &mut awaited => return done,
            }
        }
    }

    /// Sends what is held if it is not what was sent last.
    fn publish(&self) {
        let held = self.belief.held().map(|(picture, freshness)| Observed {
            picture: Arc::clone(picture),
            freshness,
            via: self.via(),
        });
        self.observed.send_if_modified(|sent| {
            let new = *sent != held;
            *sent = held;
            new
        });
    }
}

/// The activity that a picture shows by itself.
fn shown(picture: &Picture) -> Activity {
    let updating = picture.services.values().any(|service| service.update == Update::Rolling);
    let waiting = picture.tasks.values().any(|task| task.state != TaskState::Running);
    if updating || waiting { Activity::Moving } else { Activity::Still }
}

/// Sleeps until a moment; for ever without one.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
