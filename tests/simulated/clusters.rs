//! Node clusters: an Envoy gets the routes of its own, and hears of no other.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use serde_json::Value;
use waggle_tests::backend::Backends;
use waggle_tests::client::Client;
use waggle_tests::controller::{Controller, problem_codes};
use waggle_tests::engine::{Builder, Engine};
use waggle_tests::envoy::{Envoy, members};
use waggle_tests::program::{eventually, free_address};
use waggle_tests::stage::{APP_PORT, Stage};

const CLUSTER: &str = "com.docker.lb.service_cluster";

/// An Envoy of a node cluster, with a controller of its own: Envoys of one controller share their
/// ports, and could not be told apart on one machine.
struct Place {
    _controller: Controller,
    envoy: Envoy,
    client: Client,
}

impl Place {
    async fn start(engine: &Engine, cluster: &str) -> Result<Self> {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_address()?.port()));
        let https = free_address()?.port().to_string();
        let controller = Controller::start(&engine.url(), http.port(), &["--https-port", &https])?;
        let mut envoy = Envoy::start_in(cluster, controller.xds(), cluster, 1)?;
        envoy.wait_ready()?;
        let client = Client::new(http);
        eventually("the proxy answers", async || Ok(client.get("any.local", "/").await.ok()))
            .await?;
        Ok(Self { _controller: controller, envoy, client })
    }

    /// Which service answers for a host; none where nobody does.
    async fn answers(&self, host: &str) -> Result<Option<String>> {
        let answer = self.client.get(host, "/ping").await?;
        if answer.status == 503 {
            return Ok(None);
        }
        ensure!(answer.status == 200, "{host}: {answer:?}");
        Ok(answer.json()?["metadata"].as_str().map(ToOwned::to_owned))
    }
}

fn routed(engine: &Engine, name: &str, hosts: &str) -> Builder {
    let builder = engine.service(name).network("apps").label("com.docker.lb.hosts", hosts);
    builder.label("com.docker.lb.port", &APP_PORT.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_envoy_answers_for_its_own_cluster_alone() -> Result<()> {
    let engine = Engine::start().await?;
    let mut backends = Backends::new()?;
    let mut services = Vec::new();
    for (name, hosts, cluster) in [
        ("plain", "plain.local,both.local", None),
        ("named", "named.local", Some("default")),
        ("eastern", "east.local,both.local", Some("east")),
    ] {
        let builder = routed(&engine, name, hosts);
        let builder = match cluster {
            Some(cluster) => builder.label(CLUSTER, cluster),
            None => builder,
        };
        let service = builder.create();
        backends.serve(&service, APP_PORT).await?;
        services.push(service);
    }
    let default = Place::start(&engine, "default").await?;
    let east = Place::start(&engine, "east").await?;
    let nobody = Place::start(&engine, "nobody").await?;
    for (host, of_default, of_east) in [
        ("plain.local", Some("plain"), None),
        ("named.local", Some("named"), None),
        ("east.local", None, Some("eastern")),
        ("both.local", Some("plain"), Some("eastern")),
    ] {
        for (place, expected) in [(&default, of_default), (&east, of_east), (&nobody, None)] {
            let what = format!("{host} is answered by {expected:?}");
            let fine =
                async || Ok((place.answers(host).await?.as_deref() == expected).then_some(()));
            eventually(&what, fine).await?;
        }
    }
    // A service that moves leaves the one and comes to the other.
    services[0].set_label(CLUSTER, "east");
    eventually("plain.local has moved", async || {
        let there = east.answers("plain.local").await? == Some("plain".into());
        Ok((there && default.answers("plain.local").await?.is_none()).then_some(()))
    })
    .await?;
    for place in [&default, &east, &nobody] {
        for (name, value) in place.envoy.stats()? {
            ensure!(!name.ends_with("update_rejected") || value == 0, "{name}: {value}");
        }
    }
    Ok(())
}

/// The domains and endpoints that an Envoy knows, and everything that it was told, with the time of
/// each telling.
fn known(envoy: &Envoy) -> Result<(BTreeSet<String>, BTreeSet<String>, Value)> {
    let dump = envoy.config_dump()?;
    let mut domains = BTreeSet::new();
    collect(&dump, &mut domains);
    domains.remove("*");
    Ok((domains, members(&envoy.get("/clusters")?), dump))
}

fn collect(value: &Value, domains: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| collect(it, domains)),
        Value::Object(fields) => {
            let own = fields.get("domains").and_then(Value::as_array).into_iter().flatten();
            domains.extend(own.filter_map(Value::as_str).map(ToOwned::to_owned));
            fields.values().for_each(|it| collect(it, domains));
        }
        _ => {}
    }
}

/// What Envoy counted of what it was sent; it looks the controller's address up by itself.
fn updates(envoy: &Envoy) -> Result<u64> {
    let counted = |name: &str| name.contains(".update_") && !name.starts_with("cluster.xds.");
    let stats = envoy.stats()?;
    let counts = stats.iter().filter(|(name, _)| counted(name) && !name.ends_with("_time"));
    Ok(counts.map(|(_, value)| value).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_one_cluster_sends_nothing_to_another() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("plain", "plain.local");
    stage.deploy(builder).await?;
    // Both listen on one port of this machine; nobody asks them there from here on.
    let east = Envoy::start_in("east", stage.controller.xds(), "envoy-east", 1);
    let nobody = Envoy::start_in("nobody", stage.controller.xds(), "envoy-nobody", 1);
    let (mut east, mut nobody) = (east?, nobody?);
    for envoy in [&mut east, &mut nobody] {
        envoy.wait_ready()?;
    }
    let eastern = stage.service("eastern", "east.local").label(CLUSTER, "east").create();
    east.wait_until("east knows its host", |it| Ok(known(it)?.0.contains("east.local")))?;
    let before = [known(&stage.envoy)?, known(&nobody)?];
    let counts = [updates(&stage.envoy)?, updates(&nobody)?];
    ensure!(before[0].0.iter().eq(["plain.local"]), "{:?}", before[0].0);
    ensure!(before[0].1.iter().all(|it| it.starts_with("plain ")), "{:?}", before[0].1);
    ensure!(before[1].0.is_empty() && before[1].1.is_empty(), "{:?}", before[1]);

    let mut new = Vec::new();
    for change in 0..50_u64 {
        let heard = updates(&east)?;
        match change % 5 {
            0 => eastern.scale(2 + change % 3),
            1 => eastern.set_label("com.docker.lb.hosts", &format!("east.local,h{change}.local")),
            2 => eastern.set_label("com.docker.lb.max_fails", &change.to_string()),
            3 => new.push({
                let name = format!("new-{change}");
                let builder = stage.service(&name, &format!("{name}.local"));
                builder.label(CLUSTER, "east").create()
            }),
            _ => new.pop().into_iter().for_each(|service| service.remove()),
        }
        east.wait_until("east hears of it", |it| Ok(updates(it)? > heard))?;
    }
    let status = stage.controller.wait_read().await?;
    ensure!(problem_codes(&status, "eastern").is_empty(), "{status:#}");
    for (index, envoy) in [&stage.envoy, &nobody].into_iter().enumerate() {
        ensure!(updates(envoy)? == counts[index], "Envoy {index} was told something");
        ensure!(known(envoy)? == before[index], "Envoy {index} knows something else");
    }
    let (domains, endpoints, _) = known(&east)?;
    ensure!(domains.iter().all(|it| it != "plain.local"), "{domains:?}");
    ensure!(endpoints.iter().all(|it| it.starts_with("eastern ")), "{endpoints:?}");
    Ok(())
}
