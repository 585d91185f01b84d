//! The simulated Swarm: the engine is played, everything else is a real process on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use waggle_tests::backend::VirtualIp;
use waggle_tests::engine::{self, Service};
use waggle_tests::stage::Stage;

use crate::command::{Docker, NETWORK, PORT, key};
use crate::world::Task;

pub(super) const INTRODUCTION: &str = "All on this machine, without Docker and without root. The \
    Swarm is simulated: an engine that answers the Docker API plays what the docker commands ask \
    for. All else is real: the controller, Envoy with the filter, and an application for each \
    task, at a loopback address of its own.";

/// Swarm waits so long between telling a task to stop and its first signal.
const BEFORE_SIGNAL: Duration = Duration::from_secs(2);

pub(crate) struct Simulated {
    stage: Stage,
    services: BTreeMap<&'static str, (Service, VirtualIp)>,
    /// Tasks that are told to stop, and when they are signalled.
    leaving: Vec<(Instant, engine::Task)>,
}

impl Simulated {
    pub(super) async fn start() -> Result<Self> {
        let stage = Stage::start().await?;
        Ok(Self { stage, services: BTreeMap::new(), leaving: Vec::new() })
    }

    pub(super) fn proxy(&self) -> SocketAddr {
        self.stage.http
    }

    pub(super) async fn obey(&mut self, command: &Docker) -> Result<()> {
        match command {
            Docker::Create(wanted) => {
                let mut builder = self.stage.engine.service(wanted.name);
                for (label, value) in &wanted.labels {
                    builder = builder.label(&key(label), value);
                }
                let metadata = format!("METADATA={}", wanted.name);
                let builder = builder.network(NETWORK).replicas(wanted.replicas).env(&metadata);
                let service = builder.create();
                let address = service.vip(NETWORK).context("a virtual IP")?;
                let vip = VirtualIp::start(address, PORT).await?;
                self.services.insert(wanted.name, (service, vip));
                self.run_tasks(wanted.name).await
            }
            Docker::Scale(name, replicas) => {
                self.service(name)?.scale(*replicas);
                self.run_tasks(name).await
            }
            Docker::Relabel { service, add, remove } => {
                let service = self.service(service)?;
                remove.iter().for_each(|label| service.remove_label(&key(label)));
                add.iter().for_each(|(label, value)| service.set_label(&key(label), value));
                Ok(())
            }
        }
    }

    /// Does what a node's agent does: starts new tasks, and notes those that are to stop. Both
    /// change who is behind the virtual IP.
    async fn run_tasks(&mut self, name: &str) -> Result<()> {
        let (service, vip) = self.services.get(name).context("no such service")?;
        self.stage.backends.serve(service, PORT).await?;
        let tasks = service.tasks();
        vip.set(tasks.iter().map(socket));
        let known = |id: &str| {
            let leaving = self.leaving.iter().map(|(_, task)| task);
            tasks.iter().chain(leaving).any(|task| task.id == id)
        };
        let mut stopping = service.all_tasks();
        stopping.retain(|task| !known(&task.id));
        let signal = Instant::now() + BEFORE_SIGNAL;
        self.leaving.extend(stopping.into_iter().map(|task| (signal, task)));
        Ok(())
    }

    pub(super) async fn settle(&mut self) -> Result<()> {
        self.stage.settle().await
    }

    pub(super) async fn ended(&mut self, _service: &str) -> Result<()> {
        for (signal, task) in self.leaving.drain(..) {
            sleep_until(signal).await;
            self.stage.backends.end(socket(&task));
            task.gone();
        }
        Ok(())
    }

    pub(super) fn tasks(&self, name: &str) -> Result<Vec<Task>> {
        let tasks = self.service(name)?.tasks().into_iter();
        let task = |task: engine::Task| Task {
            address: socket(&task),
            instance: task.address().to_string(),
        };
        Ok(tasks.map(task).collect())
    }

    pub(super) fn vip(&self, name: &str) -> Result<SocketAddr> {
        let address = self.service(name)?.vip(NETWORK).context("a virtual IP")?;
        Ok(SocketAddr::new(address, PORT))
    }

    fn service(&self, name: &str) -> Result<&Service> {
        self.services.get(name).map(|(service, _)| service).context("no such service")
    }

    pub(super) fn status(&self) -> Result<Value> {
        self.stage.controller.status()
    }

    pub(super) fn status_address(&self) -> SocketAddr {
        self.stage.controller.status_address()
    }

    pub(super) fn envoy(&self, path: &str) -> Result<String> {
        self.stage.envoy.get(path)
    }

    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let socket = self.stage.engine.socket().display();
        vec![
            ("the proxy", format!("curl -i -H 'Host: web.local' http://{}/ping", self.proxy())),
            (
                "the controller: what is routed where, and what is wrong",
                format!("curl http://{}/status", self.status_address()),
            ),
            ("Envoy's own pages", format!("http://{}/", self.stage.envoy.admin())),
            (
                "the simulated engine",
                format!("curl --unix-socket {socket} http://docker/v1.44/services"),
            ),
        ]
    }
}

fn socket(task: &engine::Task) -> SocketAddr {
    SocketAddr::new(task.address(), PORT)
}
