//! Rolling updates lose nothing, and crashes no request that may be tried again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use waggle_tests::client::{Answer, Client};
use waggle_tests::engine::{Moment, Rollout};
use waggle_tests::load::Load;
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};

/// Between telling a task to stop and signalling it Swarm waits so long, and no longer.
const BEFORE_SIGNAL: Duration = Duration::from_secs(2);

/// Plays a rolling update as Swarm does: an application is there before its task runs, and goes when
/// it would be signalled.
async fn play(stage: &mut Stage, load: &Load, rollout: Rollout) -> Result<()> {
    for moment in rollout {
        match moment {
            Moment::Prepared(task) => {
                let address = SocketAddr::new(task.address(), APP_PORT);
                stage.backends.run(address, &task.id, "demo").await?;
            }
            Moment::Running(_) => load.go_on(20).await?,
            Moment::Stopping(task) => {
                tokio::time::sleep(BEFORE_SIGNAL).await;
                stage.backends.end(SocketAddr::new(task.address(), APP_PORT));
                load.go_on(20).await?;
            }
            Moment::Gone(_) => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_first_update_loses_nothing() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(2).start_first();
    let service = stage.deploy(builder).await?;
    let load = Load::start(&stage.client, "demo.local");
    play(&mut stage, &load, service.set_image("demo:2")).await?;
    load.go_on(100).await?;
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_first_update_of_several_tasks_loses_nothing() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(3);
    let service = stage.deploy(builder).await?;
    let load = Load::start(&stage.client, "demo.local");
    play(&mut stage, &load, service.set_image("demo:2")).await?;
    load.go_on(100).await?;
    load.end().await
}

/// All requests that the task has not answered are tried again, however many they are among few tasks.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_crashes_under_many_requests_loses_none() -> Result<()> {
    const REQUESTS: u32 = 200;
    let mut stage = Stage::start().await?;
    let service = stage.deploy(stage.service("demo", "demo.local").replicas(2)).await?;
    let client = stage.client.clone();
    let requests = tokio::spawn(join_all(
        (0..REQUESTS).map(move |_| ask_slowly(client.clone())).collect::<Vec<_>>(),
    ));
    eventually("all requests are with the tasks", async || {
        let open = stage.envoy.stat("cluster.demo.upstream_rq_active")?;
        Ok((open >= REQUESTS.into()).then_some(()))
    })
    .await?;
    let crashing = service.tasks().into_iter().next().context("a task")?;
    stage.backends.end(SocketAddr::new(crashing.address(), APP_PORT));
    for answer in requests.await? {
        let answer = answer?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    let again = stage.envoy.stat("cluster.demo.upstream_rq_retry_success")?;
    ensure!(again > 0, "no request was tried again");
    Ok(())
}

async fn ask_slowly(client: Client) -> Result<Answer> {
    client.get("demo.local", "/sleep/2000").await
}
