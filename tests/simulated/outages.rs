//! Envoy goes on while the controller or Docker is away.

use anyhow::{Result, ensure};
use waggle_tests::controller::responses;
use waggle_tests::load::Load;
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};

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
        "cluster_manager.cluster_added",
        "cluster_manager.cluster_modified",
        "cluster_manager.cluster_removed",
        "cluster_manager.warming_clusters",
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
