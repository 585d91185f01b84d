//! The network on which Envoy reaches a service: the label's, else one that Envoy is on; and where
//! Envoy is missing, the command that attaches it.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use waggle_tests::private_swarm::Task;

use crate::modes::routed;
use crate::world::{APP_PORT, APPS, ENVOY, World, metadata, on_stack, upstream, wait};

/// Where a service's only task listens on a network.
fn on(tasks: &[Task], network: &str) -> Result<String> {
    let [task] = tasks else { anyhow::bail!("not one task: {tasks:?}") };
    let address = task.addresses.get(network);
    let address = address.with_context(|| format!("{task:?} is not on {network}"))?;
    Ok(SocketAddr::new(*address, APP_PORT).to_string())
}

/// Waits until a host's answers are from this endpoint.
fn wait_from(world: &World, host: &str, endpoint: &str) -> Result<()> {
    wait(&format!("{host} is answered by {endpoint}"), || {
        let answer = world.get(host, "/ping")?;
        ensure!(answer.status == 200 && upstream(&answer) == endpoint, "{answer:?}");
        Ok(Some(()))
    })
}

#[test]
fn a_network_that_the_proxy_is_not_on_is_told_and_the_told_command_mends_it() -> Result<()> {
    on_stack(|world| {
        world.deploy("network")?;
        let tasks = world.swarm.wait_running("network_app", 1)?;
        let problems = world.wait_problems("network_app", &["network-without-proxy"])?;
        let command = "docker service update --network-add network_front waggle_envoy";
        ensure!(problems[0]["fix"] == command, "{problems:#?}");
        ensure!(problems[0]["severity"] == "error", "{problems:#?}");
        let answer = world.get("network.local", "/ping")?;
        ensure!(answer.status == 503, "{answer:?}");
        world.wait_answer("demo.local", 200)?;

        let replaced = world.container(ENVOY)?;
        world.shell(command)?;
        ensure!(world.container(ENVOY)? != replaced, "the proxy's task is still {replaced}");
        wait_from(world, "network.local", &on(&tasks, "network_front")?)?;
        ensure!(metadata(&world.get("network.local", "/ping")?) == "network", "another answers");
        world.wait_problems("network_app", &[])?;
        world.wait_answer("demo.local", 200)?;
        ensure!(world.swarm.tasks("network_app")? == tasks, "the service's own task is another");
        Ok(())
    })
}

#[test]
fn the_label_chooses_the_network_and_without_it_one_of_the_proxys_is_used() -> Result<()> {
    on_stack(|world| {
        for network in ["aaa", "bbb"] {
            world.docker(&format!("network create --driver overlay {network}"))?;
        }
        world.docker(&format!("service update --detach=false --network-add bbb {ENVOY}"))?;
        let networks = "--network aaa --network bbb";
        let tasks = world.create("app", 1, &format!("{networks} {}", routed("app.local")))?;
        // The first by name is one that the proxy is not on.
        let problems = world.wait_problems("app", &["ambiguous-network"])?;
        ensure!(problems[0]["severity"] == "warning", "{problems:#?}");
        let message = problems[0]["message"].as_str().unwrap_or_default();
        ensure!(message.contains("(`aaa`, `bbb`, `waggle-apps`)"), "{problems:#?}");
        wait_from(world, "app.local", &on(&tasks, "bbb")?)?;

        let id = world.docker("network inspect --format {{.ID}} bbb")?;
        for (label, network) in [(APPS, APPS), (&id, "bbb"), (APPS, APPS), ("bbb", "bbb")] {
            let label = format!("--label-add com.docker.lb.network={label}");
            world.docker(&format!("service update --detach {label} app"))?;
            wait_from(world, "app.local", &on(&tasks, network)?)?;
            world.wait_problems("app", &[])?;
        }
        world.docker("service update --detach --label-add com.docker.lb.network=aaa app")?;
        let problems = world.wait_problems("app", &["network-without-proxy"])?;
        let command = "docker service update --network-add aaa waggle_envoy";
        ensure!(problems[0]["fix"] == command, "{problems:#?}");
        ensure!(world.swarm.tasks("app")? == tasks, "the service's own task is another");
        Ok(())
    })
}
