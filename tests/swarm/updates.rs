//! Updates on a real Swarm under load: what the scenarios of the simulated engine claim.

use std::time::Duration;

use anyhow::{Result, ensure};
use waggle_tests::steady::{Failure, Method, Report, Steady};

use crate::load::{self, nothing_failed};
use crate::modes::routed;
use crate::world::{World, on_stack, wait_for};

/// The service that all of it happens to.
const NAME: &str = "app";

/// How long Swarm may take for a whole update.
const UPDATE: Duration = Duration::from_mins(1);

/// Takes steps with a service of so many tasks under load, and tells what came of it.
fn under_load(
    world: &World,
    replicas: usize,
    options: &str,
    steps: impl FnOnce(&Steady) -> Result<()>,
) -> Result<Report> {
    world.create(NAME, replicas, &format!("{} {options}", routed("app.local")))?;
    let ((), report) = load::under_load(world, "app.local", NAME, steps)?;
    Ok(report)
}

/// Waits until an update is through and nothing is left of the tasks that it replaced.
fn wait_updated(world: &World, replicas: usize) -> Result<()> {
    wait_for(UPDATE, "the end of the update", || {
        let state = world
            .docker(&format!("service inspect --format {{{{.UpdateStatus.State}}}} {NAME}"))?;
        ensure!(state == "completed", "{state}");
        Ok(Some(()))
    })?;
    wait_containers(world, replicas)
}

/// Waits until a service has so many containers and no more: all others are gone.
fn wait_containers(world: &World, count: usize) -> Result<()> {
    wait_for(UPDATE, "the end of the old tasks", || {
        let filter = format!("label=com.docker.swarm.service.name={NAME}");
        let containers = world.docker(&format!("ps --quiet --filter {filter}"))?;
        Ok((containers.lines().count() == count).then_some(()))
    })
}

#[test]
fn a_start_first_update_loses_nothing() -> Result<()> {
    on_stack(|world| {
        let report = under_load(world, 2, "--update-order start-first", |_| {
            world.docker(&format!("service update --detach --force {NAME}"))?;
            wait_updated(world, 2)
        })?;
        nothing_failed(&report)
    })
}

#[test]
fn a_stop_first_update_loses_nothing() -> Result<()> {
    on_stack(|world| {
        let report = under_load(world, 3, "--update-order stop-first", |_| {
            world.docker(&format!("service update --detach --force {NAME}"))?;
            wait_updated(world, 3)
        })?;
        nothing_failed(&report)
    })
}

#[test]
fn eight_of_ten_tasks_leave_at_once_and_nothing_is_lost() -> Result<()> {
    on_stack(|world| {
        let report = under_load(world, 10, "", |_| {
            world.docker(&format!("service scale --detach {NAME}=2"))?;
            wait_containers(world, 2)
        })?;
        nothing_failed(&report)
    })
}

#[test]
fn a_task_that_is_killed_takes_only_the_posts_that_it_was_serving() -> Result<()> {
    on_stack(|world| {
        let mut killed = (Duration::ZERO, Duration::ZERO);
        let report = under_load(world, 3, "", |load| {
            let container = world.container(NAME)?;
            let before = load.elapsed();
            world.docker(&format!("kill --signal KILL {container}"))?;
            killed = (before, load.elapsed());
            wait_containers(world, 2)?;
            wait_containers(world, 3)
        })?;
        let under_way = |failure: &Failure| {
            let ended = failure.at + failure.took;
            failure.kind.method == Method::Post && failure.at <= killed.1 && ended >= killed.0
        };
        ensure!(report.failures.iter().all(under_way), "killed within {killed:?}: {report}");
        Ok(())
    })
}
