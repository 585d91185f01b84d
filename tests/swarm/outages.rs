//! Envoy goes on while the controller or Docker is away.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use waggle_tests::controller::responses;
use waggle_tests::load::Load;
use waggle_tests::relay::Relay;

use crate::world::{World, on_stack, wait, wait_for};

/// Takes steps under load, of which no request may fail. A step calls what it is given to have so
/// many more requests answered.
fn under_load(
    world: &World,
    steps: impl FnOnce(&dyn Fn(u64) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let load = world.runtime.block_on(async { Load::start(&world.client, "demo.local") });
    let go_on = |requests| world.runtime.block_on(load.go_on(requests));
    let outcome = go_on(100).and_then(|()| steps(&go_on));
    outcome.and(world.runtime.block_on(load.end()))
}

/// What moves when Envoy drains a listener, or begins anew with a cluster or its endpoints.
fn disturbances(world: &World) -> Result<BTreeMap<&'static str, u64>> {
    let watched = [
        "listener_manager.listener_added",
        "listener_manager.listener_modified",
        "listener_manager.listener_removed",
        "listener_manager.listener_in_place_updated",
        "listener_manager.total_listeners_draining",
        "cluster_manager.cluster_added",
        "cluster_manager.cluster_modified",
        "cluster_manager.cluster_removed",
        "cluster_manager.warming_clusters",
        MEMBERSHIP,
    ];
    let stats = world.stats()?;
    let value = |name| stats.get(name).copied().with_context(|| format!("no {name}"));
    watched.into_iter().map(|name| Ok((name, value(name)?))).collect()
}

/// Counts the changes of the endpoints of `demo.local`.
const MEMBERSHIP: &str = "cluster.waggle_demo.membership_change";

#[test]
fn a_controller_that_is_killed_and_comes_back_is_not_noticed() -> Result<()> {
    on_stack(|world| {
        let before = disturbances(world)?;
        under_load(world, |go_on| {
            let killed = world.container("waggle_controller")?;
            world.docker(&format!("kill --signal KILL {killed}"))?;
            wait("Envoy notices", || {
                let connected = world.stats()?.get("control_plane.connected_state") != Some(&0);
                Ok((!connected).then_some(()))
            })?;
            go_on(300)?;
            // Swarm starts it again after five seconds, at another address.
            wait("Envoy is with another controller", || {
                let other = world.container("waggle_controller")? != killed;
                Ok((other && world.status()?["envoys"][0].is_object()).then_some(()))
            })?;
            world.wait_read()?;
            go_on(300)
        })?;
        let after = disturbances(world)?;
        ensure!(after == before, "{before:#?}\nand then {after:#?}");
        // It is really back: a change arrives.
        world.docker("service scale --detach waggle_demo=3")?;
        world.settle("waggle_demo", 3)?;
        let after = disturbances(world)?;
        ensure!(after[MEMBERSHIP] > before[MEMBERSHIP], "{before:#?}\nand then {after:#?}");
        Ok(())
    })
}

#[test]
fn thirty_seconds_without_docker_change_nothing() -> Result<()> {
    on_stack(|world| {
        // Between the controller and the engine: an engine that stops itself, and goes on later,
        // starts all tasks anew.
        let api = Path::new("/run/api/docker.sock");
        let relay = relay_at(world, api)?;
        world.docker(
            "service update --detach --mount-add type=bind,source=/run/api,target=/run/api \
             --env-add WAGGLE_DOCKER=unix:///run/api/docker.sock waggle_controller",
        )?;
        wait("the controller reads by the relay, and Envoy is back", || {
            let status = world.status()?;
            let reads = status["swarm"]["source"] == "unix:///run/api/docker.sock";
            Ok((reads && status["envoys"][0].is_object()).then_some(()))
        })?;
        world.wait_read()?;
        let told = || Ok::<_, anyhow::Error>(responses(&world.status()?));
        let (sent, before) = (told()?, disturbances(world)?);
        under_load(world, |go_on| {
            drop(relay);
            let away = wait_for(Duration::from_mins(1), "an outage of 30 seconds", || {
                let status = world.status()?;
                let age = status["swarm"]["last_read_seconds_ago"].as_f64();
                Ok((age > Some(30.0)).then_some(status))
            })?;
            ensure!(away["swarm"]["failing"].is_string(), "{away:#}");
            ensure!(responses(&away) == sent, "{sent} before: {away:#}");
            go_on(300)?;
            let _relay = relay_at(world, api)?;
            world.wait_read()?;
            go_on(300)
        })?;
        let after = disturbances(world)?;
        ensure!(after == before, "{before:#?}\nand then {after:#?}");
        ensure!(told()? == sent, "something was told when Docker came back");
        Ok(())
    })
}

/// The engine's API at another socket, as long as this lives.
fn relay_at(world: &World, path: &Path) -> Result<Relay> {
    let _guard = world.runtime.enter();
    Relay::start(path, world.swarm.socket())
}
