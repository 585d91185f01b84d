//! Node clusters: a proxy gets the routes of its own cluster, and hears of no other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::client::Client;
use waggle_tests::envoy::{members, numbers};

use crate::modes::routed;
use crate::world::{APPS, ENVOY, World, address, metadata, on_stack, wait};

/// Where the second proxy's port 80 is published.
const PUBLISHED: u16 = 8081;

/// A proxy, and an application of its cluster.
struct Place {
    envoy: &'static str,
    cluster: &'static str,
    app: &'static str,
    client: Client,
}

/// Runs a test on the example stack with a second proxy, of the node cluster `east`, and an
/// application in each cluster, which both have the host `both.local`.
fn on_two_clusters(test: impl FnOnce(&World, &[Place; 2]) -> Result<()>) -> Result<()> {
    on_stack(|world| {
        world.docker(&format!(
            "service create --detach --no-resolve-image --name east --network waggle_xds \
             --network {APPS} --config source=waggle_bootstrap,target=/etc/envoy/waggle.yaml \
             --publish mode=host,target=80,published={PUBLISHED} envoyproxy/envoy:v1.40.0 \
             envoy -c /etc/envoy/waggle.yaml --service-cluster east --service-node east.1"
        ))?;
        let client = Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, PUBLISHED)));
        let places = [
            Place { envoy: ENVOY, cluster: "default", app: "plain", client: world.client.clone() },
            Place { envoy: "east", cluster: "east", app: "eastern", client },
        ];
        let quick = "--update-parallelism 0 --update-order start-first --env METADATA";
        for Place { app, cluster, .. } in &places {
            // The default cluster is that of services which name none.
            let label = format!("--label com.docker.lb.service_cluster={cluster}");
            let label = if *cluster == "default" { "" } else { &label };
            let labels = format!("{} {label}", routed(&format!("{app}.local,both.local")));
            world.docker(&format!(
                "service create --detach --no-resolve-image --name {app} --network {APPS} \
                 {quick}={app} {labels} waggle/demo"
            ))?;
        }
        for place in &places {
            world.swarm.wait_running(place.app, 1)?;
            place.wait_answer(world, "both.local")?;
        }
        test(world, &places)
    })
}

impl Place {
    /// Which application answers for a host; none where nobody does.
    fn answers(&self, world: &World, host: &str) -> Result<Option<String>> {
        let answer = world.get_by(&self.client, host, "/ping")?;
        if answer.status == 503 {
            return Ok(None);
        }
        ensure!(answer.status == 200, "{host}: {answer:?}");
        Ok(Some(metadata(&answer)))
    }

    /// Waits until the cluster's application answers for a host.
    fn wait_answer(&self, world: &World, host: &str) -> Result<()> {
        wait(&format!("{} answers for {host}", self.app), || {
            Ok((self.answers(world, host)?.as_deref() == Some(self.app)).then_some(()))
        })
    }

    /// The hosts that the proxy's routes are for.
    fn hosts(&self, world: &World) -> Result<BTreeSet<String>> {
        let dump: Value = serde_json::from_str(&world.envoy_of(self.envoy, "/config_dump")?)?;
        let mut hosts = BTreeSet::new();
        collect(&dump, &mut hosts);
        hosts.remove("*");
        Ok(hosts)
    }

    /// The endpoints that the proxy knows, as `pool address`.
    fn members(&self, world: &World) -> Result<BTreeSet<String>> {
        Ok(members(&world.envoy_of(self.envoy, "/clusters")?))
    }

    /// Waits until the proxy knows exactly the application's tasks.
    fn wait_tasks(&self, world: &World, count: usize) -> Result<()> {
        let tasks = world.swarm.wait_running(self.app, count)?;
        let line = |task| Ok(format!("{} {}", self.app, address(task)?));
        let expected: BTreeSet<String> = tasks.iter().map(line).collect::<Result<_>>()?;
        wait(&format!("the tasks of {} are known", self.app), || {
            let mut known = self.members(world)?;
            known.retain(|member| member.starts_with(self.app));
            ensure!(known == expected, "{known:?}, not {expected:?}");
            Ok(Some(()))
        })
    }

