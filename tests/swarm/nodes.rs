//! Nodes that leave, are cut off or die, under load. The proxy and its controller are on a node that
//! stays; the applications are on three.
//!
//! Every phase holds the product to three things: no request fails but those of which nobody can know
//! whether they had their effect; no more of them are slow than the connections that nobody answers;
//! and Envoy's endpoints are right a second after Swarm knows better.

use std::time::Duration;

use anyhow::{Result, ensure};
use waggle_tests::private_swarm::{Managers, Other};

use crate::load::{nothing_failed, under_load};
use crate::modes::routed;
use crate::world::{World, on_nodes, wait_for};

use cost::Loss;
use sight::{Lag, Sight};

mod cost;
mod leader;
mod sight;

/// The service that all of it happens to.
const APP: &str = "app";
const HOST: &str = "app.local";

/// Two on each node.
const TASKS: usize = 6;

/// How long Swarm may take to find a node lost: three heartbeats of 5 s, and as much again where
/// another leader has to find it.
const NOTICE: Duration = Duration::from_mins(1);

/// How long Envoy gives a connection on which nothing that it sent is acknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

#[test]
fn workers_that_are_drained_cut_off_or_killed_cost_only_what_they_were_doing() -> Result<()> {
    on_nodes(Managers::First, |world| {
        world.create(APP, TASKS, &routed(HOST))?;
        drain(world, Other::Second)?;
        spread(world)?;
        cut_off_and_heal(world, Other::Second)?;
        spread(world)?;
        kill(world, Other::Third)
    })
}

/// A drained node costs nothing: other tasks are there.
fn drain(world: &World, other: Other) -> Result<()> {
    let mut sight = Sight::of(world, other)?;
    let node = sight.node().to_owned();
    let (lags, report) = under_load(world, HOST, APP, |_| {
        world.docker(&format!("node update --availability drain {node}"))?;
        Ok([sight.until_gone()?, sight.until_whole(TASKS)?])
    })?;
    world.docker(&format!("node update --availability active {node}"))?;
    nothing_failed(&report)?;
    in_time("drained", &lags)
}

/// What was sent to a node that is cut off and not acknowledged may be lost; what is asked after that is
/// not. When the node is back, nothing is lost either, although its tasks have gone on.
fn cut_off_and_heal(world: &World, other: Other) -> Result<()> {
    let mut sight = Sight::of(world, other)?;
    let ((loss, lags), report) = under_load(world, HOST, APP, |load| {
        let from = load.elapsed();
        world.swarm.cut_off(other)?;
        let (to, dead) = (load.elapsed(), sight.open_connections()?);
        let gone = sight.until_gone()?;
        let loss = Loss { from, to, known: load.elapsed(), tasks: sight.tasks(), dead };
        let lags = [gone, sight.until_whole(TASKS)?];
        let over = loss.to + UNACKNOWLEDGED + Duration::from_secs(2);
        wait_for(NOTICE, "the dead connections are given up", || {
            Ok((load.elapsed() > over).then_some(()))
        })?;
        world.swarm.heal(other)?;
        sight.until_ready()?;
        ensure!(sight.is_right(TASKS)?, "the node's return has changed the endpoints");
        Ok((loss, lags))
    })?;
    loss.judge(&report)?;
    in_time("cut off", &lags)
}

/// A node that dies takes with it what its tasks were serving, of which only `POST`s cannot be asked
/// again.
fn kill(world: &World, other: Other) -> Result<()> {
    let mut sight = Sight::of(world, other)?;
    let ((loss, lags), report) = under_load(world, HOST, APP, |load| {
        let from = load.elapsed();
        world.swarm.kill(other)?;
        let to = load.elapsed();
        let gone = sight.until_gone()?;
        let loss = Loss { from, to, known: load.elapsed(), tasks: sight.tasks(), dead: 0 };
        Ok((loss, [gone, sight.until_whole(TASKS)?]))
    })?;
    loss.judge(&report)?;
    in_time("killed", &lags)
}

/// Brings the tasks back to all nodes: Swarm moves none by itself.
fn spread(world: &World) -> Result<()> {
    for tasks in [2, TASKS] {
        world.docker(&format!("service scale --detach {APP}={tasks}"))?;
        world.settle(APP, tasks)?;
    }
    Ok(())
}

/// Holds Envoy to be right within a second of Swarm.
fn in_time(what: &str, lags: &[Lag]) -> Result<()> {
    for lag in lags {
        println!("{what}: {lag}");
        ensure!(lag.time() <= Duration::from_secs(1), "{what}: {lag}");
    }
    Ok(())
}
