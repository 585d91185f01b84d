//! What Envoy is told, and what it is not.

use anyhow::{Result, ensure};
use serde_json::Value;
use waggle_tests::controller::responses;
use waggle_tests::stage::{APP_PORT, Stage};

/// What Envoy has been told so far: by the controller's count, and by Envoy's own.
fn told(stage: &Stage) -> Result<(u64, u64)> {
    Ok((responses(&stage.controller.status()?), stage.updates()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn in_vip_mode_envoy_hears_nothing_of_what_tasks_do() -> Result<()> {
    let mut stage = Stage::start().await?;
    for replicas in [4, 1] {
        let name = format!("vip-{replicas}");
        let builder = stage.service(&name, &format!("{name}.local")).replicas(replicas);
        let service = builder.label("com.docker.lb.backend_mode", "vip").create();
        let vip = super::modes::balance(&mut stage, &service).await?;
        stage.settle().await?;
        let before = told(&stage)?;
        let changes: [(&str, &dyn Fn()); 6] = [
            ("scaled up", &|| service.scale(replicas + 3)),
            ("scaled down", &|| service.scale(replicas)),
            ("a new image", &|| service.set_image("demo:2").finish()),
            ("an environment variable", &|| service.set_env("A=B").finish()),
            ("a label of somebody else", &|| service.set_label("note", "x")),
            ("a task that crashes", &|| {
                let _restarted = service.tasks()[0].crash();
            }),
        ];
        for (change, make) in changes {
            make();
            stage.controller.wait_read().await?;
            ensure!(told(&stage)? == before, "{change}, with {replicas} replicas");
        }
        service.scale(0);
        stage.settle().await?;
        ensure!(told(&stage)? != before, "scaled to 0 is not told");
        let answer = stage.client.get(&format!("{name}.local"), "/ping").await?;
        ensure!(answer.status == 503 && answer.header("retry-after") == "1", "{answer:?}");
        service.scale(1);
        let new = service.tasks().first().map(waggle_tests::engine::Task::address);
        stage.backends.serve(&service, APP_PORT).await?;
        stage.settle().await?;
        vip.set(new.map(|address| (address, APP_PORT).into()));
        let answer = stage.client.get(&format!("{name}.local"), "/ping").await?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_tasks_is_one_endpoint_resource_and_nothing_else() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(2);
    let service = stage.deploy(builder).await?;
    let count = |status: &Value, kind: &str| status["xds"]["responses"][kind].as_u64();
    let before = stage.controller.status()?;
    service.scale(3);
    stage.backends.serve(&service, APP_PORT).await?;
    stage.settle().await?;
    let after = stage.controller.status()?;
    for kind in ["cluster", "listener", "routes", "extension"] {
        ensure!(count(&before, kind) == count(&after, kind), "{kind}: {after:#}");
    }
    let (before, after) = (count(&before, "endpoints"), count(&after, "endpoints"));
    ensure!(before.map(|count| count + 1) == after, "endpoints: {before:?} → {after:?}");
    Ok(())
}
