//! Node clusters: a proxy gets the routes of its own cluster, and hears of no other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::client::Client;
use waggle_tests::envoy::{members, numbers};

use crate::modes::routed;
use crate::world::{APPS, ENVOY, World, address, metadata, on_stack, wait};

/// A proxy, and an application of its cluster, whose hosts are `NAME.local` and `both.local`.
struct Place {
    envoy: &'static str,
    cluster: &'static str,
    app: &'static str,
    name: &'static str,
    client: Client,
}

/// Runs a test on the example stack and that of another node cluster.
fn on_two_clusters(test: impl FnOnce(&World, &[Place; 2]) -> Result<()>) -> Result<()> {
    on_stack(|world| {
        world.deploy("service-cluster")?;
        let published = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        let places = [
            Place {
                envoy: ENVOY,
                cluster: "default",
                app: "waggle_demo",
                name: "demo",
                client: world.client.clone(),
            },
            Place {
                envoy: "service-cluster_envoy",
                cluster: "east",
                app: "service-cluster_app",
                name: "east",
                client: Client::new(published),
            },
        ];
        for place in &places {
            place.relabel(world, &["both"])?;
        }
        test(world, &places)
    })
}

impl Place {
    /// Gives the application its own host and more, and waits until it answers for them.
    fn relabel(&self, world: &World, more: &[&str]) -> Result<()> {
        let hosts = [&[self.name], more].concat().join(".local,");
        let label = format!("com.docker.lb.hosts={hosts}.local");
        world.docker(&format!("service update --detach --label-add {label} {}", self.app))?;
        more.iter().try_for_each(|host| self.wait_answer(world, &format!("{host}.local")))
    }

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
            Ok((self.answers(world, host)?.as_deref() == Some(self.name)).then_some(()))
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
            ("east.local", None, Some("east")),
            ("both.local", Some("demo"), Some("east")),
        ] {
            let answers = [default.answers(world, host)?, east.answers(world, host)?];
            let answers = answers.each_ref().map(Option::as_deref);
            ensure!(answers == [of_default, of_east], "{host} is answered by {answers:?}");
        }
        for place in [default, east] {
            let (hosts, members) = (place.hosts(world)?, place.members(world)?);
            let own = ["both.local", &format!("{}.local", place.name)].map(ToOwned::to_owned);
            ensure!(hosts == own.into(), "{} has routes of {hosts:?}", place.envoy);
            let own = format!("{} ", place.app);
            ensure!(members.iter().all(|it| it.starts_with(&own)), "{}: {members:?}", place.envoy);
        }
        Ok(())
    })
}

/// Scales, updates and relabels the application of one proxy, and creates and removes another:
/// that proxy hears of each, the other one of none.
fn change(world: &World, changed: &Place, quiet: &Place) -> Result<()> {
    let Place { app, cluster, name, .. } = changed;
    let heard = quiet.told(world)?;
    let mut before = changed.told(world)?;
    let mut silent = |what: &str| {
        world.wait_read()?;
        let after = changed.told(world)?;
        ensure!(after != before, "{what} {app}: its own proxy has not heard of it");
        before = after;
        let now = quiet.told(world)?;
        ensure!(now == heard, "{what} {app}: {} heard {heard:?}\nthen {now:?}", quiet.envoy);
        Ok(())
    };
    world.docker(&format!("service scale --detach {app}=3"))?;
    changed.wait_tasks(world, 3)?;
    silent("scaling")?;

    let quick = "--update-parallelism 0 --update-order start-first";
    world.docker(&format!("service update --detach=false {quick} --env-add A=B {app}"))?;
    changed.wait_tasks(world, 3)?;
    silent("updating")?;

    changed.relabel(world, &["more", "both"])?;
    silent("relabelling")?;

    world.docker(&format!(
        "service create --detach --no-resolve-image --name new --network {APPS} \
         --label com.docker.lb.service_cluster={cluster} {} --env METADATA={name} waggle/demo",
        routed("new.local")
    ))?;
    changed.wait_answer(world, "new.local")?;
    silent("creating one beside")?;
    world.docker("service rm new")?;
    wait("the removed one is gone", || {
        Ok(changed.answers(world, "new.local")?.is_none().then_some(()))
    })?;
    silent("removing the one beside")?;
    ensure!(quiet.answers(world, "both.local")?.as_deref() == Some(quiet.name));
    Ok(())
}

#[test]
fn what_changes_in_one_cluster_sends_nothing_to_another() -> Result<()> {
    on_two_clusters(|world, [default, east]| {
        change(world, east, default)?;
        change(world, default, east)
    })
}
