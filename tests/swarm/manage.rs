//! A proxy service that the controller looks after, on a real Swarm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waggle_controller::labels::{Care, NodeCluster, ProxyService, SecretName};
use waggle_controller::proxy::{self, Inlets, Statuses};
use waggle_controller::routing::Needs;
use waggle_controller::swarm::{self, Health, NetworkId, Secrets, ServiceName};
use waggle_tests::private_swarm::{Image, PrivateSwarm};

use crate::world::{World, on_stack, wait, wait_for};

const ENVOY: &str = "waggle_envoy";

/// Everything that users own, by kind and name, with what changes when it is written: the version,
/// or the object itself where Docker shows none. (The version of a node moves by itself: Swarm notes
/// there which networks the node is on. Its specification is what users write.)
fn owned(world: &World) -> Result<BTreeMap<String, Value>> {
    let mut owned = BTreeMap::new();
    for kind in ["services", "secrets", "configs", "nodes", "networks"] {
        let objects: Vec<Value> = world.swarm.get(&format!("/{kind}"), &json!({}))?;
        for object in objects {
            let spec = if object["Spec"].is_object() { &object["Spec"] } else { &object };
            let name = spec["Name"].as_str().or(object["Description"]["Hostname"].as_str());
            let shown = match kind {
                "nodes" => object["Spec"].clone(),
                "networks" => json!([object["Id"], object["Labels"], object["Options"]]),
                _ => object["Version"]["Index"].clone(),
            };
            owned.insert(format!("{kind} {}", name.unwrap_or_default()), shown);
        }
    }
    Ok(owned)
}

/// The proxy's version, and how often the controller has updated it.
fn state(world: &World) -> Result<(String, Value)> {
    let version = world.docker(&format!("service inspect -f {{{{.Version.Index}}}} {ENVOY}"))?;
    Ok((version, world.status()?["proxies"][0]["updates"].clone()))
}

/// Waits until Swarm says that a service's update is complete, after which it no longer writes it.
fn wait_updated(world: &World, service: &str) -> Result<()> {
    wait(&format!("the update of {service} is complete"), || {
        let state = "{{.UpdateStatus.State}}";
        let shown = world.docker(&format!("service inspect --format {state} {service}"))?;
        Ok((shown == "completed").then_some(()))
    })
}

#[test]
fn a_service_on_a_new_overlay_is_reached_without_a_hand_and_nothing_else_is_written() -> Result<()>
{
    on_stack(|world| {
        let manage = format!("--env-add WAGGLE_MANAGE_PROXY={ENVOY}");
        world.docker(&format!("service update --detach {manage} waggle_controller"))?;
        wait_updated(world, "waggle_controller")?;
        wait("the new controller looks after Envoy", || {
            let proxies = world.status()?["proxies"].clone();
            Ok((proxies[0]["name"] == ENVOY && proxies[0]["pending"] == json!([])).then_some(()))
        })?;
        world.wait_answer("demo.local", 200)?;
        let before = owned(world)?;
        world.deploy("manage-proxy")?;
        world.swarm.wait_running("manage-proxy_app", 2)?;
        let deployed = owned(world)?;
        world.wait_answer("shop.local", 200)?;
        world.wait_answer("demo.local", 200)?;

        wait_updated(world, ENVOY)?;
        let settled = state(world)?;
        ensure!(settled.1 == 1, "it took {} updates", settled.1);
        let reads = || Ok::<_, anyhow::Error>(world.status()?["swarm"]["complete_reads"].as_u64());
        let first = reads()?.context("a count")?;
        wait_for(Duration::from_secs(90), "100 further cycles", || {
            Ok((reads()? >= Some(first + 100)).then_some(()))
        })?;
        ensure!(state(world)? == settled, "{settled:?} became {:?}", state(world)?);

        let envoy = format!("services {ENVOY}");
        let mut after = owned(world)?;
        ensure!(after.get(&envoy) != before.get(&envoy), "Envoy was not updated");
        for (name, shown) in before.iter().chain(&deployed).filter(|(name, _)| **name != envoy) {
            ensure!(after.get(name) == Some(shown), "{name} was {shown}, is {:?}", after.get(name));
        }
        after.retain(|name, _| !deployed.contains_key(name));
        ensure!(after.is_empty(), "somebody made {after:?}");
        Ok(())
    })
}

/// A service's specification.
fn spec(swarm: &PrivateSwarm, service: &str) -> Result<Value> {
    let shown = swarm.docker(["service", "inspect", "--format", "{{json .Spec}}", service])?;
    Ok(serde_json::from_str(&shown)?)
}

