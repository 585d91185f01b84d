//! Rolling updates lose nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use waggle_tests::engine::{Moment, Rollout};
use waggle_tests::load::Load;
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
