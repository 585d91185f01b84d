//! A stage with a service under load, to which things happen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use tokio::time::sleep;

use super::verdict::Moments;
use super::{Scenario, Step, beside};
use crate::agents::{Agents, Application, Note};
use crate::connections::established;
use crate::engine::{Builder, Engine, State};
use crate::orchestrator::Orchestrator;
use crate::sandbox::run;
use crate::stage::{APP_PORT, Stage};
use crate::steady::{Plan, Report, Site, Steady};
use crate::usage::processor_time;

/// The host and the name of the service that all of it happens to.
const HOST: &str = "demo.local";
const SERVICE: &str = "demo";

/// The node that can be lost, by its tasks' address.
const LOST: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 2);

/// Everything.
pub(super) struct Scene {
    pub(super) engine: Engine,
    pub(super) agents: Agents,
    pub(super) service: Orchestrator,
    /// Services beside the one that it is about.
    pub(super) others: Vec<Orchestrator>,
    stage: Mutex<Stage>,
    load: Steady,
    lost: Mutex<Option<(Duration, usize)>>,
}

impl Scene {
    /// Starts all, and the load.
    pub(super) async fn set(scenario: &Scenario) -> anyhow::Result<Self> {
        let mut stage = Stage::start().await?;
        let (engine, agents) = (stage.engine.clone(), Agents::new()?);
        engine.add_node("node-2");
        let mut builder = stage.service(SERVICE, HOST).replicas(scenario.replicas);
        if scenario.steps.iter().any(|step| matches!(step, Step::LoseNode(_))) {
            raise_node()?;
            let first = IpAddr::from([127, 0, 0, 21]);
            builder = builder.addresses([first, LOST.into(), IpAddr::from([127, 0, 0, 23])]);
        }
        let application = scenario.application.clone();
        let service = begin(&engine, &agents, builder, application.clone()).await?;
        let needed = beside::needed(scenario.steps);
        let others = needed.iter().map(|other| {
            let builder = stage.service(&other.name, &other.host).replicas(other.replicas);
            let application = Application { start: other.start, ..other.application.clone() };
            begin(&engine, &agents, builder, application)
        });
        let others = try_join_all(others).await?;
        let asked = needed.iter().filter(|other| other.is_asked);
        let asked = asked.map(|other| Site::new(&other.host, &other.name));
        let sites: Vec<Site> = [Site::new(HOST, SERVICE)].into_iter().chain(asked).collect();
        stage.settle().await?;
        if application.environment.iter().any(|(name, _)| *name == "LISTEN_AFTER_MS") {
            agents.wait_listening(&service.service.tasks()).await?;
        }
        agents.forget_notes();
        let load = Steady::start(Plan::new(stage.http, sites));
        let (stage, lost) = (Mutex::new(stage), Mutex::default());
        Ok(Self { engine, agents, service, others, stage, load, lost })
    }

    /// The stage; not to be held over an `await`.
    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn wait(&self, time: Duration) {
        sleep(time).await;
    }

    /// Takes steps, one after the other.
    pub(super) fn take<'a>(
        &'a self,
        steps: &'a [Step],
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>> {
        Box::pin(async move {
            for step in steps {
                self.step(step).await.with_context(|| format!("{step:?}"))?;
            }
            Ok(())
        })
    }

    async fn step(&self, step: &Step) -> anyhow::Result<()> {
        match *step {
            Step::Update(order, parallelism) => self.service.update(order, parallelism).await,
            Step::Scale(count) => self.service.scale(count).await,
            Step::Drain(node) => self.service.drain(node).await,
            Step::Activate(node) => {
                self.engine.activate_node(node);
                Ok(())
            }
            Step::Crash => self.service.crash().await,
            Step::FailHealthCheck => self.service.fail_health_check().await,
            Step::LoseNode(known_after) => self.lose_node(known_after).await,
            Step::DockerGoes => {
                self.engine.stop_listening();
                Ok(())
            }
            Step::DockerComes => self.engine.listen(),
            Step::KillController => {
                self.stage().controller.kill();
                Ok(())
            }
            Step::StartController => self.stage().controller.start_again(),
            Step::Wait(time) => {
                sleep(time).await;
                Ok(())
            }
            Step::Both(one, other) => tokio::try_join!(self.take(one), self.take(other)).map(drop),
            Step::AskOnIdleConnections => beside::ask_on_idle_connections(self).await,
            Step::RemoveWithLongRequests => beside::remove_with_long_requests(self).await,
            Step::UpdateWithWebSockets => beside::update_with_websockets(self).await,
            Step::HandOverAddress => beside::hand_over_address(self).await,
            Step::Storm => beside::storm(self).await,
        }
    }

