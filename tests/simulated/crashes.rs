//! Crashes lose no request that may be tried again.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use waggle_tests::client::{Answer, Client};
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};

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
