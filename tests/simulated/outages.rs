//! Envoy goes on while the controller or Docker is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;
use waggle_tests::client::Client;
use waggle_tests::controller::responses;
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};

/// Requests without end, one after the other, as several clients.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn start(client: &Client, host: &'static str) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..4)
            .map(|_| {
                let (client, stop, done) = (client.clone(), Arc::clone(&stop), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut failed = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match client.get(host, "/ping").await {
                            Ok(answer) if answer.status == 200 => {}
                            other => failed.push(format!("{other:?}")),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    failed
                })
            })
            .collect();
        Self { stop, done, clients }
    }

    /// Waits until so many more requests are answered.
    pub(crate) async fn go_on(&self, requests: u64) -> Result<()> {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        let enough = || (self.done.load(Ordering::Relaxed) >= goal).then_some(());
        eventually("the load goes on", async || Ok(enough())).await
    }

    /// Ends it, and fails if any request failed.
    pub(crate) async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for client in self.clients {
            failed.extend(client.await?);
        }
        let all = self.done.load(Ordering::Relaxed);
        ensure!(failed.is_empty(), "{} of {all} failed: {:?}", failed.len(), failed.first());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_and_comes_back_is_not_noticed() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(2);
    let service = stage.deploy(builder).await?;
    let load = Load::start(&stage.client, "demo.local");
    load.go_on(100).await?;
    let watched = [
        "listener_manager.listener_modified",
        "listener_manager.total_listeners_draining",
        "cluster_manager.cluster_modified",
        "cluster_manager.cluster_removed",
        "cluster.demo.membership_change",
    ];
    let look = |stage: &Stage| -> Result<Vec<u64>> {
        watched.iter().map(|name| stage.envoy.stat(name)).collect()
    };
    let before = look(&stage)?;
    stage.controller.kill();
    let connected = async |stage: &Stage, wanted: u64| {
        stage
            .envoy
            .stat("control_plane.connected_state")
            .map(|state| (state == wanted).then_some(()))
    };
    eventually("Envoy notices", async || connected(&stage, 0).await).await?;
    load.go_on(300).await?;
    stage.controller.start_again()?;
    eventually("Envoy is back", async || connected(&stage, 1).await).await?;
    stage.controller.wait_read().await?;
    load.go_on(300).await?;
    ensure!(look(&stage)? == before, "{watched:?}: {before:?} → {:?}", look(&stage)?);
    // It is really back: a change arrives.
    service.scale(3);
    stage.backends.serve(&service, APP_PORT).await?;
    stage.settle().await?;
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_does_not_answer_changes_nothing() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(2);
    stage.deploy(builder).await?;
    let before = responses(&stage.controller.status()?);
    let load = Load::start(&stage.client, "demo.local");
    stage.engine.stop_listening();
    let failing = |status: &serde_json::Value| status["swarm"]["failed_reads"].as_u64() >= Some(3);
    let status = stage.controller.wait_status("three failed reads", failing).await?;
    ensure!(status["swarm"]["failing"].is_string(), "{status:#}");
    load.go_on(300).await?;
    ensure!(responses(&status) == before, "{status:#}");
    stage.engine.listen()?;
    stage.controller.wait_read().await?;
    ensure!(responses(&stage.controller.status()?) == before, "told something after it came back");
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_starts_without_docker_serves_what_it_kept() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local");
    stage.deploy(builder).await?;
    stage.controller.kill();
    stage.engine.stop_listening();
    stage.controller.start_again()?;
    let kept = |status: &serde_json::Value| status["swarm"]["picture"] == "kept";
    stage.controller.wait_status("a kept picture", kept).await?;
    // An Envoy that starts now is configured all the same; it takes the first one's place.
    let mut other = waggle_tests::envoy::Envoy::start(stage.controller.xds(), "envoy-2", 1)?;
    other.wait_ready()?;
    eventually("the kept endpoints arrive", async || {
        Ok(other.get("/clusters")?.contains("demo::127.").then_some(()))
    })
    .await?;
    let answer = stage.client.get("demo.local", "/ping").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}
