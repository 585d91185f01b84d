//! What Envoy is told in VIP mode, and what it is not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::private_swarm::Task;

use crate::modes::{routed, routed_by_vip};
use crate::world::{World, metadata, on_stack, wait};

/// What has been sent to Envoy so far: by the controller's count, and by Envoy's own.
#[derive(Debug, PartialEq)]
struct Told {
    responses: Value,
    taken: BTreeMap<String, u64>,
}

fn told(world: &World) -> Result<Told> {
    let responses = world.status()?["xds"]["responses"].clone();
    let mut taken = world.stats()?;
    // The cluster `xds` asks a name server, not the controller.
    taken.retain(|name, _| {
        let kinds = [".update_attempt", ".update_success", ".update_rejected"];
        kinds.iter().any(|kind| name.ends_with(kind)) && !name.starts_with("cluster.xds.")
    });
    for kind in ["cluster_manager.cds", "listener_manager.lds", "cluster.four"] {
        let counted = format!("{kind}.update_success");
        ensure!(taken.get(&counted) > Some(&0), "Envoy does not count {counted}: {taken:?}");
    }
    Ok(Told { responses, taken })
}

/// How a change shows that Swarm is through with it.
#[derive(Clone, Copy)]
enum Done {
    /// So many more tasks than before run.
    More(usize),
    /// Other tasks run than before.
    Replaced,
    /// No task has changed.
    Unchanged,
}

/// Two services in VIP mode, and how many tasks each has.
const SERVICES: [(&str, usize); 2] = [("four", 4), ("one", 1)];

fn tasks(world: &World) -> Result<Vec<BTreeSet<String>>> {
    let of = |(name, _): &(&str, usize)| world.swarm.tasks(name);
    let id = |task: Task| task.id;
    SERVICES.iter().map(|service| Ok(of(service)?.into_iter().map(id).collect())).collect()
}

/// Makes a change to both services, and waits until it is through and the controller has seen it.
fn make(world: &World, done: Done, change: &impl Fn(&str, usize) -> Result<()>) -> Result<()> {
    let before = tasks(world)?;
    for (name, replicas) in SERVICES {
        change(name, replicas)?;
    }
    for ((name, replicas), before) in SERVICES.into_iter().zip(before) {
        let more = if let Done::More(more) = done { more } else { 0 };
        if matches!(done, Done::Replaced) {
            wait("other tasks", || {
                let tasks = world.swarm.tasks(name)?;
                Ok((!tasks.iter().any(|task| before.contains(&task.id))).then_some(()))
            })?;
        }
        world.swarm.wait_running(name, replicas + more)?;
    }
    world.wait_read()
}

/// Fails if Envoy hears of a change, or does not reach the services after it.
fn silent(
    world: &World,
    what: &str,
    done: Done,
    change: impl Fn(&str, usize) -> Result<()>,
) -> Result<()> {
    let before = told(world)?;
    make(world, done, &change)?;
    let after = told(world)?;
    ensure!(after == before, "{what}: told {before:?}\nand then {after:?}");
    for (name, _) in SERVICES {
        let host = format!("{name}.local");
        let answer = world.wait_answer(&host, 200).context(what.to_owned())?;
        ensure!(metadata(&answer) == name, "{what}: {answer:?}");
    }
    Ok(())
}

#[test]
fn in_vip_mode_envoy_hears_nothing_of_what_tasks_do() -> Result<()> {
    on_stack(|world| {
        world.docker("tag waggle/demo waggle/demo:2")?;
        world.docker("config create settings /etc/hostname")?;
        world.docker("secret create password /etc/hostname")?;
        for (name, replicas) in SERVICES {
            let quick = "--update-parallelism 0 --restart-delay 100ms";
            let options = format!("{} {quick}", routed_by_vip(&format!("{name}.local")));
            world.create(name, replicas, &options)?;
        }
        let scale = |name: &str, replicas: usize| {
            world.docker(&format!("service scale --detach {name}={replicas}")).map(drop)
        };
        silent(world, "more tasks", Done::More(2), |name, replicas| scale(name, replicas + 2))?;
        silent(world, "fewer tasks", Done::More(0), scale)?;
        for (update, done) in [
            ("--no-resolve-image --image waggle/demo:2", Done::Replaced),
            ("--config-add settings", Done::Replaced),
            ("--secret-add password", Done::Replaced),
            ("--env-add A=B", Done::Replaced),
            ("--container-label-add a=b", Done::Replaced),
            ("--label-add org.example.note=x", Done::Unchanged),
        ] {
            silent(world, update, done, |name, _| {
                world.docker(&format!("service update --detach {update} {name}")).map(drop)
            })?;
        }
        silent(world, "killed tasks", Done::Replaced, |name, _| {
            for task in world.swarm.tasks(name)? {
                world.docker(&format!("kill {}", task.container.unwrap_or_default()))?;
            }
            Ok(())
        })
    })
}

#[test]
fn what_moves_a_virtual_ip_arrives() -> Result<()> {
    on_stack(|world| {
        let counted = || world.status().map(|status| status["xds"]["responses"].clone());
        let arrives = |change: &str, before: &Value| -> Result<Value> {
            world.wait_told()?;
            let after = counted()?;
            ensure!(after != *before, "{change}: still {after}");
            Ok(after)
        };
        let endpoint = |name: &str| {
            let status = world.status_of(name)?;
            Ok::<_, anyhow::Error>(status["endpoints"][0]["address"].as_str().map(str::to_owned))
        };
        let before = counted()?;
        let wish = "--label com.docker.lb.network=other";
        world.create("app", 1, &format!("{} {wish}", routed_by_vip("app.local")))?;
        let created = arrives("created", &before)?;
        let at_first = world.vip("app", "waggle-apps")?.to_string();
        ensure!(endpoint("app")? == Some(at_first.clone()), "not at {at_first}");
        ensure!(world.get("app.local", "/ping")?.status == 200, "it does not answer");

        world.docker("network create --driver overlay other")?;
        world.docker("service update --detach --network-add other app")?;
        let moved = wait("the other network's VIP", || {
            let vip = world.vip("app", "other")?.to_string();
            Ok((endpoint("app")? == Some(vip.clone())).then_some(vip))
        })?;
        ensure!(moved != at_first, "{moved}");
        let added = arrives("a network added", &created)?;
        world.docker("service update --detach --network-rm other app")?;
        wait("the first VIP", || {
            Ok((endpoint("app")? == Some(world.vip("app", "waggle-apps")?.to_string()))
                .then_some(()))
        })?;
        let removed = arrives("a network removed", &added)?;
        world.wait_answer("app.local", 200)?;

        world.docker("service scale --detach app=0")?;
        let answer = world.wait_answer("app.local", 503)?;
        ensure!(answer.header("retry-after") == "1", "{answer:?}");
        let emptied = arrives("no task wanted", &removed)?;
        world.docker("service scale --detach app=1")?;
        world.wait_answer("app.local", 200)?;
        let refilled = arrives("a task wanted", &emptied)?;

        world.create("stays", 1, &routed("stays.local"))?;
        world.docker("service rm app")?;
        wait("it is forgotten", || Ok(world.status_of("app").err().map(drop)))?;
        arrives("removed", &refilled)?;
        ensure!(
            world.get("app.local", "/ping")?.header("x-upstream-addr").is_empty(),
            "still there"
        );
        ensure!(world.get("stays.local", "/ping")?.status == 200, "another was touched");
        Ok(())
    })
}