    /// What the proxy has been told so far: by its own count, and as the controller knows it.
    fn told(&self, world: &World) -> Result<(BTreeMap<String, u64>, Value)> {
        let mut taken = numbers(&world.envoy_of(self.envoy, "/stats")?);
        // The cluster `xds` asks a name server, not the controller.
        taken.retain(|name, _| {
            let counts = name.contains(".update_") && !name.ends_with(".update_time");
            counts && !name.starts_with("cluster.xds.")
        });
        let own = format!("cluster.{}.update_success", self.app);
        for counted in ["cluster_manager.cds.update_success", &own] {
            ensure!(taken.get(counted) > Some(&0), "Envoy does not count {counted}: {taken:?}");
        }
        let status = world.status()?;
        let envoys = status["envoys"].as_array().context("the status has no Envoys")?;
        let own = envoys.iter().find(|envoy| envoy["cluster"] == self.cluster);
        Ok((taken, own.with_context(|| format!("no {} in {envoys:?}", self.cluster))?.clone()))
    }
}

fn collect(value: &Value, hosts: &mut BTreeSet<String>) {
    let domains = value["domains"].as_array().into_iter().flatten();
    hosts.extend(domains.filter_map(Value::as_str).map(ToOwned::to_owned));
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, hosts)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, hosts)),
        _ => {}
    }
}

#[test]
fn each_proxy_has_exactly_the_routes_of_its_cluster() -> Result<()> {
    on_two_clusters(|world, [default, east]| {
        for (host, of_default, of_east) in [
            ("demo.local", Some("demo"), None),
            ("plain.local", Some("plain"), None),
            ("eastern.local", None, Some("eastern")),
            ("both.local", Some("plain"), Some("eastern")),
        ] {
            let answers = [default.answers(world, host)?, east.answers(world, host)?];
            let answers = answers.each_ref().map(Option::as_deref);
            ensure!(answers == [of_default, of_east], "{host} is answered by {answers:?}");
        }
        for (place, hosts, pools) in [
            (
                default,
                ["both.local", "demo.local", "plain.local"].as_slice(),
                ["plain", "waggle_demo"].as_slice(),
            ),
            (east, &["both.local", "eastern.local"], &["eastern"]),
        ] {
            let (known, members) = (place.hosts(world)?, place.members(world)?);
            ensure!(known.iter().eq(hosts), "{} has routes of {known:?}", place.envoy);
            let known: BTreeSet<&str> =
                members.iter().filter_map(|member| member.split(' ').next()).collect();
            ensure!(known.iter().eq(pools), "{} has pools {known:?}", place.envoy);
        }
        Ok(())
    })
}

/// Scales, updates and relabels the application of one proxy, and creates and removes another:
/// that proxy hears of each, the other one of none.
fn change(world: &World, changed: &Place, quiet: &Place) -> Result<()> {
    let Place { app, cluster, .. } = changed;
    let heard = quiet.told(world)?;
    let silent = |change: &str, before: &_| -> Result<_> {
        world.wait_read()?;
        let after = changed.told(world)?;
        ensure!(after != *before, "{change} of {app}: its own proxy has not heard of it");
        let now = quiet.told(world)?;
        ensure!(now == heard, "{change} of {app}: {} heard {heard:?}\nthen {now:?}", quiet.envoy);
        Ok(after)
    };
    let before = changed.told(world)?;
    world.docker(&format!("service scale --detach {app}=2"))?;
    changed.wait_tasks(world, 2)?;
    let before = silent("scaling", &before)?;

    let update = format!("service update --detach=false --env-add A=B {app}");
    world.docker(&update)?;
    changed.wait_tasks(world, 2)?;
    let before = silent("updating", &before)?;

    let label = format!("com.docker.lb.hosts={app}.local,more.local,both.local");
    world.docker(&format!("service update --detach --label-add {label} {app}"))?;
    changed.wait_answer(world, "more.local")?;
    let before = silent("relabelling", &before)?;

    let label = format!("--label com.docker.lb.service_cluster={cluster}");
    world.docker(&format!(
        "service create --detach --no-resolve-image --name new --network {APPS} {label} \
         --env METADATA={app} {} waggle/demo",
        routed("new.local")
    ))?;
    changed.wait_answer(world, "new.local")?;
    let before = silent("creating another", &before)?;
    world.docker("service rm new")?;
    wait("the removed one is gone", || {
        Ok(changed.answers(world, "new.local")?.is_none().then_some(()))
    })?;
    silent("removing another", &before)?;
    ensure!(quiet.answers(world, "both.local")?.as_deref() == Some(quiet.app));
    Ok(())
}

#[test]
fn what_changes_in_one_cluster_sends_nothing_to_another() -> Result<()> {
    on_two_clusters(|world, [default, east]| {
        change(world, east, default)?;
        change(world, default, east)
    })
}
