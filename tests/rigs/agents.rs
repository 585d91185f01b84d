//! Swarm's agents: they run the applications of the simulated engine's tasks, and end them as a real
//! agent does.
//!
//! ```text
//! start   preparing → starting: the process begins → (healthy) → running
//! end     desired state moves → 2.0 s → SIGTERM → the process ends, or grace → SIGKILL → shutdown
//! crash   the process ends → 0.1 s → failed
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::engine::{State, Task};
use crate::program::{Process, built, eventually};
use crate::stage::APP_PORT;
use crate::usage::processor_time;

/// Between taking a task out of its network and signalling it an agent waits so long, and no longer
/// (moby's `defaultGossipConvergeDelay`).
pub const BEFORE_SIGNAL: Duration = Duration::from_secs(2);

/// How long it takes to make a container whose image is there.
const PREPARE: Duration = Duration::from_millis(300);

/// How long it takes until a manager knows that a process ended.
const REPORT: Duration = Duration::from_millis(100);

/// What runs in a service's tasks.
#[derive(Debug, Clone)]
pub struct Application {
    /// What the demo application is told beside its address and its names.
    pub environment: &'static [(&'static str, &'static str)],
    /// When its task is `running`.
    pub start: Start,
    /// How long after SIGTERM it is killed (`--stop-grace-period`).
    pub grace: Duration,
}

/// When a task is `running`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As soon as its process is there: it has no `HEALTHCHECK`.
    Begun,
    /// When it is healthy, which here is: when it takes a connection.
    Healthy,
    /// At once, and there is no process: nobody asks this task for anything.
    Hollow,
}

impl Application {
    /// The demo application as it is, without a health check, with Swarm's own grace.
    pub const PLAIN: Self =
        Self { environment: &[], start: Start::Begun, grace: Duration::from_secs(10) };
}

/// The agents of all nodes.
#[derive(Debug, Clone)]
pub struct Agents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: TempDir,
    /// By the IDs of their tasks.
    processes: Mutex<BTreeMap<String, Process>>,
    notes: Mutex<Vec<(Note, Instant)>>,
    /// The processor time of the processes that are gone.
    used: Mutex<Duration>,
}

/// What an agent notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A task was told to stop.
    ToldToStop,
    /// A process was signalled, or is gone.
    Ended,
    /// A task runs.
    Running,
}

impl Agents {
    /// Agents without a task.
    pub fn new() -> anyhow::Result<Self> {
        let (folder, processes) = (tempfile::tempdir()?, Mutex::default());
        Ok(Self(Arc::new(Inner {
            folder,
            processes,
            notes: Mutex::default(),
            used: Mutex::default(),
        })))
    }

    /// What was noted, and when.
    pub fn notes(&self) -> Vec<(Note, Instant)> {
        locked(&self.0.notes).clone()
    }

    /// What was noted so far is of no interest.
    pub fn forget_notes(&self) {
        locked(&self.0.notes).clear();
    }

    fn note(&self, note: Note) {
        locked(&self.0.notes).push((note, Instant::now()));
    }

    /// The processor time of all applications so far.
    pub fn processor_time(&self) -> Duration {
        let used = |process: &Process| processor_time(process.id()).unwrap_or_default();
        let alive: Duration = self.processes().values().map(used).sum();
        alive + *locked(&self.0.used)
    }

    /// Kills a task's process, if it has one that is left.
    fn remove(&self, task: &Task) -> Option<Process> {
        let process = self.processes().remove(&task.id)?;
        *locked(&self.0.used) += processor_time(process.id()).unwrap_or_default();
        Some(process)
    }

    /// Waits until all these tasks take connections.
    pub async fn wait_listening(&self, tasks: &[Task]) -> anyhow::Result<()> {
        for task in tasks {
            let address = SocketAddr::new(task.address(), APP_PORT);
            eventually("the application listens", async || {
                Ok(TcpStream::connect(address).await.ok().map(drop))
            })
            .await?;
        }
        Ok(())
    }

    /// Runs a task of this service, until it is `running`.
    pub async fn start(
        &self,
        task: &Task,
        service: &str,
        application: &Application,
    ) -> anyhow::Result<()> {
        task.becomes(State::Preparing);
        sleep(PREPARE).await;
        task.becomes(State::Starting);
        if application.start != Start::Hollow {
            self.run(task, service, application)?;
        }
        if application.start == Start::Healthy {
            self.wait_listening(std::slice::from_ref(task)).await?;
        }
        task.becomes(State::Running);
        self.note(Note::Running);
        Ok(())
    }

    fn run(&self, task: &Task, service: &str, application: &Application) -> anyhow::Result<()> {
        let listen = SocketAddr::new(task.address(), APP_PORT).to_string();
        let own = [("LISTEN", listen.as_str()), ("INSTANCE", &task.id), ("METADATA", service)];
        let environment: Vec<_> = own.iter().chain(application.environment).copied().collect();
        let log = self.0.folder.path().join(&task.id);
        let process = Process::start(&built("waggle-demo")?, [""; 0], &environment, &log)?;
        self.processes().insert(task.id.clone(), process);
        Ok(())
    }

    /// Ends a task whose desired state has just moved, until its process is gone and its state tells.
    pub async fn end(&self, task: &Task, application: &Application) -> anyhow::Result<()> {
        self.note(Note::ToldToStop);
        self.signal_and_wait(task, application).await?;
        task.becomes(State::Shutdown);
        Ok(())
    }

    /// Ends a task that is unhealthy, of which nothing is told until it is over.
    pub async fn give_up(&self, task: &Task, application: &Application) -> anyhow::Result<()> {
        self.signal_and_wait(task, application).await?;
        task.becomes(State::Failed);
        Ok(())
    }

    async fn signal_and_wait(&self, task: &Task, application: &Application) -> anyhow::Result<()> {
        sleep(BEFORE_SIGNAL).await;
        if let Some(process) = self.processes().get(&task.id) {
            process.signal(Signal::SIGTERM)?;
            self.note(Note::Ended);
        }
        let deadline = Instant::now() + application.grace;
        while self.runs(task) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        drop(self.remove(task));
        self.note(Note::Ended);
        sleep(REPORT).await;
        Ok(())
    }

    /// Ends a task's process without a word to anybody, until its state tells that it failed.
    pub async fn crash(&self, task: &Task) -> anyhow::Result<()> {
        drop(self.remove(task).context("the task has no process")?);
        self.note(Note::Ended);
        sleep(REPORT).await;
        task.becomes(State::Failed);
        Ok(())
    }

    fn runs(&self, task: &Task) -> bool {
        self.processes().get_mut(&task.id).is_some_and(Process::is_running)
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        locked(&self.0.processes)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
