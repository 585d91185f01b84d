//! The polling source: from a Docker engine to pictures, through all that may fail between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::belief::Belief;
use super::call::CallError;
use super::convert::Oddity;
use super::docker::Docker;
use super::events::{self, Heard};
use super::pace::{self, Activity};
use super::reader::Reader;
use super::{Address, Health, Observed, Picture, Secrets, TaskState, Update};

/// How the Swarm is read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The manager's engine, or a read-only socket proxy before it.
    pub docker: Address,
    /// How long one call may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Whether the names of secrets are part of the picture.
    pub secrets: Secrets,
}

/// Reads the Swarm until `shutdown`, and tells two things.
///
/// `observed` gets a picture whenever there is another one: first the kept one, if any, then what
/// is read. While Docker fails, nothing is sent, and the last picture stays. `health` is written
/// after every cycle, so several times a second: look at it, do not wait on it.
pub async fn run(
    settings: Settings,
    kept: Option<Picture>,
    observed: watch::Sender<Option<Observed>>,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) {
    health.send_modify(|health| health.source = settings.docker.to_string());
    let mut source = Source {
        settings,
        belief: Belief::kept(kept),
        observed,
        health,
        failures: 0,
        odd: BTreeSet::new(),
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
    /// What was odd in the last read, and told.
    odd: BTreeSet<Oddity>,
}

impl Source {
    /// Reads through one connection after the other. After any failure the next one negotiates
    /// again: the engine may be another by then.
    async fn follow(&mut self) -> std::convert::Infallible {
        loop {
            let error = match Docker::connect(&self.settings.docker, self.settings.timeout).await {
                Ok(docker) => self.follow_one(&docker).await,
                Err(error) => error,
            };
            self.fail(&error);
            tokio::time::sleep(pace::retry(self.failures, pace::jitter())).await;
        }
    }

    async fn follow_one(&mut self, docker: &Docker) -> CallError {
        self.health.send_modify(|health| health.api_version = Some(docker.version()));
        let heard = watch::Sender::new(Heard::default());
        let triggers = heard.subscribe();
        tokio::select! {
            never = events::follow(docker, &heard) => match never {},
            error = self.poll(docker, triggers) => error,
        }
    }

    /// Reads until a read fails.
    async fn poll(&mut self, docker: &Docker, mut heard: watch::Receiver<Heard>) -> CallError {
        let mut reader = Reader::new(docker, self.settings.secrets);
        loop {
            let before = heard.borrow_and_update().clone();
            let began = Instant::now();
            let picture = match reader.read(&before).await {
                Ok(picture) => picture,
                Err(error) => return error,
            };
            let took = began.elapsed();
            self.tell_oddities(&reader);
            self.tell_unread(reader.unread());
            self.believe(&picture);
            let since_event = heard.borrow().last.map(|last| last.elapsed());
            let pause = pace::pause(Activity::of(shown(&picture), since_event), took);
            tokio::time::sleep(pause.least).await;
            tokio::select! {
                () = tokio::time::sleep(pause.most.saturating_sub(pause.least)) => {}
                _event = heard.changed() => {}
            }
        }
    }

    fn believe(&mut self, picture: &Arc<Picture>) {
        let doubted = self.belief.doubt();
        self.belief = std::mem::take(&mut self.belief).after(picture);
        let doubt = self.belief.doubt();
        if let Some(doubt) = doubt.filter(|doubt| doubted != Some(*doubt)) {
            tracing::warn!("{doubt}; it is believed only if it stays so");
        }
        if self.failures > 0 {
            tracing::info!(source = %self.settings.docker, "Docker answers again");
        }
        self.failures = 0;
        self.health.send_modify(|health| {
            health.complete_cycles += 1;
            health.last_complete = Some(Instant::now());
            health.failing = None;
            health.doubt = doubt.map(|doubt| doubt.to_string());
        });
        self.publish();
    }

    fn fail(&mut self, error: &CallError) {
        self.failures = self.failures.saturating_add(1);
        let error = error.to_string();
        self.health.send_if_modified(|health| {
            health.failed_cycles += 1;
            if health.failing.as_ref() != Some(&error) {
                tracing::warn!(%error, "cannot read the Swarm; everything stays as it is");
                health.failing = Some(error);
            }
            true
        });
    }

    /// Sends what is held if it is not what was sent last.
    fn publish(&self) {
        self.observed.send_if_modified(|sent| {
            let held = self.belief.held();
            let new = sent.as_ref() != held;
            if new {
                *sent = held.cloned();
            }
            new
        });
    }

    /// Tells once that the secrets may not be read, and what to allow.
    fn tell_unread(&self, error: Option<&CallError>) {
        let unread = error.map(|error| {
            format!("{error}; no service's certificate can be mounted into a proxy until then")
        });
        self.health.send_if_modified(|health| {
            let new = health.unread != unread;
            match unread.as_ref().filter(|_| new) {
                Some(unread) => tracing::warn!("{unread}"),
                None if new => tracing::info!("the names of secrets can be read now"),
                None => {}
            }
            health.unread = unread;
            new
        });
    }

    /// Tells each oddity once, and again if it went away and came back.
    fn tell_oddities(&mut self, reader: &Reader<'_>) {
        if reader.oddities().eq(&self.odd) {
            return;
        }
        let odd: BTreeSet<Oddity> = reader.oddities().cloned().collect();
        for oddity in odd.difference(&self.odd) {
            tracing::warn!("Docker's answer is odd: {oddity}");
        }
        self.odd = odd;
    }
}

/// The activity that a picture shows by itself.
fn shown(picture: &Picture) -> Activity {
    let updating = picture.services.values().any(|service| service.update == Update::Rolling);
    let waiting = picture.tasks.values().any(|task| task.state != TaskState::Running);
    if updating || waiting { Activity::Moving } else { Activity::Still }
}
