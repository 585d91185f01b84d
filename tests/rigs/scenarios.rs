//! Twenty things that happen to services, each under a constant load: what it does to requests.
//!
//! The table of them is in `table.rs`: who runs, what happens, and what it may cost. The simulated
//! engine and its agents play each in Swarm's own time; controller, Envoy, filter and applications are
//! real.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::agents::Application;
use crate::orchestrator::{Order, Parallelism};
use crate::steady::Report;

mod bench;
mod beside;
mod scene;
mod table;
mod verdict;

pub use bench::{Table, run};
pub use table::ALL;
pub use verdict::Allowed;

use scene::Scene;

/// How long the load runs before anything happens, and after everything has.
const MARGIN: Duration = Duration::from_millis(500);

/// One of them.
#[derive(Debug)]
pub struct Scenario {
    /// Its letter.
    pub letter: char,
    /// What happens.
    pub name: &'static str,
    /// How many tasks the service has.
    pub replicas: u64,
    /// What they run.
    pub application: Application,
    /// What happens, one after the other.
    pub steps: &'static [Step],
    /// What it may cost.
    pub allowed: Allowed,
    /// Whether it can happen again while time is left.
    pub again: Again,
}

/// Whether the steps leave things so that they can be taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// As often as they fit.
    WhileTimeIsLeft,
    /// No.
    Never,
}

/// What can happen. Each is over when Swarm is through with it.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// `docker service update --image`.
    Update(Order, Parallelism),
    /// `docker service scale`.
    Scale(u64),
    /// `docker node update --availability drain`.
    Drain(&'static str),
    /// `docker node update --availability active`.
    Activate(&'static str),
    /// A task's process ends without notice.
    Crash,
    /// A running task turns unhealthy.
    FailHealthCheck,
    /// The second node is cut off; Swarm learns it so long after.
    LoseNode(Duration),
    /// Docker's API does not answer any more.
    DockerGoes,
    /// It does again.
    DockerComes,
    /// The controller is killed.
    KillController,
    /// It starts again, where it was.
    StartController,
    /// Nothing, for so long.
    Wait(Duration),
    /// Two things at the same time.
    Both(&'static [Step], &'static [Step]),
    /// Requests that come when idle connections are about to be closed by the application.
    AskOnIdleConnections,
    /// A service is removed while it serves long requests.
    RemoveWithLongRequests,
    /// A service that holds open `WebSocket`s is updated.
    UpdateWithWebSockets,
    /// An address goes from one service's task to another's.
    HandOverAddress,
    /// 200 services are updated together.
    Storm,
}

/// What came of one.
#[derive(Debug)]
pub struct Outcome {
    /// Its letter.
    pub letter: char,
    /// What happened.
    pub name: &'static str,
    /// What the load tells.
    pub report: Report,
    /// Failures that are not allowed, or what else was wrong.
    pub verdict: Result<(), String>,
    /// What may be, in words.
    pub allowed: Allowed,
    /// How often it happened.
    pub times: u32,
    /// Which share of a core each of our programs took, in percent.
    pub cpu: Vec<(&'static str, f64)>,
    /// Some of the lines in which Envoy logged anything but 200.
    pub refusals: Vec<String>,
}

impl Scenario {
    /// Plays it under load for at least so long.
    pub async fn play(&self, duration: Duration) -> anyhow::Result<Outcome> {
        let scene = Scene::set(self).await.context("the scene could not be set")?;
        let clock = Instant::now();
        let used = scene.processor_time()?;
        scene.wait(MARGIN).await;
        let mut times = 0;
        let steps = loop {
            let began = clock.elapsed();
            let taken = scene.take(self.steps).await;
            times += 1;
            let length = clock.elapsed().saturating_sub(began);
            let fits = clock.elapsed() + length + MARGIN <= duration;
            if taken.is_err() || self.again == Again::Never || !fits {
                break taken;
            }
        };
        scene.wait(MARGIN.max(duration.saturating_sub(clock.elapsed()))).await;
        let cpu = scene.processor_share(&used, clock.elapsed())?;
        let refusals = scene.refusals();
        let (report, moments) = scene.end()?;
        let verdict = match steps {
            Ok(()) => self.allowed.judge(&report, &moments),
            Err(error) => Err(format!("{error:#}")),
        };
        let (letter, name, allowed) = (self.letter, self.name, self.allowed);
        Ok(Outcome { letter, name, report, verdict, allowed, times, cpu, refusals })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { letter, name, report, times, .. } = self;
        write!(out, "{letter}) {name} (×{times}): {report}\n  CPU:")?;
        for (program, share) in &self.cpu {
            write!(out, " {program} {share:.0} %")?;
        }
        match &self.verdict {
            Ok(()) => Ok(()),
            Err(wrong) => {
                write!(out, "\n  NOT ALLOWED: {wrong}")?;
                self.refusals.iter().try_for_each(|line| write!(out, "\n  {line}"))
            }
        }
    }
}

/// The scenario of a letter.
pub fn of(letter: char) -> anyhow::Result<&'static Scenario> {
    ALL.iter().find(|it| it.letter == letter).with_context(|| format!("no scenario {letter}"))
}
