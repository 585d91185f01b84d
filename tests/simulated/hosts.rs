//! Hosts are told one by one, to Envoys that know how, and reach the real Envoy all the same.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use waggle_tests::engine::Service;
use waggle_tests::envoy::{Envoy, parts};
use waggle_tests::program::{eventually, free_address};
use waggle_tests::stage::Stage;

/// How many responses of a kind the controller has sent.
fn responses(stage: &Stage, kind: &str) -> Result<u64> {
    let status = stage.controller.status()?;
    Ok(status["xds"]["responses"][kind].as_u64().unwrap_or_default())
}

/// The virtual hosts that Envoy has, each with its routes.
fn hosts(envoy: &Envoy) -> Result<BTreeSet<(String, String)>> {
    let hosts = parts(&envoy.config_dump()?, &|part| part.get("domains").is_some());
    let text = |host: &Value| {
        let name = host["name"].as_str().unwrap_or_default();
        (name.to_owned(), host["routes"].to_string())
    };
    let mut found: BTreeSet<_> = hosts.iter().map(text).collect();
    // The bootstrap's own.
    found.retain(|(name, _)| name.starts_with("http"));
    Ok(found)
}

fn names(hosts: &BTreeSet<(String, String)>) -> Vec<&str> {
    hosts.iter().map(|(name, _)| &**name).collect()
}

/// Waits until exactly these hosts are there, beside the one for all others.
async fn wait_hosts(stage: &Stage, wanted: &[&str]) -> Result<()> {
    eventually(&format!("Envoy has {wanted:?}"), async || {
        let hosts = hosts(&stage.envoy)?;
        Ok((names(&hosts) == [&["http/*"][..], wanted].concat()).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_changes_or_goes_is_told_without_any_other() -> Result<()> {
    let mut stage = Stage::start().await?;
    for name in ["a", "b"] {
        let builder = stage.service(name, &format!("{name}.local"));
        stage.deploy(builder).await?;
    }
    wait_hosts(&stage, &["http/a.local", "http/b.local"]).await?;
    let count = |stage: &Stage| -> Result<_> {
        Ok((responses(stage, "routes")?, responses(stage, "virtual_host")?))
    };
    let (routes, told) = count(&stage)?;

    let builder = stage.service("c", "c.local");
    let service = stage.deploy(builder).await?;
    wait_hosts(&stage, &["http/a.local", "http/b.local", "http/c.local"]).await?;
    ensure!(count(&stage)? == (routes, told + 1), "{:?}", count(&stage)?);
    service.set_label("com.docker.lb.hosts", "d.local");
    wait_hosts(&stage, &["http/a.local", "http/b.local", "http/d.local"]).await?;
    ensure!(count(&stage)? == (routes, told + 2), "{:?}", count(&stage)?);
    ensure!(stage.client.get("d.local", "/ping").await?.status == 200);
    service.remove();
    wait_hosts(&stage, &["http/a.local", "http/b.local"]).await?;
    ensure!(count(&stage)? == (routes, told + 3), "{:?}", count(&stage)?);
    ensure!(stage.client.get("d.local", "/ping").await?.status == 503);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_the_controller_was_away_arrives_and_nothing_else() -> Result<()> {
    let mut stage = Stage::start().await?;
    let mut services: Vec<Service> = Vec::new();
    for name in ["stays", "goes", "changes"] {
        let builder = stage.service(name, &format!("{name}.local"));
        services.push(stage.deploy(builder).await?);
    }
    wait_hosts(&stage, &["http/changes.local", "http/goes.local", "http/stays.local"]).await?;
    let reloads = stage.envoy.stat("http.http.rds.http.config_reload")?;
    stage.controller.kill();
    let [_, goes, changes] = &services[..] else { anyhow::bail!("three services") };
    goes.remove();
    changes.set_label("com.docker.lb.hosts", "changed.local");
    stage.controller.start_again()?;
    wait_hosts(&stage, &["http/changed.local", "http/stays.local"]).await?;
    // Once, for both.
    ensure!(stage.envoy.stat("http.http.rds.http.config_reload")? == reloads + 1);
    for (host, status) in [("changed", 200), ("stays", 200), ("goes", 503), ("changes", 503)] {
        let answer = stage.client.get(&format!("{host}.local"), "/ping").await?;
        ensure!(answer.status == status, "{host}: {answer:?}");
    }
    Ok(())
}

/// State of the world knows no hosts by themselves: they come with their routes.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_by_state_of_the_world_has_the_same_hosts() -> Result<()> {
    let mut stage = Stage::start().await?;
    for (name, more) in
        [("plain", ("note", "x")), ("sticky", ("com.docker.lb.sticky_session_cookie", "s"))]
    {
        let builder = stage.service(name, &format!("{name}.local")).label(more.0, more.1);
        stage.deploy(builder).await?;
    }
    wait_hosts(&stage, &["http/plain.local", "http/sticky.local"]).await?;
    let admin = free_address()?;
    let bootstrap = waggle_tests::envoy::bootstrap(stage.controller.xds(), admin, free_address()?)?;
    let bootstrap = bootstrap.replace("DELTA_GRPC", "GRPC");
    ensure!(!bootstrap.contains("DELTA"));
    // Its listeners find their ports taken by the first one's, which harms neither.
    let mut whole = Envoy::start_with(&bootstrap, admin, "envoy-whole", 1)?;
    whole.wait_ready()?;
    ensure!(hosts(&whole)? == hosts(&stage.envoy)?, "{:?}", names(&hosts(&whole)?));

    let builder = stage.service("new", "new.local");
    stage.deploy(builder).await?;
    wait_hosts(&stage, &["http/new.local", "http/plain.local", "http/sticky.local"]).await?;
    eventually("both have the new host", async || {
        Ok((hosts(&whole)? == hosts(&stage.envoy)?).then_some(()))
    })
    .await?;
    ensure!(responses(&stage, "whole_routes")? == 2);
    Ok(())
}
