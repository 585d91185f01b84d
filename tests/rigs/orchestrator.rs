//! Swarm's orchestrator: it replaces tasks of the simulated engine in the order and at the times of a
//! real one (swarmkit's `updater.go`, `restart.go`).

use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::agents::{Agents, Application};
use crate::engine::{Engine, Service, State, Task};

/// How long a crashed task's successor waits (`--restart-delay`).
const RESTART_DELAY: Duration = Duration::from_secs(5);

/// Which of the two tasks of a slot is there first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The old one ends, then the new one begins.
    StopFirst,
    /// The new one runs, then the old one is told to stop.
    StartFirst,
}

/// How many slots are replaced at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parallelism {
    /// One after the other.
    One,
    /// All together.
    All,
}

/// One service and who runs it.
#[derive(Clone)]
pub struct Orchestrator {
    engine: Engine,
    agents: Agents,
    /// What is orchestrated.
    pub service: Service,
    /// What its tasks run.
    pub application: Application,
}

impl Orchestrator {
    /// Runs the tasks that a service has.
    pub async fn start(
        engine: Engine,
        agents: Agents,
        service: Service,
        application: Application,
    ) -> anyhow::Result<Self> {
        let this = Self { engine, agents, service, application };
        this.start_waiting().await?;
        Ok(this)
    }

    /// Starts every task that shall run and does not.
    async fn start_waiting(&self) -> anyhow::Result<()> {
        let tasks = self.service.tasks();
        let waiting = tasks.iter().filter(|task| !task.is_running());
        try_join_all(waiting.map(|task| self.run(task))).await?;
        Ok(())
    }

    async fn run(&self, task: &Task) -> anyhow::Result<()> {
        self.agents.start(task, self.service.name(), &self.application).await
    }

    async fn end(&self, task: &Task) -> anyhow::Result<()> {
        self.agents.end(task, &self.application).await
    }

    /// `docker service update`, until all old tasks are gone.
    pub async fn update(&self, order: Order, parallelism: Parallelism) -> anyhow::Result<()> {
        let old = self.service.tasks();
        self.service.begin_update("demo:next");
        let at_a_time = match parallelism {
            Parallelism::One => 1,
            Parallelism::All => old.len().max(1),
        };
        // A task that was told to stop holds up nobody in a start-first update.
        let mut ending = JoinSet::new();
        for slots in old.chunks(at_a_time) {
            match order {
                Order::StopFirst => {
                    try_join_all(slots.iter().map(|old| self.stop_then_start(old))).await?;
                }
                Order::StartFirst => {
                    let new = |old: &Task| (old.clone(), old.successor(State::Running));
                    let pairs: Vec<_> = slots.iter().map(new).collect();
                    try_join_all(pairs.iter().map(async |(old, new)| {
                        self.run(new).await?;
                        old.stop();
                        Ok::<_, anyhow::Error>(())
                    }))
                    .await?;
                    for (old, _) in pairs {
                        let this = self.clone();
                        ending.spawn(async move { this.end(&old).await });
                    }
                }
            }
        }
        while let Some(ended) = ending.join_next().await {
            ended??;
        }
        self.service.update_ended("completed");
        Ok(())
    }

    /// The successor waits until the task is gone.
    async fn stop_then_start(&self, old: &Task) -> anyhow::Result<()> {
        old.stop();
        self.succeed_stopping(old).await
    }

    async fn succeed_stopping(&self, old: &Task) -> anyhow::Result<()> {
        let new = old.successor(State::Ready);
        self.end(old).await?;
        new.shall_be(State::Running);
        self.run(&new).await
    }

    /// `docker service scale`, until it is so.
    pub async fn scale(&self, count: u64) -> anyhow::Result<()> {
        let before = self.service.tasks();
        self.service.scale(count);
        let surplus: Vec<_> = before.into_iter().filter(|task| !task.shall_run()).collect();
        let (ended, started) = tokio::join!(
            try_join_all(surplus.iter().map(|task| self.end(task))),
            self.start_waiting()
        );
        ended?;
        started
    }

    /// `docker node update --availability drain`: stop, then start elsewhere, whatever the service's
    /// update order is; until it is so.
    pub async fn drain(&self, node: &str) -> anyhow::Result<()> {
        let left = self.engine.drain_node(node);
        let own = left.iter().filter(|task| self.is_own(task));
        try_join_all(own.map(|task| self.succeed_stopping(task))).await?;
        Ok(())
    }

    fn is_own(&self, task: &Task) -> bool {
        self.service.all_tasks().iter().any(|own| own.id == task.id)
    }

    /// The process of the first task ends without notice; its successor begins after the restart
    /// delay.
    pub async fn crash(&self) -> anyhow::Result<()> {
        let task = self.first()?;
        self.agents.crash(&task).await?;
        self.restart(&task).await
    }

    /// The first task turns unhealthy: its agent ends it, and tells when it is over.
    pub async fn fail_health_check(&self) -> anyhow::Result<()> {
        let task = self.first()?;
        self.agents.give_up(&task, &self.application).await?;
        self.restart(&task).await
    }

    async fn restart(&self, failed: &Task) -> anyhow::Result<()> {
        failed.stop();
        let new = failed.successor(State::Ready);
        sleep(RESTART_DELAY).await;
        new.shall_be(State::Running);
        self.run(&new).await
    }

    /// The managers learn that a node does not answer; others run its tasks.
    pub async fn lose(&self, node: &str) -> anyhow::Result<()> {
        self.engine.lose_node(node);
        self.start_waiting().await
    }

    /// `docker service rm`, until its tasks are gone.
    pub async fn remove(&self) -> anyhow::Result<()> {
        let tasks = self.service.tasks();
        self.service.remove();
        try_join_all(tasks.iter().map(|task| self.end(task))).await?;
        tasks.iter().for_each(Task::gone);
        Ok(())
    }

    /// The task of the lowest slot.
    pub fn first(&self) -> anyhow::Result<Task> {
        let first = self.service.tasks().into_iter().next();
        first.with_context(|| format!("{} has no task", self.service.name()))
    }
}