    /// Everything that is sent to the node's address is lost from now on, and nothing comes back.
    async fn lose_node(&self, known_after: Duration) -> anyhow::Result<()> {
        let at = self.load.elapsed();
        run(Command::new("ip").args(["address", "del", &format!("{LOST}/32"), "dev", "lo"]))?;
        let connections = connections_to_lost()?;
        ensure!(connections > 0, "the proxy had no connection to the node");
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, connections));
        sleep(known_after).await;
        self.service.lose("node-2").await
    }

    /// Creates a service and runs it.
    pub(super) async fn begin(
        &self,
        name: &str,
        host: &str,
        replicas: u64,
        application: Application,
    ) -> anyhow::Result<Orchestrator> {
        let builder = self.stage().service(name, host).replicas(replicas);
        begin(&self.engine, &self.agents, builder, application).await
    }

    /// The processor time that each program has taken.
    pub(super) fn processor_time(&self) -> anyhow::Result<BTreeMap<&'static str, Duration>> {
        let stage = self.stage();
        let mut times = BTreeMap::from([("Envoy", processor_time(stage.envoy.id())?)]);
        if let Some(controller) = stage.controller.id() {
            times.insert("controller", processor_time(controller)?);
        }
        times.insert("load and rig", processor_time(std::process::id())?);
        times.insert("applications", self.agents.processor_time());
        Ok(times)
    }

    /// What each has taken since, in percent of a core. A controller that was started again counts
    /// from then.
    pub(super) fn processor_share(
        &self,
        before: &BTreeMap<&'static str, Duration>,
        over: Duration,
    ) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let now = self.processor_time()?;
        let share = |(program, now): (&'static str, Duration)| {
            let before = before.get(program).copied().unwrap_or_default();
            let used = now.checked_sub(before).unwrap_or(now);
            (program, 100.0 * used.as_secs_f64() / over.as_secs_f64())
        };
        Ok(now.into_iter().map(share).collect())
    }

    /// What Envoy logged of requests that it answered with anything but 200; not all of it.
    pub(super) fn refusals(&self) -> Vec<String> {
        let log = self.stage().envoy.log();
        let refused = |line: &&str| line.contains(".local \"") && !line.contains("\" 200 ");
        log.lines().filter(refused).take(10).map(str::to_owned).collect()
    }

    /// Ends the load, and tells what came of it and when what happened.
    pub(super) fn end(self) -> anyhow::Result<(Report, Moments)> {
        let began = self.load.began();
        let mut moments = Moments {
            lost: self.lost.into_inner().unwrap_or_else(PoisonError::into_inner),
            ..Moments::default()
        };
        for (note, at) in self.agents.notes() {
            let at = at.saturating_duration_since(began);
            match note {
                Note::ToldToStop => moments.stopped.push(at),
                Note::Running => moments.running.push(at),
                Note::Ended => moments.ended.push(at),
            }
        }
        Ok((self.load.end()?, moments))
    }
}

/// Creates a service and runs its tasks.
async fn begin(
    engine: &Engine,
    agents: &Agents,
    builder: Builder,
    application: Application,
) -> anyhow::Result<Orchestrator> {
    let service = builder.begin_as(State::Preparing).create();
    Orchestrator::start(engine.clone(), agents.clone(), service, application).await
}

/// How many connections to the node are open.
fn connections_to_lost() -> anyhow::Result<usize> {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp")?;
    Ok(established(&table, SocketAddrV4::new(LOST, APP_PORT)))
}

/// Gives this machine the address of a node that can be lost. Without it, what is sent there goes to
/// an interface that swallows all.
fn raise_node() -> anyhow::Result<()> {
    let ip = |words: &str| run(Command::new("ip").args(words.split(' ')));
    ensure!(ip("route show default")?.is_empty(), "only in a sandbox may a node be lost");
    ip("link add lost type veth peer name nowhere")?;
    ip("address add 10.202.0.1/32 dev lost")?;
    ip("link set lost up")?;
    ip("link set nowhere up")?;
    ip(&format!("route add {LOST}/32 dev lost"))?;
    // An address of nobody: what is sent there is dropped at the other end.
    ip(&format!("neighbour add {LOST} lladdr 02:00:00:00:00:01 dev lost nud permanent"))?;
    ip(&format!("address add {LOST}/32 dev lo")).map(drop)
}