/// A proxy service with settings of many kinds, and what it may come to need; the network's ID.
fn proxy_and_needs(swarm: &PrivateSwarm) -> Result<String> {
    swarm.import(&Image::demo())?;
    std::fs::write("/run/certificate", "a certificate")?;
    for name in ["own", "cert"] {
        swarm.docker(["secret", "create", name, "/run/certificate"])?;
    }
    for network in ["xds", "apps"] {
        swarm.docker(["network", "create", "--driver", "overlay", network])?;
    }
    let options = "service create --detach --no-resolve-image --name proxy --network name=xds,alias=a \
        --env PASSWORD=hidden --label a=b --container-label c=d --secret source=own,target=/etc/own,mode=0400 \
        --stop-grace-period 1s --limit-memory 64M --limit-cpu 0.333 --restart-delay 123456789ns \
        --publish mode=host,target=8080,published=80 --update-delay 0.1s --hostname h-{{.Task.Slot}} \
        --health-interval 7s --sysctl net.ipv4.ip_unprivileged_port_start=0 --host x:1.2.3.4";
    let options = options.split_whitespace();
    swarm.docker(options.chain([Image::demo().name()]))?;
    swarm.wait_running("proxy", 1)?;
    swarm.docker(["network", "inspect", "--format", "{{.ID}}", "apps"])
}

#[test]
fn networks_and_secrets_come_and_go_and_the_rest_of_the_service_stays() -> Result<()> {
    let swarm = PrivateSwarm::start()?;
    let apps = proxy_and_needs(&swarm)?;
    let before = spec(&swarm, "proxy")?;
    // Only now may threads start: they are in the same sandbox.
    let runtime = Runtime::new()?;
    let _guard = runtime.enter();
    let (pictures_tx, pictures) = watch::channel(None);
    let (health, _health) = watch::channel(Health::default());
    let (needs, needed) = watch::channel(Arc::default());
    let (statuses_tx, statuses) = watch::channel(Statuses::new());
    let shutdown = CancellationToken::new();
    let docker: swarm::Address = format!("unix://{}", swarm.socket().display()).parse()?;
    let timeout = Duration::from_secs(10);
    let source =
        swarm::Settings { docker: docker.clone(), timeout, secrets: Secrets::Read, watch: None };
    runtime.spawn(swarm::run(source, None, pictures_tx, health, shutdown.clone()));
    let proxy = ProxyService { name: ServiceName::new("proxy"), care: Care::Controller };
    let proxies = [(NodeCluster::default(), proxy)].into();
    let settings = proxy::Settings { docker, timeout, proxies, grace: Duration::from_secs(1) };
    let inlets = Inlets { pictures, needs: needed };
    runtime.spawn(proxy::run(settings, inlets, statuses_tx, shutdown.clone()));
    let _stop = shutdown.drop_guard();
    let shows = |claim: &str, networks: &[&str], secrets: &[&str]| {
        wait(claim, || {
            let all = statuses.borrow().clone();
            let status = all.values().next().context("no status")?;
            let shown = status.networks == networks && status.secrets == secrets;
            ensure!(shown && status.failing.is_none(), "{status:#?}");
            Ok(Some(status.updates))
        })
    };

    let secrets = BTreeSet::from([SecretName::parse("cert")?]);
    let both = Needs { networks: [NetworkId::new(apps)].into(), secrets };
    needs.send_replace(Arc::new([(NodeCluster::default(), both)].into()));
    let updates = shows("both are attached", &["xds", "apps"], &["own", "cert"])?;
    ensure!(updates == 1, "it took {updates} updates");
    let container = wait("the new task runs", || {
        let tasks = swarm.wait_running("proxy", 1)?;
        Ok(tasks[0].container.clone().filter(|_| tasks[0].addresses.contains_key("apps")))
    })?;
    let process = swarm.docker(["inspect", "--format", "{{.State.Pid}}", &container])?;
    // The engine counts processes in a namespace of its own.
    let proc = format!("/proc/{}/root/proc/{process}", swarm.process());
    let file = format!("{proc}/root/run/secrets/cert");
    let mounted = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    ensure!(mounted == "a certificate", "{file}: {mounted}");

    swarm.docker(["service", "rollback", "--detach", "proxy"])?;
    wait("the rollback is told", || {
        let all = statuses.borrow().clone();
        let failing = all.values().find_map(|status| status.failing.clone()).unwrap_or_default();
        ensure!(failing.contains("is not tried again"), "{all:#?}");
        Ok(Some(()))
    })?;
    let mend = "service update --detach --no-resolve-image --label-add waggle.retry=1 proxy";
    swarm.docker(mend.split(' '))?;
    let updates = shows("both are attached again", &["xds", "apps"], &["own", "cert"])?;
    ensure!(updates == 2, "it took {updates} updates");
    swarm.docker(
        "service update --detach --no-resolve-image --label-rm waggle.retry proxy".split(' '),
    )?;

    needs.send_replace(Arc::default());
    shows("both are detached", &["xds"], &["own"])?;
    let mut after = spec(&swarm, "proxy")?;
    let label = after["Labels"].as_object_mut().and_then(|it| it.remove("waggle.managed"));
    ensure!(label == Some(json!("{}")), "{label:?}");
    ensure!(after == before, "{before:#}\nbecame\n{after:#}");
    Ok(())
}
