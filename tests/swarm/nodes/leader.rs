//! The leader of three managers is lost; the controller is on another one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use waggle_controller::swarm::Via;
use waggle_tests::private_swarm::{Managers, Other};
use waggle_tests::source::Source;

use super::cost::Loss;
use super::sight::Sight;
use super::{APP, HOST, NOTICE, TASKS, in_time};
use crate::load::under_load;
use crate::modes::routed;
use crate::world::{World, on_nodes, wait_for};

#[test]
fn a_leader_that_is_killed_costs_what_its_tasks_were_doing_and_the_next_one_is_followed()
-> Result<()> {
    on_nodes(Managers::All, |world| {
        world.create(APP, TASKS, &routed(HOST))?;
        let mut sight = Sight::of(world, Other::Third)?;
        let watch = Watch::start(world, sight.node())?;
        let (loss, report) = under_load(world, HOST, APP, |load| {
            let from = load.elapsed();
            world.swarm.kill(Other::Third)?;
            let to = load.elapsed();
            until_led(world, sight.node())?;
            println!("another leader after {:.2?}", load.elapsed().saturating_sub(from));
            // The next one is followed from its first moment, however long there was none.
            world.docker(&format!("service scale --detach {APP}={}", TASKS - 1))?;
            let first = sight.until_whole(TASKS - 1)?;
            let gone = sight.until_gone()?;
            let loss = Loss { from, to, known: load.elapsed(), tasks: sight.tasks(), dead: 0 };
            watch.judge(world, gone.known())?;
            let lags = [first, gone, sight.until_whole(TASKS - 1)?];
            in_time("leader killed, polled", &lags)?;
            for tasks in [TASKS + 2, TASKS - 2] {
                world.docker(&format!("service scale --detach {APP}={tasks}"))?;
                in_time("the next leader", &[sight.until_whole(tasks)?])?;
            }
            Ok(loss)
        })?;
        loss.judge(&report)
    })
}

/// Waits until the Swarm has a leader that is not this node.
fn until_led(world: &World, lost: &str) -> Result<()> {
    wait_for(NOTICE, "another leader", || {
        let nodes: Vec<Value> = world.swarm.get("/nodes", &json!({}))?;
        let leads = |it: &Value| it["ID"] != lost && it["ManagerStatus"]["Leader"] == true;
        Ok(nodes.iter().any(leads).then_some(()))
    })
}

/// A second source beside the controller, which a manager that stays tells every change.
struct Watch {
    source: Source,
    gone: JoinHandle<Result<Instant>>,
}

impl Watch {
    /// Waits until the watch is in force, and then for the end of all tasks of a node.
    fn start(world: &World, node: &str) -> Result<Self> {
        let _guard = world.runtime.enter();
        let url = format!("unix://{}", world.swarm.socket().display());
        let mut source = Source::watching(&url, world.swarm.control_socket())?;
        world.runtime.block_on(source.until_via(Via::Pushed))?;
        let (mut observed, node) = (source.observed.clone(), node.to_owned());
        let gone = world.runtime.spawn(async move {
            let there = |task: &waggle_controller::swarm::Task| {
                task.node.as_ref().is_some_and(|it| it.as_str() == node)
            };
            let gone = observed
                .wait_for(|it| it.as_ref().is_some_and(|it| !it.picture.tasks.values().any(there)));
            let found = tokio::time::timeout(2 * NOTICE, gone).await;
            found.context("the watch never told that the tasks are gone")??;
            Ok(Instant::now())
        });
        Ok(Self { source, gone })
    }

    /// Holds it to have told within a second of this moment.
    fn judge(self, world: &World, known: Instant) -> Result<()> {
        let told = world.runtime.block_on(self.gone)??;
        let lag = told.saturating_duration_since(known);
        let health = self.source.health.borrow().clone();
        println!("leader killed, pushed: within {lag:.2?}; {} ends", health.watch_failures);
        ensure!(lag <= Duration::from_secs(1), "{lag:?}, {health:#?}");
        ensure!(health.via == Via::Pushed, "{health:#?}");
        Ok(())
    }
}
